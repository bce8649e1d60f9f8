"""The console as a program, in a terminal of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.stamps import put_plugin, write_version

_CONTROLS = re.compile(rb"\x1b\[[0-9;?<>=$]*[a-zA-Z]|\x1b[()][A-Z0-9]|\x1b[=>]")
_PATIENCE = 15.0

_ALTERNATE_SCREEN_OFF = b"\x1b[?1049l"
_CURSOR_ON = b"\x1b[?25h"


class Terminal:
    """A program in a pseudo-terminal; everything that it ever wrote is in `output`."""

    def __init__(
        self, arguments: list[str], size: tuple[int, int], environ: dict[str, str]
    ) -> None:
        self._master, slave = pty.openpty()
        columns, rows = size
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [sys.executable, "-m", "int3rceptor_tui.cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", **environ},
        )
        self.output = b""

    @property
    def text(self) -> str:
        """What was written, without what moves the cursor and sets colours."""
        return _CONTROLS.sub(b" ", self.output).decode(errors="replace")

    def read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], seconds)
        if ready:
            self.output += os.read(self._master, 65536)
        return bool(ready)

    def expect(self, words: str) -> None:
        end = time.monotonic() + _PATIENCE
        while words not in " ".join(self.text.split()):
            assert time.monotonic() < end, (words, self.text[-3000:])
            assert self.process.poll() is None or self.read(0.1), self.text[-3000:]
            self.read(0.1)

    def send(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def end(self) -> int:
        """Wait for the end; check that the terminal is as it was."""
        end = time.monotonic() + _PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, self.text[-3000:]
            self.read(0.1)
        while self.read(0.1):
            pass
        assert termios.tcgetattr(self.slave)[:4] == self.before[:4]
        assert self.output.rindex(_ALTERNATE_SCREEN_OFF) > 0
        assert self.output.rindex(_CURSOR_ON) > 0
        assert "Traceback" not in self.text
        return self.process.returncode

    @property
    def threads(self) -> int:
        """How many the program has."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def expect_stop(self) -> None:
        """Wait until the program is stopped, as by a shell's job control."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        end = time.monotonic() + _PATIENCE
        while stat.read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < end, self.text[-3000:]
            self.read(0.1)
        while self.read(0.1):
            pass

    def hang_up(self) -> None:
        """Have the terminal go away, as when a connection is lost."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._master >= 0:
            os.close(self._master)
        os.close(self.slave)


@contextmanager
def console(
    tmp_path: Path, *arguments: str, size: tuple[int, int] = (100, 30), **environ: str
) -> Iterator[Terminal]:
    everything = ["--data-dir", str(tmp_path / "data"), "--listen", "127.0.0.1:0", *arguments]
    terminal = Terminal(everything, size, {"HOME": str(tmp_path), **environ})
    try:
        yield terminal
    finally:
        terminal.close()


def test_it_starts_shows_its_port_and_leaves_at_ctrl_c(tmp_path: Path) -> None:
    with console(tmp_path) as terminal:
        terminal.expect("listens on 127.0.0.1:")
        terminal.send(b"\x03")
        assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with console(tmp_path) as terminal:
        terminal.expect("listens on")
        terminal.process.send_signal(number)
        assert terminal.end() == 0


def test_it_ends_when_its_terminal_is_gone(tmp_path: Path) -> None:
    with console(tmp_path) as terminal:
        terminal.expect("listens on")
        terminal.hang_up()
        assert terminal.process.wait(_PATIENCE) == 0


def test_it_ends_at_a_hang_up_as_the_system_tells_it(tmp_path: Path) -> None:
    with console(tmp_path) as terminal:
        terminal.expect("listens on")
        terminal.hang_up()
        for number in (signal.SIGHUP, signal.SIGCONT, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError):
                terminal.process.send_signal(number)
        assert terminal.process.wait(_PATIENCE) == 0


def test_it_goes_on_after_it_was_stopped_with_one_reader_of_its_keys(tmp_path: Path) -> None:
    with console(tmp_path, size=(80, 24)) as terminal:
        terminal.expect("listens on")
        threads = terminal.threads
        for _ in range(4):
            terminal.process.send_signal(signal.SIGSTOP)
            terminal.output = b""
            terminal.process.send_signal(signal.SIGCONT)
            terminal.expect("Nothing has come through yet.")
        assert terminal.threads < threads + 8, "a reader and a writer for each time"
        terminal.send(b"2")
        terminal.expect("No plugins.")
        terminal.send(b"Q")
        assert terminal.end() == 0


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(tmp_path: Path) -> None:
    with console(tmp_path, size=(80, 24)) as terminal:
        terminal.expect("listens on")
        for _ in range(2):
            terminal.send(b"\x1a")
            terminal.expect_stop()
            assert termios.tcgetattr(terminal.slave)[:4] == terminal.before[:4]
            assert terminal.output.rindex(_ALTERNATE_SCREEN_OFF) > 0
            terminal.output = b""
            terminal.process.send_signal(signal.SIGCONT)
            terminal.expect("Nothing has come through yet.")
        terminal.send(b"Q")
        assert terminal.end() == 0


def test_the_demo_shows_flows_and_what_plugins_log(tmp_path: Path) -> None:
    with console(tmp_path, "--demo", size=(160, 40)) as terminal:
        terminal.expect("/assets/style.css")
        terminal.send(b"2")
        terminal.expect("Log of all plugins")
        terminal.expect("example-logger")
        terminal.send(b"Q")
        assert terminal.end() == 0


def test_a_plugin_that_is_rewritten_is_swapped_by_itself(tmp_path: Path) -> None:
    plugin = put_plugin(tmp_path / "plugins")
    with console(tmp_path, "--plugins", str(plugin.parent), size=(160, 40)) as terminal:
        terminal.send(b"2")
        terminal.expect("generation 1 loaded in")
        write_version(plugin, 2)
        terminal.expect("reloaded by watch: generation 2")
        terminal.expect("stamp: generation 2 is at work")
        terminal.send(b"Q")
        assert terminal.end() == 0


@pytest.mark.parametrize(
    ("size", "environ"),
    [
        ((20, 5), {}),
        ((80, 24), {"NO_COLOR": "1"}),
        ((80, 24), {"TERM": "xterm-16color", "COLORTERM": ""}),
        ((80, 24), {"TERM": "linux", "LC_ALL": "C"}),
    ],
)
def test_poor_terminals_are_served(
    tmp_path: Path, size: tuple[int, int], environ: dict[str, str]
) -> None:
    with console(tmp_path, size=size, **environ) as terminal:
        terminal.expect("127.0.0.1:")
        for key in (b"2", b"?", b"q", b"1", b":", b"\x03"):
            terminal.send(key)
            terminal.read(0.2)
        terminal.send(b"Q")
        assert terminal.end() == 0


def test_a_data_directory_that_cannot_be_used_is_said_on_the_screen(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a directory")
    with console(tmp_path) as terminal:
        terminal.expect("The proxy is not running")
        terminal.send(b"Q")
        assert terminal.end() == 1
