"""What watching plugins costs: a look at files at rest, and a reload that compares, or not.

    scripts/bench watch [--repeats N]

A reload is measured on a loop that does nothing else; its longest step is what a request beside it
would have to wait.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import wasmtime

from int3rceptor_tui.garbage import settle
from proxy_core.bus.bus import Bus
from proxy_core.exchange.hooks import Hooks
from proxy_core.model.connection import ClientConnection, ServerConnection
from proxy_core.model.flow import Flow, FlowState
from proxy_core.model.headers import Headers
from proxy_core.model.ids import ConnectionId, FlowId
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.plugin_host import PluginManager
from proxy_core.plugin_host.files.watcher import AGAIN_SECONDS, LOOK_SECONDS, FileWatch

FLOWS = 1000
LOOKS = 200
MIB = 1024 * 1024
HOOK = """(module (import "env" "host_set_header" (func $set (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "x-version") (data (i32.const 16) "{version}")
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (func (export "{hook}") (result i32) {before}
    (drop (call $set (i32.const 0) (i32.const 9) (i32.const 16) (i32.const 1))) i32.const 0))"""


def measure_look(plugins: int) -> float:
    """Seconds of processor time that one look takes at so many plugins at rest."""
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(plugins):
            place = Path(scratch) / f"p{number}"
            place.mkdir()
            (place / "plugin.toml").write_text(f'name = "p{number}"\nwasm = "m.wasm"\n')
            (place / "m.wasm").write_bytes(b"\0asm")
        watch = FileWatch([Path(scratch)])
        now = 0.0
        while now < 2 * AGAIN_SECONDS:
            now += LOOK_SECONDS / 5
            watch.look(now)
        began = time.thread_time()
        for _ in range(LOOKS):
            now += LOOK_SECONDS
            watch.look(now)
        return (time.thread_time() - began) / LOOKS


def make_flows(body: int) -> list[Flow]:
    """Flows that are over, the newest with bodies of so many bytes."""
    client = ClientConnection(ConnectionId(1), ("127.0.0.1", 1), ("127.0.0.1", 2), "regular", 0.0)
    server = ServerConnection(ConnectionId(2), "example.com", 80)
    flows = []
    for number in range(1, FLOWS + 1):
        fields = [(b"x-header-%d" % field, b"a value") for field in range(15)]
        request = RequestHead(b"POST", "http", b"example.com", b"/%d" % number, Headers(fields))
        flow = Flow(FlowId(number), client, request, 0.0, body)
        flow.server, flow.response = server, ResponseHead(200, b"OK", Headers(fields))
        if number > FLOWS - 30:
            flow.request_body.feed(os.urandom(body))
            flow.response_body.feed(os.urandom(body))
        flow.state = FlowState.DONE
        flow.compact()
        flows.append(flow)
    return flows


@dataclass
class Swap:
    """One reload, in seconds."""

    all: float
    longest_step: float


async def measure_swaps(flows: Sequence[Flow], before: str, repeats: int) -> list[Swap]:
    """Reload a plugin again and again while `flows` are the recent ones."""
    swaps = []
    with tempfile.TemporaryDirectory() as scratch:
        module = Path(scratch) / "a.wasm"

        def write(version: int) -> None:
            text = HOOK.format(version=version % 10, hook="on_request", before=before)
            module.write_bytes(wasmtime.wat2wasm(text))

        write(0)
        manager = PluginManager(
            [Path(scratch)], Hooks(), Bus(), 1000, recent_flows=lambda: flows, watch=False
        )
        await manager.start()
        for version in range(1, repeats + 1):
            write(version)
            longest = 0.0
            began = time.perf_counter()
            reloading = asyncio.get_running_loop().create_task(manager.reload("a"))
            while not reloading.done():
                step = time.perf_counter()
                await asyncio.sleep(0)
                longest = max(longest, time.perf_counter() - step)
            swaps.append(Swap(time.perf_counter() - began, longest))
        await manager.stop()
    return swaps


def main(arguments: list[str] | None = None) -> int:
    """Run all measurements."""
    parser = argparse.ArgumentParser(prog="bench watch", description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args(arguments).repeats
    for plugins in (10, 100, 990):
        look = measure_look(plugins)
        share = 100 * look / LOOK_SECONDS
        print(
            f"a look at {plugins:3} plugins {1e6 * look:26.0f} us   {share:.3f} % at two a second"
        )
    rows: list[tuple[str, Callable[[], list[Flow]], str]] = [
        ("a reload, no flow to compare", list, ""),
        ("a reload, 20 flows with small bodies", lambda: make_flows(100), ""),
        ("a reload, 20 flows with bodies of 1 MiB", lambda: make_flows(MIB), ""),
        ("a reload, 20 flows that use up all fuel", lambda: make_flows(100), "(loop (br 0))"),
    ]
    for what, flows, before in rows:
        recent = flows()
        settle()  # as the program does: collecting garbage would be the longest step
        swaps = asyncio.run(measure_swaps(recent, before, repeats))
        took = statistics.median(swap.all for swap in swaps)
        step = max(swap.longest_step for swap in swaps)
        print(f"{what:<40} {1e3 * took:8.1f} ms   longest step of the loop {1e3 * step:.1f} ms")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
