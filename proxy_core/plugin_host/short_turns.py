"""The interpreter's lock changes hands sooner while plugins are at work beside the loop.

A thread that wants the lock waits for it up to the interpreter's switch interval, usually 5 ms, and
the loop wants it each time it wakes. A guest that calls the host without end takes it anew before
the loop has woken, so the loop would wait that long again and again.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

SECONDS: Final = 0.0005


class _ShortTurns:
    """A context, for any thread; the interval is as it was when the last has left it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = 0.0

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


short_turns: Final = _ShortTurns()
"""One for all, as there is one interval in a process."""
