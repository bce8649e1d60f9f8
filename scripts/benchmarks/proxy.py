#!/usr/bin/env python3
"""Measure proxies against each other: CPU time per request, rate, latency, memory.

Rounds are interleaved over the proxies (A B C A B C ...) and medians are reported.
Everything stays on 127.0.0.1. See README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loads
import rig
from loads import Result
from rig import PLAIN_ORIGIN, TLS_H1_ORIGIN, BenchError, CpuSets, Peer

DEFAULT_SECONDS = 5
# hey cannot leave its handshakes out of a run: keep their share small.
DEFAULT_SECONDS_HEY = 10
DEFAULT_SECONDS_HEY_CROWD = 20


@dataclass(frozen=True)
class Workload:
    """One load: how the proxy is used, what is fetched, and what runs it."""

    about: str
    mode: str  # "explicit" or "reverse"
    check_url: str  # {port} is the proxy's; fetched once before the run
    run: Callable[[int, int], Result]  # (proxy port, seconds)
    seconds: int = DEFAULT_SECONDS
    warm: bool = True
    http2: bool = False


def plain_workload(connections: int, file: str) -> Workload:
    url = f"{PLAIN_ORIGIN}/{file}"
    return Workload(
        f"explicit HTTP/1.1 cleartext, {file}, {connections} keep-alive connections (wrk)",
        "explicit",
        url,
        lambda port, seconds: loads.wrk(f"http://127.0.0.1:{port}/", connections, seconds, url),
    )


def tls_workload(connections: int, file: str) -> Workload:
    url = f"{TLS_H1_ORIGIN}/{file}"
    return Workload(
        f"explicit, intercepted TLS, HTTP/1.1, {file}, {connections} keep-alive connections (hey)",
        "explicit",
        url,
        lambda port, seconds: loads.hey(port, connections, seconds, url),
        DEFAULT_SECONDS_HEY if connections <= 32 else DEFAULT_SECONDS_HEY_CROWD,
    )


def h2_workload(connections: int, streams: int, file: str) -> Workload:
    return Workload(
        f"reverse, TLS, HTTP/2, {file}, {connections} connection(s) x {streams} stream(s) (h2load)",
        "reverse",
        f"https://127.0.0.1:{{port}}/{file}",
        lambda port, seconds: loads.h2load(port, connections, streams, seconds, f"/{file}"),
        http2=True,
    )


def reverse_h1_workload(connections: int, file: str) -> Workload:
    return Workload(
        f"reverse, TLS, HTTP/1.1 client, {file}, {connections} keep-alive connections (wrk)",
        "reverse",
        f"https://127.0.0.1:{{port}}/{file}",
        lambda port, seconds: loads.wrk(f"https://127.0.0.1:{port}/{file}", connections, seconds),
    )


def handshake_workload(connections: int, fresh_names: bool, get: bool = True) -> Workload:
    names = "a new server name each" if fresh_names else "one server name"
    what = "one GET s128" if get else "no request"
    return Workload(
        f"explicit, new TLS connections, {names}, {what}, {connections} at a time (hsload)",
        "explicit",
        f"{TLS_H1_ORIGIN}/s128",
        lambda port, seconds: loads.hsload(
            port, connections, seconds, fresh_names, "/s128" if get else None
        ),
    )


def bulk_workload(origin: str, kind: str) -> Workload:
    return Workload(
        f"explicit, {kind}, downloads of s100m one by one (curl); n counts downloads",
        "explicit",
        f"{origin}/s128",
        lambda port, seconds: loads.download(port, seconds, f"{origin}/s100m"),
        warm=False,
    )


WORKLOADS: dict[str, Workload] = {
    "h1plain-c1": plain_workload(1, "s128"),
    "h1plain-c32": plain_workload(32, "s128"),
    "h1plain-c256": plain_workload(256, "s128"),
    "h1plain1k-c32": plain_workload(32, "s1k"),
    "h1plain64k-c32": plain_workload(32, "s64k"),
    "h1plain1m-c8": plain_workload(8, "s1m"),
    "h1tls-c1": tls_workload(1, "s128"),
    "h1tls-c32": tls_workload(32, "s128"),
    "h1tls-c256": tls_workload(256, "s128"),
    "h1tls64k-c32": tls_workload(32, "s64k"),
    "h2-c1m1": h2_workload(1, 1, "s128"),
    "h2-c1m32": h2_workload(1, 32, "s128"),
    "h2-c8m32": h2_workload(8, 32, "s128"),
    "h2-64k-c1m32": h2_workload(1, 32, "s64k"),
    "h1rev-c32": reverse_h1_workload(32, "s128"),
    "hs-cached-c1": handshake_workload(1, fresh_names=False),
    "hs-cached-c32": handshake_workload(32, fresh_names=False),
    "hs-fresh-c1": handshake_workload(1, fresh_names=True),
    "hs-fresh-c32": handshake_workload(32, fresh_names=True),
    "hsonly-cached-c32": handshake_workload(32, fresh_names=False, get=False),
    "bulk-plain": bulk_workload(PLAIN_ORIGIN, "cleartext"),
    "bulk-tls": bulk_workload(TLS_H1_ORIGIN, "intercepted TLS"),
}
GROUPS: dict[str, list[str]] = {
    "quick": ["h1plain-c32", "h1tls-c32", "h2-c1m32"],
    "full": list(WORKLOADS),
}
DEFAULT_ROUNDS = {"quick": 2, "full": 3}


def foreign_cpu_seconds() -> float:
    """CPU time so far of everything but this benchmark and its children."""
    return rig.machine_cpu_seconds() - rig.cpu_seconds(os.getpid())


def measure(peer: Peer, workload: Workload, seconds: int, warm: int, cpus: CpuSets) -> Result:
    """One run of one workload through a freshly started proxy."""
    with rig.running_peer(peer, workload.mode, cpus.proxy) as (process, port):
        loads.check_body(
            rig.fill(workload.check_url, port=port),
            port if workload.mode == "explicit" else None,
            workload.http2,
        )
        if warm and workload.warm:
            workload.run(port, warm)
        rig.reset_peak_rss(process.pid)
        rss_before = rig.rss_bytes(process.pid)
        foreign_before = foreign_cpu_seconds()
        cpu_before, time_before = rig.cpu_seconds(process.pid), time.monotonic()
        result = workload.run(port, seconds)
        cpu = rig.cpu_seconds(process.pid) - cpu_before
        elapsed = time.monotonic() - time_before
        foreign = foreign_cpu_seconds() - foreign_before
        rss_after = rig.rss_bytes(process.pid)
        rss_peak = max(rig.peak_rss_bytes(process.pid), rss_before, rss_after)
        if process.poll() is not None:
            raise BenchError(f"the proxy ended during the run (status {process.returncode})")
    if not result["n"]:
        raise BenchError(f"no good answer ({result['errors']} errors)")
    result.update(
        cpu_pct=100 * cpu / elapsed,
        cpu_us_per_req=1e6 * cpu / result["n"],
        rss_mb=rss_after / 1e6,
        rss_peak_mb=rss_peak / 1e6,
        rss_start_mb=rss_before / 1e6,
        rss_growth_mb=(rss_peak - rss_before) / 1e6,
        load1=os.getloadavg()[0],
        noise_pct=max(0.0, 100 * foreign / elapsed),
    )
    if not workload.warm:
        result["cpu_ms_per_100mb"] = 1e3 * cpu / result["n"]
    return result


def summarise(runs: list[Result]) -> Result:
    """Medians of the numbers of one proxy's runs."""
    summary: Result = {}
    for key in runs[0]:
        values = [run[key] for run in runs if isinstance(run.get(key), (int, float))]
        if values:
            summary[key] = round(statistics.median(values), 3)
    rates = [run["rps"] for run in runs]
    costs = [run["cpu_us_per_req"] for run in runs]
    summary["rps_min_max"] = [round(min(rates), 1), round(max(rates), 1)]
    summary["cpu_us_min_max"] = [round(min(costs), 3), round(max(costs), 3)]
    summary["errors_max"] = max(run["errors"] for run in runs)
    summary["runs"] = len(runs)
    return summary


def add_multiples(results: dict[str, Result], base_name: str) -> None:
    """Add x_cpu, x_rps and x_p50: how many times better than the base each proxy is.

    x_cpu_min_max is the widest range that the single rounds allow.
    """
    base = results.get(base_name)
    if not base:
        return
    base_least, base_most = base["cpu_us_min_max"]
    for result in results.values():
        least, most = result["cpu_us_min_max"]
        result["x_cpu"] = round(base["cpu_us_per_req"] / result["cpu_us_per_req"], 2)
        result["x_cpu_min_max"] = [round(base_least / most, 2), round(base_most / least, 2)]
        result["x_rps"] = round(result["rps"] / base["rps"], 2)
        if base.get("p50_ms") and result.get("p50_ms"):
            result["x_p50"] = round(base["p50_ms"] / result["p50_ms"], 2)


COLUMNS: list[tuple[str, str, str]] = [
    ("x_cpu", "x_cpu", ".2f"),
    ("min-max", "x_cpu_min_max", ".1f"),
    ("us/req", "cpu_us_per_req", ".1f"),
    ("cpu %", "cpu_pct", ".0f"),
    ("req/s", "rps", ".1f"),
    ("x_rps", "x_rps", ".2f"),
    ("p50 ms", "p50_ms", ".2f"),
    ("x_p50", "x_p50", ".2f"),
    ("p99 ms", "p99_ms", ".2f"),
    ("peak MB", "rss_peak_mb", ".0f"),
    ("+RSS MB", "rss_growth_mb", ".1f"),
    ("errors", "errors_max", "d"),
    ("noise %", "noise_pct", ".0f"),
]


def cell(value: Any, form: str) -> str:
    """One value of the table; a range for a list."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return "-".join(format(part, form) for part in value)
    return format(value, form)


def table(results: dict[str, dict[str, Result]], base_name: str) -> str:
    """The results for people; x_cpu first."""
    lines = [
        f"x_cpu = times less CPU per good request (us/req) than {base_name}; min-max = the range",
        "over the rounds. x_rps says something only where cpu % is near 100. noise % = CPU that",
        "other programs took meanwhile, in % of one core: above ~10, run again when it is quiet.",
        rig.installed_versions(),
    ]
    for name, by_proxy in results.items():
        width = max([len(proxy) for proxy in by_proxy] + [20])
        titles = "".join(f" {title:>9}" for title, _, _ in COLUMNS)
        lines += ["", f"{name:<{width}}{titles}"]
        for proxy, result in by_proxy.items():
            cells = "".join(f" {cell(result.get(key), form):>9}" for _, key, form in COLUMNS)
            lines.append(f"{proxy:<{width}}{cells}")
        if not by_proxy:
            lines.append("(no result)")
    return "\n".join(lines)


def run_workload(
    name: str, peers: list[Peer], options: argparse.Namespace, cpus: CpuSets, failures: list[str]
) -> dict[str, Result]:
    """All rounds of one workload over all the proxies that can run it."""
    workload = WORKLOADS[name]
    able = [peer for peer in peers if peer.can_run(workload.mode, name)]
    runs: dict[str, list[Result]] = {peer.name: [] for peer in able}
    for _ in range(options.rounds):
        for peer in able:
            try:
                seconds = options.dur or workload.seconds
                result = measure(peer, workload, seconds, options.warm, cpus)
            except (BenchError, OSError, subprocess.SubprocessError) as error:
                failures.append(f"FAILED {name} {peer.name}: {error}")
                print(f"# {failures[-1]}", file=sys.stderr, flush=True)
                continue
            runs[peer.name].append(result)
            if options.verbose:
                shown = {k: round(v, 2) if isinstance(v, float) else v for k, v in result.items()}
                print(f"# {name} {peer.name} {json.dumps(shown)}", file=sys.stderr, flush=True)
    results = {proxy: summarise(done) for proxy, done in runs.items() if done}
    add_multiples(results, options.base)
    return results


def choose_peers(options: argparse.Namespace) -> list[Peer]:
    """The peers named with -p and the ad-hoc candidates; by default the base and this checkout."""
    peers = rig.load_peers(options.peers)
    candidates: list[str] = []
    for mode in ("explicit", "reverse"):
        for name, command in getattr(options, mode):
            peers.setdefault(name, Peer(name)).commands[mode] = command
            candidates.append(name)
    names = list(options.proxy or [options.base])
    if not (options.proxy or candidates):
        names.append(rig.OWN)
    names = list(dict.fromkeys(names + candidates))
    unknown = [name for name in names if name not in peers]
    if unknown:
        raise BenchError(f"not in {options.peers}: {', '.join(unknown)}")
    missing = [name for name in names if not peers[name].installed]
    if missing:
        raise BenchError(f"not installed (run scripts/bench setup): {', '.join(missing)}")
    return [peers[name] for name in names]


def print_list(options: argparse.Namespace) -> None:
    """What --list shows."""
    print("workloads (* = in the quick group):")
    for name, workload in WORKLOADS.items():
        mark = "*" if name in GROUPS["quick"] else " "
        print(f" {mark} {name:<18} {workload.about}")
    print("peers:")
    for peer in rig.load_peers(options.peers).values():
        notes = ["/".join(peer.commands)]
        notes += [] if peer.only == ["*"] else [" ".join(peer.only)]
        notes += [] if peer.installed else ["not installed"]
        print(f"   {peer.name:<18} {', '.join(notes)}")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure proxies against each other.")
    add = parser.add_argument
    add("-p", "--proxy", action="append", metavar="NAME", help="a peer of --list (repeat)")
    for mode, what in (
        ("explicit", "explicit proxy"),
        ("reverse", "reverse proxy (TLS listener, ALPN h2 and http/1.1)"),
    ):
        add(
            f"--{mode}",
            action="append",
            default=[],
            type=rig.named_command,
            metavar="NAME=CMD",
            help=f"a candidate as {what}; CMD may use {{port}} {{aux_port}} {{origin}} {{ca}}"
            " {home} {here}",
        )
    add("-w", "--workload", action="append", choices=list(WORKLOADS), metavar="NAME", default=[])
    add("-g", "--group", choices=list(GROUPS), help="a set of workloads")
    add("-r", "--rounds", type=int, help="default 3, for --group quick 2")
    add("-d", "--dur", type=int, help="seconds a run; default 5, for h1tls-* 10 (c256: 20)")
    add("--warm", type=int, default=1, help="seconds of load before each run (default 1)")
    add("--base", default="mitmdump", metavar="NAME", help="what x_* compares with")
    add("--no-pin", action="store_true", help="do not pin; for proxies of several processes")
    add("--peers", type=Path, default=rig.HERE / "peers.json")
    add("-o", "--out", type=Path, help="write the JSON result here too")
    add("--table", action="store_true", help="print a table instead of JSON")
    add("--list", action="store_true", help="list workloads and peers, then end")
    add("-v", "--verbose", action="store_true", help="every single run to standard error")
    options = parser.parse_args()
    if options.rounds is None:
        options.rounds = DEFAULT_ROUNDS.get(options.group, 3)
    wanted = GROUPS.get(options.group, []) + options.workload
    options.workload = list(dict.fromkeys(wanted))
    if not options.workload and not options.list:
        parser.error("choose workloads with -w or --group (see --list)")
    return options


def run_all(options: argparse.Namespace) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Run every workload that was asked for; returns the results and the failures."""
    failures: list[str] = []
    peers = choose_peers(options)
    cpus = rig.choose_cpus(pin=not options.no_pin)
    with rig.exclusive_run():
        if cpus.load:
            os.sched_setaffinity(0, cpus.load)
        with rig.running_origin():
            results = {
                name: run_workload(name, peers, options, cpus, failures)
                for name in options.workload
            }
    return results, failures


def main() -> int:
    options = parse_options()
    if options.list:
        print_list(options)
        return 0
    try:
        results, failures = run_all(options)
    except BenchError as error:
        print(f"bench proxy: {error}", file=sys.stderr)
        return 2
    if options.out:
        options.out.write_text(rig.result_json(results) + "\n")
    if options.table:
        print("\n".join([table(results, options.base), *failures]))
    else:
        print(rig.result_json(results))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
