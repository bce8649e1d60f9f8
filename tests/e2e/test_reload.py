"""A plugin is changed and reloaded while traffic flows: no request fails, the next sees the new."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import wasmtime

from int3rceptor_tui.demo.client import ProxyClient
from proxy_core.config import Settings
from proxy_core.control.local import LocalControl
from proxy_core.core import Core
from proxy_core.model.plugin_status import PluginState
from tests.e2e.harness import BackgroundOrigin
from tests.waiting import until

VISITORS = 10
PAUSE = 0.05
"""Seconds between two requests of a visitor: 200 requests a second in all."""

STAMP = """
(module
  (import "env" "host_log" (func $log (param i32 i32 i32)))
  (import "env" "host_set_header" (func $set (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-version")
  (data (i32.const 16) "%d")
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (func (export "on_request") (result i32)
    (call $log (i32.const 1) (i32.const 16) (i32.const 1))
    (drop (call $set (i32.const 0) (i32.const 9) (i32.const 16) (i32.const 1)))
    i32.const 0))
"""

MANIFEST = """
name = "stamp"
version = "1.0.0"
wasm = "stamp.wasm"
[permissions]
modify_requests = true
[limits]
log_lines_per_second = 100000
"""


def write_version(directory: Path, version: int) -> None:
    (directory / "stamp.wasm").write_bytes(wasmtime.wat2wasm(STAMP % version))


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    directory = tmp_path / "plugins" / "stamp"
    directory.mkdir(parents=True)
    (directory / "plugin.toml").write_text(MANIFEST, encoding="ascii")
    write_version(directory, 1)
    return directory


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


class Load:
    """Visitors on connections of their own; each answer is kept with what the request was."""

    def __init__(self, core: Core, origin: BackgroundOrigin) -> None:
        host, _, port = core.listening[0].rpartition(":")
        self._client = ProxyClient(host, int(port), core.ca_path)
        self._origin = origin
        self._stopping = False
        self.sent = 0
        self.statuses: list[int] = []

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(VISITORS):
                group.create_task(self._visit())
                await asyncio.sleep(PAUSE / VISITORS)

    async def _visit(self) -> None:
        async with self._client.plain() as session:
            while not self._stopping:
                self.sent += 1
                url = f"http://127.0.0.1:{self._origin.http}/reload/{self.sent}"
                self.statuses.append((await session.request("GET", url)).status)
                await asyncio.sleep(PAUSE)

    async def more(self, count: int) -> None:
        """Return after `count` more answers."""
        wanted = len(self.statuses) + count
        await until(lambda: len(self.statuses) >= wanted)

    def stop(self) -> None:
        self._stopping = True

    def versions(self, first: int) -> set[bytes]:
        """Return the stamps that requests have had from number `first` on."""
        stamps = set()
        for record in list(self._origin.recording.requests):
            number = record.target.rpartition(b"/")[2]
            if record.target.startswith(b"/reload/") and int(number) >= first:
                stamps.add(b",".join(record.values(b"x-version")))
        return stamps


async def test_reload_under_load_fails_no_request_and_the_next_sees_the_new_version(
    core: Core, origin: BackgroundOrigin, plugin: Path
) -> None:
    control: LocalControl = core.control()
    feed = control.subscribe()
    origin.recording.requests.clear()
    load = Load(core, origin)
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
