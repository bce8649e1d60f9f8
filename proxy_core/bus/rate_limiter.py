"""How many log lines a second may pass, whoever writes them."""

from __future__ import annotations

import time
from collections.abc import Callable


class RateLimiter:
    """A token bucket: `rate` lines a second, and as many at once after a pause of a second."""

    __slots__ = ("_clock", "_empty_until", "_filled", "_rate", "_tokens")

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._tokens = float(rate)
        self._filled = self._empty_until = clock()

    def room(self) -> int:
        """How many tokens there are."""
        now = self._clock()
        if now < self._empty_until:
            return 0
        return int(min(float(self._rate), self._tokens + (now - self._filled) * self._rate))

    def allow(self) -> bool:
        """Take one token; False where there is none."""
        now = self._clock()
        if now < self._empty_until:
            return False
        self._tokens = min(float(self._rate), self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1.0:
            self._empty_until = now + (1.0 - self._tokens) / self._rate
            return False
        self._tokens -= 1.0
        return True
