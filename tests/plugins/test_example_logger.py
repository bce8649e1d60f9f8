"""example-logger: something in every hook, at every level."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_core.model.log_line import LogLevel
from proxy_core.model.verdict import CONTINUE
from tests.plugin_host.guests import Host, make_flow, respond_with
from tests.plugins.conftest import install


async def lines(host: Host) -> list[tuple[LogLevel, str]]:
    """What the plugin logged since it was loaded."""
    return [
        (line.level, line.text)
        for line in host.manager.logs.snapshot("example-logger")
        if "loaded in" not in line.text and "this is how" not in line.text
    ]


async def test_every_hook_is_logged_and_nothing_is_changed(host: Host, directory: Path) -> None:
    install(host, directory, "example-logger")
    report = await host.start()
    assert report.added == ("example-logger",)
    status = host.status("example-logger")
    assert status.abi == "int3 v1"
    assert status.hooks == (
        "on_request",
        "on_response",
        "on_connect",
        "on_capture",
        "on_rule_match",
    )
    assert status.permissions == ()

    flow = make_flow()
    assert await host.connect() is CONTINUE
    assert await host.connect(b"example.com:443") is CONTINUE
    assert await host.request(flow) is CONTINUE
    assert await host.rule_match(flow, "rule-3") is CONTINUE
    respond_with(flow)
    assert await host.response(flow) is CONTINUE
    await host.capture(flow)
    await host.manager.stop()

    url = "http://example.com/path?q=1"
    assert await lines(host) == [
        (LogLevel.DEBUG, "connection from 192.0.2.7:5555"),
        (LogLevel.DEBUG, "connection from 192.0.2.7:5555 to example.com"),
        (LogLevel.INFO, f"-> GET {url}"),
        (LogLevel.WARN, f"rule rule-3 matched {url}"),
        (LogLevel.INFO, f"<- 200 {url}"),
        (LogLevel.DEBUG, f"done {url}"),
        (LogLevel.INFO, "shutting down"),
    ]
    assert flow.edited_by == ()


async def test_every_level_is_shown_while_loading(host: Host, directory: Path) -> None:
    install(host, directory, "example-logger")
    await host.start()
    shown = [line for line in host.manager.logs.snapshot() if "this is how" in line.text]
    assert [line.level for line in shown] == list(LogLevel)


@pytest.mark.parametrize(
    ("status", "level"),
    [(200, LogLevel.INFO), (302, LogLevel.INFO), (404, LogLevel.WARN), (503, LogLevel.ERROR)],
)
async def test_a_response_is_logged_as_bad_as_it_is(
    host: Host, directory: Path, status: int, level: LogLevel
) -> None:
    install(host, directory, "example-logger")
    await host.start()
    await host.response(respond_with(make_flow(), status))
    assert await lines(host) == [(level, f"<- {status} http://example.com/path?q=1")]


async def test_a_url_that_does_not_fit_its_line_is_left_out(host: Host, directory: Path) -> None:
    install(host, directory, "example-logger")
    await host.start()
    flow = make_flow()
    flow.request = flow.request.replace(path=b"/" + b"x" * 3000)
    assert await host.request(flow) is CONTINUE
    assert await lines(host) == [(LogLevel.INFO, "-> GET ")]
