"""A pseudo-terminal with a program in it, and a process that reads it as a terminal would."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shlex
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

import rig
from rig import BenchError


class Terminal:
    """The reading end: how much was drawn, and whether reading goes on."""

    def __init__(self, master: int) -> None:
        self._drawn = multiprocessing.Value("Q", 0)
        self._stalled = multiprocessing.Event()
        self._reader = multiprocessing.Process(
            target=_read, args=(master, self._drawn, self._stalled), daemon=True
        )
        self._reader.start()

    @property
    def drawn(self) -> int:
        """Bytes that were read so far."""
        return int(self._drawn.value)

    def stall(self) -> None:
        """Read no more."""
        self._stalled.set()

    def resume(self) -> None:
        """Read on."""
        self._stalled.clear()

    def close(self) -> None:
        """End the reader."""
        self._reader.terminate()
        self._reader.join()


def _read(master: int, drawn: Synchronized, stalled: Event) -> None:
    while True:
        if stalled.is_set():
            time.sleep(0.005)
            continue
        try:
            data = os.read(master, 65536)
        except OSError:  # the program has gone
            return
        drawn.value += len(data)


@contextmanager
def running_in_terminal(
    command: str, port: int, cpus: set[int] | None, size: tuple[int, int] = (180, 50)
) -> Iterator[tuple[subprocess.Popen[bytes], Terminal]]:
    """Run a console in a pseudo-terminal of so many columns and rows until the block ends."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def enter() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if cpus:
            os.sched_setaffinity(0, cpus)

    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment = {k: v for k, v in environment.items() if not k.startswith("SSH_")}
    # Consoles draw on stderr as well as on stdout: both are the terminal's.
    process = subprocess.Popen(
        shlex.split(command),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        preexec_fn=enter,
    )
    os.close(slave)
    terminal = Terminal(master)
    try:
        _wait_until_listening(process, port)
        yield process, terminal
    finally:
        terminal.resume()
        rig.end(process)
        terminal.close()
        with suppress(OSError):
            os.close(master)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if rig.listens(port):
            time.sleep(1)
            return
        time.sleep(0.1)
    raise BenchError(f"no console listens on port {port}")
