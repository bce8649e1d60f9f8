#!/usr/bin/env python3
"""Let a core work for a long time while its plugins are reloaded and trap, and see that it lasts.

Five plugins: header-modifier is reloaded every second, the other four take turns at it half a
second later; one of them traps at every third call of an instance. (Reloading it ends the
quarantine that it keeps earning, so it goes on trapping.) Every answer is checked, and whether the
plugins were at work on it. Capture is on, with a bound that is reached early: memory has to be
flat from then on. Exits with 1 where a request failed, memory was not flat or a store was left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rig
import wasmtime
from rig import BenchError
from soak_load import Load, Outcome, running_origin

from proxy_core.api.client import ApiClient
from proxy_core.errors import ApiError, ApiUnreachable

SHIPPED = ("header-modifier", "mock", "request-counter", "jwt-inspector")
OFTEN = "header-modifier"
STUMBLER = "stumbler"
TRAPS_EVERY_THIRD = """(module (memory (export "memory") 1)
  (global $calls (mut i32) (i32.const 0))
  (func (export "on_request") (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (if (i32.ge_u (global.get $calls) (i32.const 3)) (then unreachable))
    i32.const 0))"""
MIB = 1024 * 1024
SPREAD_PCT = 5.0
AVERAGED = 10
"""Samples, one a second, that make one figure of memory."""
SETTLE_SECONDS = 10.0
PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


@dataclass(frozen=True)
class Sample:
    """One look at the core."""

    at: float
    """Seconds since the load began."""
    rss: int
    stores: int
    instances: int


@dataclass
class Record:
    """What was seen."""

    samples: list[Sample] = field(default_factory=list)
    reloads: int = 0
    refused: list[str] = field(default_factory=list)
    """What was said about the reloads that failed."""
    full_at: float | None = None
    """When the first flow was dropped, so that the store of flows was full."""


class Core:
    """The process under test, and its API."""

    def __init__(self, folder: Path, captured: int) -> None:
        self.folder = folder
        for name in SHIPPED:
            shutil.copytree(PLUGINS / name, folder / "plugins" / name)
        stumbler = folder / "plugins" / STUMBLER
        stumbler.mkdir()
        (stumbler / f"{STUMBLER}.wasm").write_bytes(wasmtime.wat2wasm(TRAPS_EVERY_THIRD))
        (folder / "soak.toml").write_text(
            f"[limits]\ncaptured_total = {captured}\nlog_lines = 1000\n"
        )
        self.ca_file = folder / "data" / "ca" / "int3rceptor-ca.pem"
        self.port, api_port = rig.free_port(), rig.free_port()
        self.process = rig.start(
            f"{Path(sys.executable).parent}/int3rceptor-tui serve --config {folder}/soak.toml"
            f" --listen 127.0.0.1:{self.port} --insecure --data-dir {folder}/data"
            f" --plugins {folder}/plugins --api 127.0.0.1:{api_port}"
            f" --api-token-file {folder}/token",
            self.port,
            folder / "core.log",
        )
        secret = (folder / "token").read_text().strip().encode()
        self.api = ApiClient("127.0.0.1", api_port, secret)

    def plugins(self) -> list[dict[str, Any]]:
        return self.api.ask("GET", ("plugins",))["plugins"]

    def look(self, at: float) -> Sample:
        stats = [plugin["stats"] for plugin in self.plugins()]
        return Sample(
            at,
            rig.rss_bytes(self.process.pid),
            sum(each["stores"] for each in stats),
            sum(each["instances"] for each in stats),
        )

    def dropped_flows(self) -> bool:
        """Whether it has begun to forget flows."""
        try:
            self.api.ask("GET", ("flows", "1"))
        except ApiError:
            return True
        return False


async def reload(core: Core, name: str, record: Record) -> None:
    """Reload one plugin, and note how it went."""
    try:
        await asyncio.to_thread(core.api.ask, "POST", ("plugins", "reload", name))
        record.reloads += 1
    except (ApiError, ApiUnreachable) as error:
        record.refused.append(f"{name}: {error}")


async def command(core: Core, record: Record) -> None:
    """Reload and look, once a second, until cancelled."""
    others = [name for name in (*SHIPPED, STUMBLER) if name != OFTEN]
    clock = asyncio.get_running_loop().time
    began, turn = clock(), 0
    while True:
        await asyncio.sleep(max(0.0, began + turn - clock()))
        await reload(core, OFTEN, record)
        await asyncio.sleep(max(0.0, began + turn + 0.5 - clock()))
        await reload(core, others[turn % len(others)], record)
        record.samples.append(await asyncio.to_thread(core.look, clock() - began))
        if record.full_at is None and await asyncio.to_thread(core.dropped_flows):
            record.full_at = clock() - began
        turn += 1


async def settle(core: Core) -> Sample:
    """Wait until the generations that were replaced have ended, for a bounded time."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        sample = await asyncio.to_thread(core.look, 0.0)
        if sample.stores == sample.instances or time.monotonic() > deadline:
            return sample
        await asyncio.sleep(0.2)


def memory(samples: list[Sample], since: float) -> list[float]:
    """Megabytes of the core from `since` on: medians of AVERAGED samples, fewer in short runs."""
    kept = [sample.rss / 1e6 for sample in samples if sample.at >= since]
    count = max(1, min(AVERAGED, len(kept) // 3))
    return [
        statistics.median(kept[at : at + count]) for at in range(0, len(kept) - count + 1, count)
    ]


def summarise(
    outcome: Outcome, record: Record, before: Sample, after: Sample, warm: float, core: Core
) -> dict[str, Any]:
    """All figures, and the verdicts."""
    since = None if record.full_at is None else max(warm, record.full_at)
    figures = [] if since is None else memory(record.samples, since)
    base = figures[0] if figures else 0.0
    spread = max((abs(figure - base) / base * 100 for figure in figures[1:]), default=None)
    stats = {plugin["name"]: plugin["stats"] for plugin in core.plugins()}
    faults = re.findall(r"a fault of the proxy", (core.folder / "core.log").read_text())
    verdicts = {
        "every request was answered as it should": outcome.sent == outcome.good > 0,
        "every reload succeeded": record.reloads > 0 and not record.refused,
        "the plugin went on trapping": stats[STUMBLER]["traps"] > record.reloads // 8,
        f"memory stayed within {SPREAD_PCT:g} %": spread is not None and spread <= SPREAD_PCT,
        "no store was left": after.stores == after.instances,
        "no fault of the proxy": not faults,
    }
    return {
        "requests": outcome.sent,
        "failed": outcome.failed,
        "failures": dict(outcome.failures.most_common(20)),
        "slowest_ms": round(outcome.slowest * 1e3, 1),
        "reloads": record.reloads,
        "reloads_failed": record.refused[:20],
        "generations": {name: each["generation"] for name, each in stats.items()},
        "calls": {name: each["calls"] for name, each in stats.items()},
        "traps": {name: each["traps"] for name, each in stats.items()},
        "rss_since_s": None if since is None else round(since, 1),
        "rss_mb": {
            "at the start": round(before.rss / 1e6, 1),
            "warmed up": round(base, 1),
            "least": round(min(figures, default=0.0), 1),
            "most": round(max(figures, default=0.0), 1),
            "at the end": round(figures[-1], 1) if figures else 0.0,
        },
        "rss_curve_mb": [round(figure, 1) for figure in memory(record.samples, 0.0)],
        "rss_spread_pct": None if spread is None else round(spread, 2),
        "stores": {
            "at the start": before.stores,
            "most": max((sample.stores for sample in record.samples), default=0),
            "at the end": after.stores,
            "instances at the end": after.instances,
        },
        "verdicts": verdicts,
    }


async def soak(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run it all."""
    core = await asyncio.to_thread(Core, folder, options.captured)
    try:
        async with running_origin(folder) as origins:
            load = Load(core.port, core.ca_file, origins, options.rate)
            record = Record()
            before = core.look(0.0)
            if len(core.plugins()) != len(SHIPPED) + 1 or before.stores < len(SHIPPED) + 1:
                raise BenchError(f"not all plugins were loaded, see {folder}/core.log")
            async with asyncio.TaskGroup() as group:
                commands = group.create_task(command(core, record))
                telling = group.create_task(tell(load.outcome, record))
                await load.run(options.minutes * 60)
                commands.cancel()
                telling.cancel()
            if core.process.poll() is not None:
                raise BenchError(f"the core ended with status {core.process.returncode}")
            after = await settle(core)
            return summarise(load.outcome, record, before, after, options.warm_up, core)
    finally:
        rig.end(core.process)


async def tell(outcome: Outcome, record: Record) -> None:
    """Say every minute how it goes."""
    while True:
        await asyncio.sleep(60)
        last = record.samples[-1]
        print(
            f"# {last.at:.0f} s: {outcome.sent} requests, {outcome.failed} failed, "
            f"{last.rss / 1e6:.1f} MB, {last.stores} stores",
            file=sys.stderr,
            flush=True,
        )


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    hidden = ("verdicts", "rss_curve_mb")
    lines = [f"{name:<16} {value}" for name, value in result.items() if name not in hidden]
    lines += [f"{'yes' if good else 'NO':<4} {what}" for what, good in result["verdicts"].items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench soak", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=30.0, help="how long (default 30)")
    add("--rate", type=float, default=500.0, help="requests a second (default 500)")
    add("--warm-up", type=float, default=60.0, metavar="SECONDS", help="not judged (default 60)")
    add("--captured", type=int, default=16 * MIB, metavar="BYTES", help="of flows kept (16 MiB)")
    add("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and end the core
    with tempfile.TemporaryDirectory(prefix="int3-soak-") as folder:
        try:
            result = asyncio.run(soak(options, Path(folder)))
        except (BenchError, OSError, ApiError, ApiUnreachable, subprocess.SubprocessError) as error:
            print(f"bench soak: {error}", file=sys.stderr)
            return 2
    print(json.dumps(result, indent=1) if options.json else table(result))
    return 0 if all(result["verdicts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
