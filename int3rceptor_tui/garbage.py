"""When Python looks for garbage: not while requests wait. And how freed memory is given back.

Flows are freed by their reference counts; a collector that walks through all that are kept finds
nothing and stops the loop for as long as 0.2 s. So it looks at new objects, once; at all of them in
lulls, and while there is no lull only once in about a million requests.

What is freed between things that are kept stays with the process, and under steady traffic that
adds up: glibc gives it back only when it is told to, which takes some milliseconds.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time
from collections.abc import Callable

from proxy_core.model.counters import Counters

LULL = 5.0
"""Seconds without a new flow or connection after which nobody is thought to wait."""

_NEW_OBJECTS = 7000
"""After so many the collector looks at them, which takes about a millisecond."""
_AT_ONCE = -1
"""It takes the youngest two generations together: what is kept is walked through once, not twice.
A threshold that every count exceeds; zero would be exceeded every other time."""
_PASSES_BETWEEN_FULL_ONES = 1000

TRIM_EVERY = 60.0
"""Seconds between two times that memory is given back while there is traffic, at least."""
_TRIM_SHARE = 10_000
"""Of all time, no more than one part in so many goes into that."""


def settle() -> None:
    """Take what exists now for permanent; call once, when the program has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _AT_ONCE, _PASSES_BETWEEN_FULL_ONES)


def find_trim() -> Callable[[], object] | None:
    """Return what has the C library give freed memory back, where it can be told to."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if trim is None else lambda: trim(0)


class Trimmer:
    """Gives freed memory back, now and then."""

    def __init__(
        self,
        trim: Callable[[], object] | None,
        clock: Callable[[], float] = time.monotonic,
        work_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """Go by two clocks in seconds: the time, and the processor's time spent here."""
        self._trim = trim
        self._clock = clock
        self._work_clock = work_clock
        self._due = clock() + TRIM_EVERY

    def trim_if_due(self) -> None:
        """Do it where the last time is long enough ago, measured by how long that took."""
        if self._trim is not None and self._clock() >= self._due:
            began = self._work_clock()
            self._trim()
            took = self._work_clock() - began
            self._due = self._clock() + max(TRIM_EVERY, took * _TRIM_SHARE)


class LullCollector:
    """Collects all garbage once in every lull that follows traffic. Runs on the core's loop.

    Has freed memory given back there, and while there is traffic.
    """

    def __init__(self, counters: Counters, trimmer: Trimmer | None = None) -> None:
        self._counters = counters
        self._trimmer = trimmer or Trimmer(find_trim())
        self._last = self._collected = self._traffic()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watch for lulls until `stop`."""
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(LULL, self._look)

    def stop(self) -> None:
        """Watch no longer; idempotent."""
        if self._timer is not None:
            self._timer.cancel()

    def _traffic(self) -> tuple[int, int, int]:
        counters = self._counters
        return counters.flows_seen, counters.client_connections, counters.server_connections

    def _look(self) -> None:
        traffic = self._traffic()
        if traffic != self._last:
            self._trimmer.trim_if_due()
        elif traffic != self._collected:
            gc.collect()
            self._trimmer.trim_if_due()
            self._collected = traffic
        self._last = traffic
        self.start()
