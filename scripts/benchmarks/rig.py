"""The rig of the benchmark: paths, peers, CPU sets, and processes to start, measure and end."""

from __future__ import annotations

import argparse
import fcntl
import fnmatch
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
HOME = Path(os.environ.get("INT3_BENCH_HOME") or "/tmp/int3-bench").absolute()
os.environ["INT3_BENCH_HOME"] = str(HOME)  # for the scripts we start

PLAIN_PORT, TLS_H2_PORT, TLS_H1_PORT = 19080, 19443, 19444
PLAIN_ORIGIN = f"http://127.0.0.1:{PLAIN_PORT}"
TLS_H2_ORIGIN = f"https://127.0.0.1:{TLS_H2_PORT}"
TLS_H1_ORIGIN = f"https://127.0.0.1:{TLS_H1_PORT}"

OWN = "int3"  # this checkout among the peers

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
CPU_CLOCK_OF_PROCESS = 2  # the kernel's CPUCLOCK_SCHED, see clock_getcpuclockid(3)


class BenchError(Exception):
    """Something the user must see and can act on."""


@dataclass
class Peer:
    """A proxy to measure: a command per mode ("explicit", "reverse") and its environment.

    "only" holds patterns of the workloads it can do; "needs" is a file it cannot do without.
    """

    name: str
    commands: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    only: list[str] = field(default_factory=lambda: ["*"])
    needs: str | None = None
    optional: bool = False

    @property
    def installed(self) -> bool:
        return self.needs is None or Path(fill(self.needs)).exists()

    def can_run(self, mode: str, workload: str) -> bool:
        return mode in self.commands and any(fnmatch.fnmatch(workload, p) for p in self.only)


@dataclass(frozen=True)
class CpuSets:
    """Where the proxy runs and where client and origin run; None means unpinned."""

    proxy: set[int] | None
    load: set[int] | None


def fill(template: str, **values: object) -> str:
    """Replace the known {placeholders} and leave any other brace alone."""
    values = {
        "here": HERE,
        "home": HOME,
        "ca": HOME / "certs/ca.pem",
        "origin": TLS_H2_ORIGIN,
        **values,
    }
    return re.sub(r"\{(\w+)\}", lambda m: str(values.get(m[1], m[0])), template)


def own_commands() -> dict[str, str]:
    """The commands that run this checkout, by mode, as the environment of the script has it."""
    serve = (
        f"{Path(sys.executable).parent}/int3rceptor-tui serve --listen 127.0.0.1:{{port}}"
        " --insecure --data-dir {home}/int3"
    )
    return {"explicit": serve, "reverse": serve + " --mode reverse:{origin}"}


def load_peers(path: Path) -> dict[str, Peer]:
    """Read peers.json; this checkout is a peer too."""
    peers = {
        name: Peer(
            name,
            {mode: spec[mode] for mode in ("explicit", "reverse") if mode in spec},
            spec.get("env", {}),
            spec.get("only", ["*"]),
            spec.get("needs"),
            spec.get("optional", False),
        )
        for name, spec in json.loads(path.read_text()).items()
    }
    return {**peers, OWN: Peer(OWN, own_commands())}


def named_command(text: str) -> tuple[str, str]:
    """Parse the NAME=CMD of --explicit and --reverse."""
    name, separator, command = text.partition("=")
    if not (name and separator and command):
        raise argparse.ArgumentTypeError(f"not NAME=CMD: {text!r}")
    return name, command


def installed_versions() -> str:
    """What setup.sh wrote about the installed peers, on one line."""
    return "; ".join(f.read_text().strip() for f in sorted((HOME / "versions").glob("*")))


def choose_cpus(pin: bool) -> CpuSets:
    """The first core for the proxy, all the others for client and origin."""
    cores = sorted(os.sched_getaffinity(0))
    if not pin:
        return CpuSets(None, None)
    if len(cores) < 2:
        print("# one core only: nothing is pinned, rates mean little", file=sys.stderr)
        return CpuSets(None, None)
    return CpuSets({cores[0]}, set(cores[1:]))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def process_tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    found, todo = [], [pid]
    while todo:
        current = todo.pop()
        found.append(current)
        with suppress(OSError):
            for task in os.listdir(f"/proc/{current}/task"):
                children = Path(f"/proc/{current}/task/{task}/children").read_text()
                todo.extend(map(int, children.split()))
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of the process tree so far, descendants that ended included."""
    total = 0.0
    for process in process_tree(pid):
        with suppress(OSError):
            total += time.clock_gettime((~process << 3) | CPU_CLOCK_OF_PROCESS)
            fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[13]) + int(fields[14])) / TICKS_PER_SECOND
    return total


def machine_cpu_seconds() -> float:
    """CPU time of everything on this machine so far, time stolen by the host included."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


def rss_bytes(pid: int) -> int:
    """Resident memory of the process tree."""
    total = 0
    for process in process_tree(pid):
        with suppress(OSError):
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE_SIZE
    return total


def reset_peak_rss(pid: int) -> None:
    """Let the peak start anew, so that start-up does not count."""
    for process in process_tree(pid):
        with suppress(OSError):
            Path(f"/proc/{process}/clear_refs").write_text("5")


def peak_rss_bytes(pid: int) -> int:
    """Sum of the peaks of the living processes of the tree."""
    total = 0
    for process in process_tree(pid):
        with suppress(OSError):
            match = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
            total += int(match[1]) * 1024 if match else 0
    return total


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process we started, and its descendants."""
    tree = process_tree(process.pid)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for pid in tree:
            with suppress(OSError):
                os.kill(pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
            break
    for pid in tree[1:]:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def start(
    command: str,
    port: int,
    log: Path,
    cpus: set[int] | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 40,
) -> subprocess.Popen[bytes]:
    """Start a command and wait until it listens on the port."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(env or {})},
            preexec_fn=(lambda: os.sched_setaffinity(0, cpus)) if cpus else None,
        )
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        if listens(port):
            return process
        time.sleep(0.1)
    end(process)
    raise BenchError(f"nothing listens on port {port}, see {log}; command: {command}")


@contextmanager
def running_peer(
    peer: Peer, mode: str, cpus: set[int] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a peer for the time of the block; yields its process and its port."""
    port = free_port()
    command = fill(peer.commands[mode], port=port, aux_port=free_port())
    log = HOME / "logs" / f"{re.sub(r'[^-.A-Za-z0-9]', '_', peer.name)}.log"
    process = start(command, port, log, cpus, peer.env)
    try:
        yield process, port
    finally:
        end(process)


def origin_answers() -> bool:
    """True if our origin is up; an error if a stranger has its port."""
    if not listens(PLAIN_PORT):
        return False
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with suppress(OSError), opener.open(f"{PLAIN_ORIGIN}/origin-id", timeout=5) as answer:
        if answer.read() == b"int3-bench-origin\n":
            return True
    raise BenchError(f"port {PLAIN_PORT} is taken by something that is not our origin")


@contextmanager
def running_origin() -> Iterator[None]:
    """Use the origin that is up, or run one for the time of the block."""
    if origin_answers():
        yield
        return
    process = start(f"{HERE}/origin.sh run", PLAIN_PORT, HOME / "logs/origin.log")
    try:
        yield
    finally:
        end(process)


@contextmanager
def exclusive_run() -> Iterator[None]:
    """Refuse to measure beside another run; end our children on SIGTERM too."""
    if not (HOME / "bin/hsload").exists():
        raise BenchError(f"{HOME} is not prepared: run scripts/bench setup first")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with (HOME / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BenchError("another run is in progress on this machine") from None
        yield


def result_json(result: dict[str, Any]) -> str:
    return json.dumps(result, indent=1)
