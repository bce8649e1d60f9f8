"""request-counter: totals over all calls, in globals."""

from __future__ import annotations

from pathlib import Path

from proxy_core.model.log_line import LogLevel
from tests.plugin_host.guests import Host, make_flow, respond_with
from tests.plugins.conftest import install


async def test_totals_grow_over_calls_and_are_told_at_the_end(host: Host, directory: Path) -> None:
    install(host, directory, "request-counter")
    await host.start()
    assert host.status("request-counter").abi == "int3 v0"
    await host.connect()
    for _ in range(12):
        flow = make_flow()
        await host.request(flow)
        await host.response(respond_with(flow))
    await host.request(make_flow())
    await host.manager.stop()
    texts = host.texts(LogLevel.INFO)
    assert texts[0] == "1 requests, 1 responses, 1 connections"
    assert texts[9] == "10 requests, 10 responses, 1 connections"
    assert texts[-1] == "13 requests, 12 responses, 1 connections"
    assert len(texts) == 13


async def test_a_reload_counts_from_zero(host: Host, directory: Path) -> None:
    install(host, directory, "request-counter")
    await host.start()
    for _ in range(3):
        await host.request(make_flow())
    assert (await host.manager.reload("request-counter")).ok
    flow = make_flow()
    await host.request(flow)
    await host.response(respond_with(flow))
    assert host.texts(LogLevel.INFO)[-1] == "1 requests, 1 responses, 0 connections"
