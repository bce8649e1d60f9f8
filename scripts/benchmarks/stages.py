#!/usr/bin/env python3
"""Print where our own CPU time for a request goes, by stage: a regression is seen where it is.

A sampled run beside an unsampled one: the process's CPU time for a request, divided by the share of
samples whose innermost frame of ours belongs to a stage.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import rig
from proxy import WORKLOADS, measure
from rig import HERE, BenchError, Peer

STAGES = ("accept", "parse", "exchange", "hooks", "TLS", "net", "capture", "libraries", "loop")
DEFAULT_WORKLOADS = ("h1plain-c32", "h1tls-c32", "h2-c1m32", "hs-cached-c32")


def sampled(profile: Path) -> Peer:
    """This checkout with a sampler inside, which leaves its counts in `profile`."""
    commands = rig.own_commands()
    prefix = f"{sys.executable} {HERE}/sampled.py {profile} "
    return Peer(
        "sampled",
        {mode: prefix + command.split(" ", 1)[1] for mode, command in commands.items()},
    )


def run(name: str, seconds: int) -> dict[str, Any]:
    workload = WORKLOADS[name]
    cpus = rig.choose_cpus(True)
    plain = measure(Peer("int3", rig.own_commands()), workload, seconds, 1, cpus)
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "samples.json"
        measure(sampled(profile), workload, seconds, 1, cpus)
        counts = json.loads(profile.read_text())
    total = sum(counts.values())
    if not total:
        raise BenchError("the sampler saw nothing; is the run too short?")
    cost = plain["cpu_us_per_req"]
    return {
        "cpu_us_per_req": round(cost, 1),
        "noise_pct": round(plain["noise_pct"], 1),
        "samples": total,
        "stages": {stage: round(cost * counts.get(stage, 0) / total, 2) for stage in STAGES},
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """A row for each workload, a column for each stage; microseconds of CPU for a request."""
    head = f"{'us/request':<16}" + "".join(f"{stage:>11}" for stage in (*STAGES, "all", "noise %"))
    rows = [head]
    for name, result in results.items():
        values = [*result["stages"].values(), result["cpu_us_per_req"], result["noise_pct"]]
        rows.append(f"{name:<16}" + "".join(f"{value:>11.1f}" for value in values))
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench stages", description=__doc__)
    parser.add_argument("-w", "--workload", action="append", choices=WORKLOADS, help="repeatable")
    parser.add_argument("-d", "--seconds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    try:
        with rig.exclusive_run(), rig.running_origin():
            names = options.workload or DEFAULT_WORKLOADS
            results = {name: run(name, options.seconds) for name in names}
    except BenchError as error:
        print(f"scripts/bench stages: {error}", file=sys.stderr)
        return 1
    print(rig.result_json(results) if options.json else table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
