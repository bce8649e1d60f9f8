"""The core without a console, until a signal ends it.

The first SIGINT, SIGTERM or SIGHUP stops it cleanly, also while it is still starting; a second
SIGINT or SIGTERM ends the process at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from int3rceptor_tui import garbage
from int3rceptor_tui.event_loop import loop_factory
from int3rceptor_tui.log_printer import LogPrinter
from proxy_core.bus.bus import Bus
from proxy_core.config import Settings
from proxy_core.model.counters import Counters


class ServedCore(Protocol):
    """What is needed of a core."""

    @property
    def bus(self) -> Bus:
        """Its topics; logs may be published from the start on."""

    @property
    def counters(self) -> Counters:
        """Its figures."""

    @property
    def listening(self) -> tuple[str, ...]:
        """`host:port` of each listener, once started."""

    @property
    def api_url(self) -> str:
        """Where the API is served, once started; empty where it is not."""

    async def start(self) -> None:
        """Listen; raise an error of ours where that fails."""

    async def wait_stopped(self) -> None:
        """Return once it has stopped; raise what stopped it."""

    async def stop(self) -> None:
        """Stop; idempotent, and harmless after a start that failed."""


def run_serve(settings: Settings) -> int:
    """Run a core until a signal comes; return the exit code. Raises errors of ours."""
    from proxy_core.core import Core

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(serve_until_signal(lambda: Core(settings, attended=False)))


async def serve_until_signal(make_core: Callable[[], ServedCore]) -> int:
    """Start a core, say where it listens, and stop it when a signal comes."""
    core = make_core()
    collector = garbage.LullCollector(core.counters)
    with LogPrinter(core.bus.logs, sys.stderr), _Signals() as signals:
        try:
            await core.start()
            garbage.settle()
            collector.start()
            announce(core.listening, core.api_url)
            await core.wait_stopped()
        except asyncio.CancelledError:
            if not signals.forgive():
                raise
        finally:
            collector.stop()
            await core.stop()
    return 0


def announce(addresses: tuple[str, ...], api_url: str) -> None:
    """Print a line for each address, one for the API too; that nobody reads them is harmless."""
    try:
        for address in addresses:
            print(f"listening on {address}")
        if api_url:
            print(f"API at {api_url}")
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the exit flushes again


class _Signals:
    """While entered, the first signal cancels the task that entered."""

    def __init__(self) -> None:
        self._received = False

    def __enter__(self) -> _Signals:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._handled = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
            self._handled.append(signal.SIGHUP)
        for number in self._handled:
            self._loop.add_signal_handler(number, self._receive)
        return self

    def _receive(self) -> None:
        self._received = True
        for number in self._handled:
            self._loop.remove_signal_handler(number)
            # A terminal that closes may say so twice.
            hangup = number == signal.SIGHUP
            signal.signal(number, signal.SIG_IGN if hangup else signal.SIG_DFL)
        self._handled = []
        if self._task is not None:
            self._task.cancel()

    def forgive(self) -> bool:
        """Take back the cancellation; return False where it was not a signal's."""
        if self._received and self._task is not None:
            self._task.uncancel()
        return self._received

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number in self._handled:
            self._loop.remove_signal_handler(number)
