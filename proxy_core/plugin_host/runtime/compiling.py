"""Large modules are compiled in a process of their own.

What a compiler does with code that was made to keep it busy takes time with the square of its size,
minutes a mebibyte, and nothing stops it in between; nor would a program end before its threads do.
A process can be killed, has limits that the system holds it to, and does not touch the
interpreter's lock. It costs some 0.5 s, so small modules do without.

Run as a program, this compiles what is on standard input.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Final

import wasmtime

from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.guest import Code
from proxy_core.plugin_host.runtime.settings import (
    compile_code,
    deserialize_code,
    make_config,
    serialize_code,
)

SMALL_BYTES: Final = 128 * 1024
"""Modules that are no larger are compiled where they are: that takes seconds at worst."""
CPU_SECONDS: Final = 120
MEMORY_BYTES: Final = 4 * 1024**3
_NICENESS: Final = 5
_REFUSED: Final = 1


class Compiler:
    """Compiles for one engine. For any thread."""

    def __init__(self, engine: wasmtime.Engine, epochs: bool, seconds: int = CPU_SECONDS) -> None:
        """`epochs` tells whether the engine interrupts guests by epochs."""
        self._engine = engine
        self._arguments = ["epochs" if epochs else "slices", str(seconds)]
        self._seconds = seconds
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def compile(self, data: bytes) -> Code:
        """Compile a binary module; blocks. Raises ModuleRefused."""
        if len(data) <= SMALL_BYTES:
            return compile_code(self._engine, data)
        return deserialize_code(self._engine, self._compile_aside(data), 0)

    def close(self) -> None:
        """Kill what is under way."""
        with self._lock:
            self._closed = True
            for process in self._running:
                process.kill()

    def _compile_aside(self, data: bytes) -> bytes:
        # Files, as pipes would be fed and read bit by bit under the interpreter's lock. -P: what
        # lies in the working directory is not imported.
        command = [sys.executable, "-P", "-m", __spec__.name, *self._arguments]
        try:
            with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as made:
                given.write(data)
                given.seek(0)
                process = self._start(command, given.fileno(), made.fileno())
                try:
                    status = process.wait()
                finally:
                    with self._lock:
                        self._running.discard(process)
                made.seek(0)
                answer = made.read()
        except OSError as error:
            raise ModuleRefused(f"cannot be compiled: {error}") from error
        if status == 0:
            return answer
        raise ModuleRefused(self._why(status, answer))

    def _start(self, command: list[str], given: int, made: int) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise ModuleRefused("was not compiled: the host has stopped")
            process = subprocess.Popen(  # noqa: S603 - this very program
                command, stdin=given, stdout=made, stderr=subprocess.DEVNULL, start_new_session=True
            )
            self._running.add(process)
        return process

    def _why(self, status: int, answer: bytes) -> str:
        if status == _REFUSED and answer:
            return answer.decode("utf-8", "replace")
        if self._closed:
            return "was not compiled: the host has stopped"
        if status == -signal.SIGXCPU:
            return (
                f"not compiled within {self._seconds} s of processor time; split its large "
                "functions, or leave out what it does not need"
            )
        return (
            f"cannot be compiled: the compiler ended with status {status}; it may use "
            f"{MEMORY_BYTES // 1024**3} GiB of memory"
        )


def _main(kind: str, seconds: int) -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICENESS)
    config = make_config()
    if kind == "epochs":
        config.epoch_interruption = True
    out = sys.stdout.buffer
    try:
        out.write(serialize_code(compile_code(wasmtime.Engine(config), sys.stdin.buffer.read())))
    except ModuleRefused as error:
        out.write(str(error).encode())
        return _REFUSED
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], int(sys.argv[2])))
