#!/usr/bin/env python3
"""Measure what a captured flow costs in memory: growth of RSS per flow.

Each flow is a browser-like GET of 1 KiB of JSON through an explicit proxy. A few
hundred flows warm the proxy up, then RSS is read before and after N more.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import loads
import rig
from loads import Result
from rig import PLAIN_ORIGIN, BenchError, Peer

CONNECTIONS = 8
WARM_FLOWS = 304
HEADERS = [
    "Accept-Language: en-US,en;q=0.5",
    "Cookie: sid=0123456789abcdef0123456789abcdef; theme=dark",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
]


def send_flows(port: int, count: int) -> Result:
    command = ["hey", "-n", str(count), "-c", str(CONNECTIONS), "-t", "30"]
    command += ["-x", f"http://127.0.0.1:{port}"]
    for header in HEADERS:
        command += ["-H", header]
    return loads.hey_result(loads.output_of([*command, f"{PLAIN_ORIGIN}/s1k"], 240))


def measure(peer: Peer, flows: int) -> Result:
    """RSS growth of one proxy over this many flows."""
    with rig.running_peer(peer, "explicit") as (process, port):
        loads.check_body(f"{PLAIN_ORIGIN}/s1k", port)
        send_flows(port, WARM_FLOWS)
        time.sleep(1)
        before = rig.rss_bytes(process.pid)
        load = send_flows(port, flows)
        time.sleep(2)
        after = rig.rss_bytes(process.pid)
    if not load["n"]:
        raise BenchError(f"no good answer ({load['errors']} errors)")
    return {
        "n": load["n"],
        "errors": load["errors"],
        "rps": round(load["rps"], 1),
        "rss0_mb": round(before / 1e6, 1),
        "rss1_mb": round(after / 1e6, 1),
        "bytes_per_flow": round((after - before) / load["n"]),
    }


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="RSS growth per captured flow.")
    add = parser.add_argument
    add("-n", "--flows", type=int, default=10000, help="a multiple of 8 (default 10000)")
    add("-p", "--proxy", action="append", default=[], metavar="NAME", help="a peer (repeat)")
    add(
        "--explicit",
        action="append",
        default=[],
        type=rig.named_command,
        metavar="NAME=CMD",
        help="a candidate; CMD may use {port} {aux_port} {ca} {home} {here}",
    )
    add("--env", action="append", default=[], metavar="KEY=VALUE", help="for the candidates")
    add("--peers", type=Path, default=rig.HERE / "peers.json")
    add("-o", "--out", type=Path, help="write the JSON result here too")
    add("--table", action="store_true", help="print a table instead of JSON")
    options = parser.parse_args()
    if not options.proxy and not options.explicit:
        options.proxy = [rig.OWN]
    return options


def choose_peers(options: argparse.Namespace) -> list[Peer]:
    known = rig.load_peers(options.peers)
    for name in options.proxy:
        if name not in known or "explicit" not in known[name].commands:
            raise BenchError(f"no explicit proxy of this name in {options.peers}: {name}")
        if not known[name].installed:
            raise BenchError(f"not installed (run scripts/bench setup): {name}")
    env = dict(entry.split("=", 1) for entry in options.env)
    candidates = [Peer(name, {"explicit": cmd}, env) for name, cmd in options.explicit]
    return [known[name] for name in options.proxy] + candidates


def table(results: dict[str, Result]) -> str:
    titles = f"{'bytes/flow':>12}{'before MB':>12}{'after MB':>12}{'errors':>8}"
    lines = [f"{'RSS per flow':<20}{titles}"]
    for name, result in results.items():
        lines.append(
            f"{name:<20}{result['bytes_per_flow']:>12}{result['rss0_mb']:>12}"
            f"{result['rss1_mb']:>12}{result['errors']:>8}"
        )
    return "\n".join(lines)


def main() -> int:
    options = parse_options()
    results: dict[str, Result] = {}
    failed = False
    try:
        peers = choose_peers(options)
        with rig.exclusive_run(), rig.running_origin():
            for peer in peers:
                try:
                    results[peer.name] = measure(peer, options.flows)
                except (BenchError, OSError, subprocess.SubprocessError) as error:
                    print(f"# FAILED {peer.name}: {error}", file=sys.stderr)
                    failed = True
    except BenchError as error:
        print(f"bench memflow: {error}", file=sys.stderr)
        return 2
    if options.out:
        options.out.write_text(rig.result_json(results) + "\n")
    print(table(results) if options.table else rig.result_json(results))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
