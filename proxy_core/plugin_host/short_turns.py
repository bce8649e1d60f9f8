"""The interpreter's lock changes hands sooner while plugins are at work beside the loop.

A thread that wants the lock waits for it up to the interpreter's switch interval, usually 5 ms, and
the loop wants it each time it wakes. A guest that calls the host without end takes it anew before
the loop has woken, so the loop would wait that long again and again.

The other way round that is of no use: a guest that runs in slices on the loop lets go of the lock
between two of them, but for so short a time that no thread wakes in it, and each time the thread
begins to wait anew. It would wait as long as the guest runs; so the loop lets go for longer.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, TypeVar

T = TypeVar("T")

SECONDS: Final = 0.0005
_OPEN: Final = 0.0003
"""Seconds in which a thread wakes, also on a busy machine."""
_SHUT: Final = 0.001
"""Seconds until it is time for that again."""


class _ShortTurns:
    """A context, for any thread; the interval is as it was when the last has left it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = self._opened = 0.0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(SECONDS, self._before))

    def __exit__(self, *failure: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                sys.setswitchinterval(self._before)

    def start(self, workers: Executor, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have a worker do something, inside from before it wakes. Raises RuntimeError."""
        working = workers.submit(work)
        self.__enter__()
        working.add_done_callback(lambda _: self.__exit__())
        return asyncio.wrap_future(working)

    def let_others_in(self) -> None:
        """Let go of the lock, where anybody is inside, for as long as it takes them to wake.

        For the loop, between two slices of guests; now and then, so that it goes on itself.
        """
        if self._inside and time.monotonic() - self._opened > _SHUT:
            time.sleep(_OPEN)
            self._opened = time.monotonic()


short_turns: Final = _ShortTurns()
"""One for all, as there is one interval in a process."""
