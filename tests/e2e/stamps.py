"""A plugin that stamps each request with its version, and visitors whose requests it stamps."""

from __future__ import annotations

import asyncio
from pathlib import Path

import wasmtime

from int3rceptor_tui.demo.client import ProxyClient
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


def put_plugin(directory: Path) -> Path:
    """Write the plugin's first version into a directory of plugins; return its own."""
    place = directory / "stamp"
    place.mkdir(parents=True)
    (place / "plugin.toml").write_text(MANIFEST, encoding="ascii")
    write_version(place, 1)
    return place


class Load:
    """Visitors on connections of their own; each answer is kept with what the request was."""

    def __init__(self, port: int, ca: Path, origin: BackgroundOrigin) -> None:
        self._client = ProxyClient("127.0.0.1", port, ca)
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
