"""latency: what its configuration says is held, and nobody else waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import PluginState
from proxy_core.model.verdict import CONTINUE
from proxy_core.plugin_host.files.discovery import Source
from proxy_core.plugin_host.recorded.offline import OfflineHost
from tests.plugin_host.guests import Host, make_flow, respond_with
from tests.plugins.conftest import install


def configure(host: Host, directory: Path, config: str, top: str = "") -> Path:
    """Install it, enabled, with this table as its configuration."""
    manifest = install(host, directory, "latency")
    text, _, _ = manifest.read_text().partition("[config]")
    text = text.replace("enabled = false", f"enabled = true\n{top}")
    manifest.write_text(f"{text}[config]\n{config}", encoding="utf-8")
    return manifest


async def delays(host: Host, directory: Path, config: str, runs: int = 1) -> list[float]:
    """Milliseconds by which requests and responses in turn were held, with a clock of its own."""
    held = []
    async with OfflineHost(Source(configure(host, directory, config))) as plugin:
        hooks = plugin.hooks
        assert hooks.request is not None
        assert hooks.response is not None
        for _ in range(runs):
            flow = make_flow()
            before = plugin.delayed
            assert await hooks.request(flow) is CONTINUE
            between = plugin.delayed
            assert await hooks.response(respond_with(flow)) is CONTINUE
            held += [1000 * (between - before), 1000 * (plugin.delayed - between)]
        assert plugin.failures == 0
    return [round(ms, 3) for ms in held]


async def test_as_it_comes_it_waits_to_be_enabled(host: Host, directory: Path) -> None:
    install(host, directory, "latency")
    assert (await host.start()).refused == ()
    assert host.status("latency").state is PluginState.DISABLED
    assert host.hooks.request is None
    assert (await host.manager.set_enabled("latency", True)).state is PluginState.READY


async def test_each_direction_is_held_as_long_as_it_says(host: Host, directory: Path) -> None:
    assert await delays(host, directory, "request = 60000\nresponse = 250") == [60000, 250]


@pytest.mark.parametrize("config", ["", "request = 0\njitter = 60000"])
async def test_what_is_not_configured_is_not_held(host: Host, directory: Path, config: str) -> None:
    assert await delays(host, directory, config) == [0, 0]


async def test_jitter_adds_by_chance_and_never_more(host: Host, directory: Path) -> None:
    config = "jitter = 50\nresponse = 100\nrequest = 0"
    held = await delays(host, directory, config, runs=200)
    assert set(held[::2]) == {0}
    assert min(held[1::2]) >= 100
    assert max(held[1::2]) <= 150
    assert len(set(held[1::2])) > 25


async def test_flows_wait_beside_each_other_and_the_metric_counts(
    host: Host, directory: Path
) -> None:
    configure(host, directory, "request = 40")
    assert (await host.start()).refused == ()
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.gather(*(host.request(make_flow()) for _ in range(8)))
    assert loop.time() - started >= 0.039
    status = host.status("latency")
    assert status.metrics == (("milliseconds", 320),)
    assert status.profile[0].calls == 8


async def test_the_filter_says_which_flows(host: Host, directory: Path) -> None:
    configure(host, directory, "request = 1", r"filter = '~d other\.example | ~u /slow'")
    assert (await host.start()).refused == ()
    await host.request(make_flow())
    assert host.status("latency").metrics == ()
    slow = make_flow()
    slow.request = slow.request.replace(path=b"/slow")
    await host.request(slow)
    assert host.status("latency").metrics == (("milliseconds", 1),)


@pytest.mark.parametrize(
    "config",
    [
        "request = -1",
        "request = 1.5",
        "request = 60001",
        "response = 60000\njitter = 1",
        "request = 18446744073709551616",
        "request = '5'",
        "request = true",
        "request = [5]",
        "delay = 5",
        "request = 5\ndelay = 5",
        f"{'x' * 300} = 5",
    ],
)
async def test_a_configuration_it_does_not_know_is_declined(
    host: Host, directory: Path, config: str
) -> None:
    configure(host, directory, config)
    ((_, why),) = (await host.start()).refused
    assert why == "plugin_init returned 1; 0 means ready"
    assert any(text.startswith("config takes") for text in host.texts(LogLevel.ERROR))
