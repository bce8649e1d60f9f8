"""The demo beside a real core: a newcomer sees everything by itself, and none of it is a fault."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from int3rceptor_tui.demo import prepare_demo
from proxy_core.config import Settings
from proxy_core.control.views import FlowSummary
from proxy_core.core import Core
from proxy_core.model.flow import FlowKind, FlowState
from proxy_core.model.log_line import LogLevel
from tests.waiting import until


async def test_flows_of_every_kind_and_plugin_lines_appear_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings, demo = prepare_demo(Settings(listen_port=0, data_dir=tmp_path / "data"))
    core = Core(settings)
    await core.start()
    control = core.control()
    task = asyncio.get_running_loop().create_task(demo(core))
    try:
        seen: dict[int, FlowSummary] = {}
        feed = control.subscribe()

        def wanted() -> set[str]:
            seen.update((row.id, row) for row in feed.drain().flows)
            return {"HTTP/1.1", "HTTP/2", "websocket", "https", "http", "500", "failed"} - {
                trait for row in seen.values() for trait in traits(row)
            }

        await until(lambda: not wanted() or task.done())
        assert not task.done()
        lines = await control.logs()
        plugins = {line.plugin for line in lines} - {""}
        assert plugins == {status.name for status in await control.plugins() if status.enabled}
        assert not [line.text for line in lines if not line.plugin and line.level == LogLevel.ERROR]
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await core.stop()
    assert not [row for row in seen.values() if row.host not in ("localhost", "127.0.0.1")]


def traits(row: FlowSummary) -> set[str]:
    found = {row.protocol, row.scheme, str(row.status)}
    if row.kind is FlowKind.WEBSOCKET:
        found.add("websocket")
    if row.state is FlowState.FAILED:
        found.add("failed")
    return found
