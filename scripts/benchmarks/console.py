#!/usr/bin/env python3
"""Measure what an open console costs the traffic: ours and mitmproxy's, in one run.

Each runs in a real pseudo-terminal of 180x50 that is read as a terminal would read it, tails its
flows, and is pinned to the first core; generator, origin and terminal run on the others. The peer
is asked for the lower rate only: at the higher one it falls ever further behind.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import loads
import rig
from rig import PLAIN_ORIGIN, PLAIN_PORT, BenchError
from terminal import running_in_terminal

URL = f"{PLAIN_ORIGIN}/s128"
PEER = (
    "{home}/peer/bin/mitmproxy --listen-host 127.0.0.1 -p {port} --ssl-insecure"
    " --set confdir={home}/mitmproxy"
)
FAST, SLOW = 400, 96
STALL_AT, STALL_FOR, STALL_TAIL = 3.0, 2.0, 1.0
LEAST_DRAWN = 5_000  # bytes a console draws while it really shows flows
TARGETS = {
    f"p99 ms at {FAST}/s": "<= 60",
    "times the peer's throughput": ">= 10",
    "most delayed during a stall, ms": "<= 150",
}

Result = dict[str, Any]


def own_command() -> str:
    """The command that opens this checkout's console."""
    program = Path(sys.executable).parent / "int3rceptor-tui"
    return f"{program} --listen 127.0.0.1:{{port}} --insecure --data-dir {{home}}/int3"


def open_loop(port: int, rate: int, seconds: float) -> list[tuple[float, float]]:
    """Run the generator; returns (second, latency in ms) pairs."""
    command = [sys.executable, str(rig.HERE / "open_loop.py"), str(port), str(rate), str(seconds)]
    done = subprocess.run([*command, URL], capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise BenchError(f"the generator failed: {done.stderr[-300:]}")
    return [(at, late) for at, late in json.loads(done.stdout)]


def quantiles(pairs: list[tuple[float, float]], skip: float = 1.0) -> Result:
    """p50, p99 and the largest, the first second left out."""
    kept = [(at, late) for at, late in pairs if at >= skip]
    good = sorted(late for _, late in kept if late >= 0)
    if not good:
        raise BenchError("no request was answered")
    return {
        "p50_ms": good[len(good) // 2],
        "p99_ms": good[int(0.99 * (len(good) - 1))],
        "max_ms": good[-1],
        "errors": len(kept) - len(good),
    }


class Console:
    """One console to measure."""

    def __init__(self, name: str, command: str, cpus: rig.CpuSets) -> None:
        self.name = name
        self._command = command
        self._cpus = cpus

    def _run(self, work: Any) -> Any:
        port = rig.free_port()
        command = rig.fill(self._command, port=port)
        with running_in_terminal(command, port, self._cpus.proxy) as (process, terminal):
            before = terminal.drawn
            result = work(port, terminal)
            if process.poll() is not None:
                raise BenchError(f"{self.name} ended during the run")
            time.sleep(0.3)
            if terminal.drawn - before < LEAST_DRAWN:
                raise BenchError(f"{self.name} drew next to nothing: it showed no flows")
            if isinstance(result, dict):
                result["drawn_kb_s"] = (terminal.drawn - before) / 1e3 / result.pop("took")
            return result

    def latency(self, rate: int, seconds: int) -> Result:
        """Open loop at a fixed rate."""

        def work(port: int, _: Any) -> Result:
            return {**quantiles(open_loop(port, rate, seconds)), "took": seconds}

        return self._run(work)

    def throughput(self, seconds: int) -> Result:
        """Closed loop, as fast as it goes on 8 connections."""

        def work(port: int, _: Any) -> Result:
            return {**loads.wrk(f"http://127.0.0.1:{port}/", 8, seconds, URL), "took": seconds}

        return self._run(work)

    def stall(self, rate: int, seconds: float, stalled: bool) -> Result:
        """The largest delay while the terminal reads nothing for a while, and a little after."""

        def work(port: int, terminal: Any) -> Result:
            def interrupt() -> None:
                time.sleep(STALL_AT)
                terminal.stall()
                time.sleep(STALL_FOR)
                terminal.resume()

            thread = threading.Thread(target=interrupt)
            if stalled:
                thread.start()
            pairs = open_loop(port, rate, seconds)
            if stalled:
                thread.join()
            # The generator itself takes a moment to start: leave the window wide.
            window = [
                (at, late)
                for at, late in pairs
                if STALL_AT - 1 <= at <= STALL_AT + STALL_FOR + STALL_TAIL
            ]
            return {**quantiles(window, 0), "took": seconds}

        return self._run(work)


def medians(runs: list[Result]) -> Result:
    """The median of each figure over the rounds; the largest of the largest."""
    summary: Result = {}
    for key in runs[0]:
        values = [run[key] for run in runs if isinstance(run.get(key), int | float)]
        if values:
            pick = max if key in ("max_ms", "errors") else statistics.median
            summary[key] = round(pick(values), 2)
    return summary


def measure(options: argparse.Namespace) -> Result:
    """All rounds, interleaved."""
    cpus = rig.choose_cpus(pin=not options.no_pin)
    ours = Console("int3", options.ours, cpus)
    peer = Console("mitmproxy", PEER, cpus)
    runs: dict[str, list[Result]] = {}

    def take(name: str, work: Any, *arguments: Any) -> None:
        result = work(*arguments)
        print(f"# {name}: {json.dumps(result)}", file=sys.stderr, flush=True)
        runs.setdefault(name, []).append(result)

    def noise() -> float:
        return rig.machine_cpu_seconds() - rig.cpu_seconds(os.getpid())

    with rig.exclusive_run():
        if cpus.load:
            os.sched_setaffinity(0, cpus.load)
        with rig.running_origin():
            noise_before, began = noise(), time.monotonic()
            for _ in range(options.rounds):
                seconds = options.dur
                take(
                    f"no proxy, {FAST}/s",
                    lambda: quantiles(open_loop(PLAIN_PORT, FAST, options.dur)),
                )
                if options.only != "peer":
                    take(f"int3, {FAST}/s", ours.latency, FAST, seconds)
                    take(f"int3, {SLOW}/s", ours.latency, SLOW, seconds)
                    take("int3, closed loop", ours.throughput, seconds)
                    take(f"int3, {FAST}/s, no stall", ours.stall, FAST, 8, False)
                    take(f"int3, {FAST}/s, 2 s stall", ours.stall, FAST, 8, True)
                if options.only != "ours":
                    take(f"mitmproxy, {SLOW}/s", peer.latency, SLOW, seconds)
                    take("mitmproxy, closed loop", peer.throughput, seconds)
                    take(f"mitmproxy, {SLOW}/s, no stall", peer.stall, SLOW, 8, False)
                    take(f"mitmproxy, {SLOW}/s, 2 s stall", peer.stall, SLOW, 8, True)
            noise_pct = 100 * (noise() - noise_before) / (time.monotonic() - began)
    return {
        "figures": {name: medians(results) for name, results in runs.items()},
        "noise_pct": round(max(0.0, noise_pct), 1),
    }


def table(result: Result) -> str:
    """The figures for people."""
    figures = result["figures"]
    lines = [
        rig.installed_versions(),
        f"noise {result['noise_pct']} % of one core; medians, max and errors the worst round",
        "",
        f"{'':<28}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'req/s':>9}{'errors':>8}"
        f"{'drawn kB/s':>12}",
    ]
    for name, row in figures.items():
        cells = [row.get(key) for key in ("p50_ms", "p99_ms", "max_ms", "rps")]
        shown = "".join(f"{cell:>9.1f}" if cell is not None else f"{'-':>9}" for cell in cells)
        drawn = row.get("drawn_kb_s")
        lines.append(
            f"{name:<28}{shown}{row.get('errors', 0):>8.0f}"
            + (f"{drawn:>12.0f}" if drawn is not None else "")
        )
    values: dict[str, float | None] = dict.fromkeys(TARGETS)
    if fast := figures.get(f"int3, {FAST}/s"):
        values[f"p99 ms at {FAST}/s"] = fast["p99_ms"]
    mine, theirs = figures.get("int3, closed loop"), figures.get("mitmproxy, closed loop")
    if mine and theirs:
        values["times the peer's throughput"] = mine["rps"] / theirs["rps"]
    if stall := figures.get(f"int3, {FAST}/s, 2 s stall"):
        values["most delayed during a stall, ms"] = stall["max_ms"]
    lines.append("")
    for name, target in TARGETS.items():
        value = values[name]
        if value is not None:
            lines.append(f"{name}: {value:.1f} (target {target})")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("-r", "--rounds", type=int, default=3)
    add("-d", "--dur", type=int, default=8, help="seconds a run (default 8)")
    add("--only", choices=["ours", "peer"], help="measure one of the two only")
    add("--ours", default=own_command(), metavar="CMD", help="another command in place of ours")
    add("--no-pin", action="store_true", help="do not pin")
    add("-o", "--out", type=Path, help="write the JSON result here")
    options = parser.parse_args()
    try:
        result = measure(options)
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        print(f"bench console: {error}", file=sys.stderr)
        return 1
    if options.out:
        options.out.write_text(rig.result_json(result) + "\n")
    print(table(result))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
