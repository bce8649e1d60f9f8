"""A plugin is changed and reloaded while traffic flows: no request fails, the next sees the new."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy_core.config import Settings
from proxy_core.control.local import LocalControl
from proxy_core.core import Core
from proxy_core.model.plugin_status import PluginState
from tests.e2e.harness import BackgroundOrigin
from tests.e2e.stamps import Load, put_plugin, write_version


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    return put_plugin(tmp_path / "plugins")


@pytest.fixture
async def core(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Core]:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings(listen_port=0, data_dir=tmp_path / "data", plugins=(plugin.parent,))
    running = Core(settings)
    await running.start()
    yield running
    await running.stop()


async def test_reload_under_load_fails_no_request_and_the_next_sees_the_new_version(
    core: Core, origin: BackgroundOrigin, plugin: Path
) -> None:
    control: LocalControl = core.control()
    feed = control.subscribe()
    origin.recording.requests.clear()
    port = int(core.listening[0].rpartition(":")[2])
    load = Load(port, core.ca_path, origin)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        await load.more(100)
        assert load.versions(first=1) == {b"1"}
        for version in range(2, 5):
            write_version(plugin, version)
            report = await control.reload_plugin("stamp")
            assert (report.ok, report.generation) == (True, version), report.message
            first = load.sent + 1
            await load.more(60)
            assert load.versions(first) == {b"%d" % version}

        (plugin / "stamp.wasm").write_bytes(b"\0asm\1\0\0\0 broken")
        report = await control.reload_plugin("stamp")
        assert not report.ok
        assert report.message
        first = load.sent + 1
        await load.more(60)
        assert load.versions(first) == {b"4"}
        load.stop()
    assert set(load.statuses) == {404}  # the origin's own answer, to every single request
    (status,) = await control.plugins()
    assert status.state is PluginState.READY
    assert status.generation == 4
    assert status.last_error
    lines = []
    while (update := feed.drain(max_flows=10_000)).logs or update.flows:
        assert update.lost_flows == update.lost_logs == 0
        lines += [line for line in update.logs if line.plugin == "stamp" and line.flow_id]
    # Every request was logged by exactly one version.
    assert len({line.flow_id for line in lines}) == len(lines) == len(load.statuses)
    assert {line.text for line in lines} == {"1", "2", "3", "4"}
