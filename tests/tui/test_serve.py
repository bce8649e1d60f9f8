from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from int3rceptor_tui import event_loop, serve
from proxy_core.bus.bus import Bus
from proxy_core.model.counters import Counters

STARTED = ["listening on 127.0.0.1:1\n", "listening on [::1]:2\n"]


@contextmanager
def fake(behaviour: str, *prefix: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "tests.tui.fake_core", behaviour],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def started(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in STARTED]


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read the log up to a line that ends with `text`."""
    assert process.stderr is not None
    while not process.stderr.readline().endswith(f": {text}\n"):
        assert process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_stops_the_core_cleanly(number: signal.Signals) -> None:
    with fake("good") as process:
        assert started(process) == STARTED
        process.send_signal(number)
        output, log = process.communicate()
    assert process.returncode == 0
    assert output == ""
    assert [line.rpartition(": ")[2] for line in log.splitlines()] == [
        "starting",
        "stopping",
        "stopped",
    ]


def test_signal_during_the_start_stops_it_too() -> None:
    with fake("start hangs") as process:
        wait_for(process, "starting")
        process.terminate()
        output, log = process.communicate()
    assert process.returncode == 0
    assert output == ""
    assert log.endswith(": stopped\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_ends_the_process_at_once(number: signal.Signals) -> None:
    with fake("stop hangs") as process:
        started(process)
        process.terminate()
        wait_for(process, "stopping")
        process.send_signal(number)
        assert process.wait() == -number


def test_second_hangup_does_not_cut_the_stop_short() -> None:
    with fake("stop hangs") as process:
        started(process)
        process.send_signal(signal.SIGHUP)
        wait_for(process, "stopping")
        process.send_signal(signal.SIGHUP)
        process.terminate()
        assert process.wait() == -signal.SIGTERM


def test_hangup_is_ignored_under_nohup() -> None:
    with fake("good", "nohup") as process:
        started(process)
        process.send_signal(signal.SIGHUP)
        process.terminate()
        assert process.wait() == 0


def test_start_that_fails_is_an_error_and_announces_nothing() -> None:
    with fake("start fails") as process:
        output, log = process.communicate()
    assert process.returncode == 1
    assert output == ""
    assert log.endswith("int3rceptor-tui: port 1 is taken; pass --listen\n")
    assert ": stopped\n" in log


def test_core_that_dies_is_an_error() -> None:
    with fake("dies") as process:
        output, log = process.communicate()
    assert process.returncode == 1
    assert output == "".join(STARTED)
    assert log.endswith("int3rceptor-tui: the core died; start it again\n")


def test_core_that_ends_by_itself_is_no_error() -> None:
    with fake("ends") as process:
        assert process.wait() == 0


@pytest.mark.parametrize("redirection", ["| true", ">&-", ">/dev/full"])
def test_output_that_goes_nowhere_is_harmless(redirection: str) -> None:
    script = f"{sys.executable} -m tests.tui.fake_core ends {redirection}"
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, check=False, timeout=15
    )
    assert done.returncode == 0
    assert done.stderr.endswith(": stopped\n")


@pytest.fixture
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("thresholds")
async def test_cancellation_from_elsewhere_is_passed_on() -> None:
    class Idle:
        bus = Bus()
        counters = Counters()
        listening: tuple[str, ...] = ()
        api_url = ""
        stopped = False

        async def start(self) -> None:
            pass

        async def wait_stopped(self) -> None:
            await asyncio.sleep(1000)

        async def stop(self) -> None:
            self.stopped = True

    core = Idle()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await serve.serve_until_signal(lambda: core)
    assert core.stopped
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_uvloop_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    uvloop = pytest.importorskip("uvloop")
    assert event_loop.loop_factory() is uvloop.new_event_loop
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop.loop_factory() is None
