"""What loaded plugins cost a proxy: one workload with them and without, in turns."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

import rig
from loads import Result
from proxy import WORKLOADS, measure, summarise
from rig import Peer

WORKLOAD = "h1plain-c32"
LOADED = ("header-modifier", "request-counter")
TARGET_PCT = 75.0


def peers(plugins: Path, folder: Path) -> list[Peer]:
    """This checkout without plugins, and with those that are measured."""
    for name in LOADED:
        shutil.copytree(plugins / name, folder / name)
    alone = rig.own_commands()
    loaded = {mode: f"{command} --plugins {folder}" for mode, command in alone.items()}
    return [Peer("without plugins", alone), Peer("with plugins", loaded)]


def throughput(plugins: Path, folder: Path, rounds: int, seconds: int) -> dict[str, Any]:
    """Run all rounds; `folder` is empty. The ratio is the median over the rounds."""
    runs: dict[str, list[Result]] = {}
    with rig.exclusive_run():
        cpus = rig.choose_cpus(pin=True)
        if cpus.load:
            os.sched_setaffinity(0, cpus.load)
        with rig.running_origin():
            measured = peers(plugins, folder)
            for number in range(rounds):
                # The order changes: what the machine does beside us favours neither.
                for peer in measured if number % 2 == 0 else reversed(measured):
                    result = measure(peer, WORKLOADS[WORKLOAD], seconds, 1, cpus)
                    print(f"# {peer.name}: {json.dumps(result)}", file=sys.stderr, flush=True)
                    runs.setdefault(peer.name, []).append(result)
    without, loaded = (runs[peer.name] for peer in measured)
    kept = [100 * b["rps"] / a["rps"] for a, b in zip(without, loaded, strict=True)]
    return {
        **{name: summarise(results) for name, results in runs.items()},
        "kept_pct": round(statistics.median(kept), 1),
        "kept_pct_min_max": [round(min(kept), 1), round(max(kept), 1)],
    }


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{WORKLOAD:<18}{'req/s':>9}{'us/req':>9}{'p99 ms':>9}{'errors':>8}{'noise %':>9}"]
    for name in ("without plugins", "with plugins"):
        row = result[name]
        lines.append(
            f"{name:<18}{row['rps']:>9.0f}{row['cpu_us_per_req']:>9.1f}{row['p99_ms']:>9.2f}"
            f"{row['errors_max']:>8.0f}{row['noise_pct']:>9.1f}"
        )
    least, most = result["kept_pct_min_max"]
    lines.append(
        f"with {' and '.join(LOADED)}: {result['kept_pct']:.1f} % of the throughput "
        f"({least:.1f} to {most:.1f}; target >= {TARGET_PCT:g})"
    )
    return "\n".join(lines)
