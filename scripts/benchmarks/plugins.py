"""What plugins cost: microseconds of the loop's time per hook, as the exchange calls them.

    scripts/bench plugins [--repeats N] [--calls N] [--busy] [--proxy]

`--busy` runs a thread that never lets go of the interpreter, as a console that draws does.
`--proxy` measures the throughput of a proxy with two plugins against one without, too; it needs
`scripts/bench setup`.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import plugin_load
import wasmtime
from rig import BenchError

from proxy_core.bus.bus import Bus
from proxy_core.exchange.hooks import Hooks
from proxy_core.model.connection import ClientConnection
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Headers
from proxy_core.model.ids import ConnectionId, FlowId
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.model.verdict import CONTINUE
from proxy_core.plugin_host import PluginManager

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
HEADERS = 15

EMPTY = (
    '(module (memory (export "memory") 1) (func (export "on_request") (result i32) i32.const 0))'
)
LOGS = """(module (import "env" "host_log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1) (data (i32.const 0) "hello")
  (func (export "on_request") (result i32)
    (call $log (i32.const 1) (i32.const 0) (i32.const 5)) i32.const 0))"""


def make_flow() -> Flow:
    """A flow with 15 headers each way."""
    fields = [
        (b"x-header-%d" % number, b"value of header %d" % number) for number in range(HEADERS)
    ]
    client = ClientConnection(ConnectionId(1), ("127.0.0.1", 1), ("127.0.0.1", 2), "regular", 0.0)
    request = RequestHead(b"GET", "http", b"example.com", b"/path?query", Headers(fields))
    flow = Flow(FlowId(1), client, request, 0.0, 0)
    flow.response = ResponseHead(200, b"OK", Headers(fields))
    return flow


async def measure(
    directory: Path, run: Callable[[Hooks, Flow], Awaitable[None]], repeats: int, calls: int
) -> list[float]:
    """Microseconds per `run`, one figure for each repeat."""
    hooks = Hooks()
    manager = PluginManager([directory], hooks, Bus(), 1000)
    report = await manager.start()
    if report.refused:
        raise SystemExit(f"not loaded: {report.refused}")
    first = make_flow()
    client, request, response = first.client, first.request, first.response
    figures = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(calls):
            flow = Flow(FlowId(1), client, request, 0.0, 0)  # 0.5 us
            flow.response = response
            await run(hooks, flow)
        figures.append((time.perf_counter() - began) / calls * 1e6)
    await manager.stop()
    return figures


async def on_request(hooks: Hooks, flow: Flow) -> None:
    """One request hook, asked as the exchange asks it."""
    if hooks.request is not None:
        answer = hooks.request(flow)
        if answer is not CONTINUE:
            await answer


async def on_response(hooks: Hooks, flow: Flow) -> None:
    """One response hook."""
    if hooks.response is not None:
        answer = hooks.response(flow)
        if answer is not CONTINUE:
            await answer


async def both_ways(hooks: Hooks, flow: Flow) -> None:
    """One request and one response hook."""
    await on_request(hooks, flow)
    await on_response(hooks, flow)


def spin(stop: threading.Event) -> None:
    """Compute until told otherwise."""
    while not stop.is_set():
        sum(range(1000))


def report(what: str, figures: list[float]) -> None:
    """Print a row: median and spread over the repeats."""
    print(
        f"{what:<68} {statistics.median(figures):8.2f} us   "
        f"({min(figures):.2f} to {max(figures):.2f})"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run all measurements."""
    parser = argparse.ArgumentParser(prog="bench plugins", description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--proxy", action="store_true", help="measure throughput too")
    parser.add_argument("--rounds", type=int, default=3, help="of --proxy (default 3)")
    parser.add_argument("--seconds", type=int, default=5, help="of each run of --proxy (default 5)")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    thread = threading.Thread(target=spin, args=(stop,), daemon=True)
    if options.busy:
        thread.start()
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in (("empty", EMPTY), ("logs", LOGS)):
            (Path(scratch) / name).mkdir()
            (Path(scratch) / name / f"{name}.wasm").write_bytes(wasmtime.wat2wasm(text))
        (Path(scratch) / "none").mkdir()
        rows: list[tuple[str, Path, Callable[[Hooks, Flow], Awaitable[None]]]] = [
            (
                "nobody subscribed (the loop of this benchmark itself)",
                Path(scratch) / "none",
                on_request,
            ),
            (
                "on_response, to which the plugin that is loaded does not subscribe",
                Path(scratch) / "empty",
                on_response,
            ),
            ("empty on_request", Path(scratch) / "empty", on_request),
            ("on_request that logs one line (over its rate)", Path(scratch) / "logs", on_request),
            (
                f"header-modifier, on_request + on_response, {HEADERS} headers",
                PLUGINS / "header-modifier",
                both_ways,
            ),
            ("request-counter, on_request + on_response", PLUGINS / "request-counter", both_ways),
            ("example-logger, on_request + on_response", PLUGINS / "example-logger", both_ways),
        ]
        for what, directory, run in rows:
            report(what, asyncio.run(measure(directory, run, options.repeats, options.calls)))
        stop.set()
        if options.proxy:
            loaded = Path(scratch) / "loaded"
            loaded.mkdir()
            try:
                result = plugin_load.throughput(PLUGINS, loaded, options.rounds, options.seconds)
            except (BenchError, OSError, subprocess.SubprocessError) as error:
                print(f"bench plugins: {error}", file=sys.stderr)
                return 1
            print(plugin_load.table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
