"""One coarse clock and one sweep for every timeout of the core.

A timer per await costs more than the await. Instead each channel carries a deadline on this
clock, and the sweep, twice a second, expires those that are past theirs: timeouts are exact to
half a second and cost one attribute when nothing is late.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

SWEEP_INTERVAL = 0.5
NEVER = float("inf")

_REST_AT_ONCE = 500
"""Connections that go to rest in one sweep: it takes up to 50 us each, and others wait."""


class Perishable(Protocol):
    """What can be late."""

    deadline: float

    def expire(self) -> None:
        """Take note of being late; called once per deadline."""


class Clock:
    """The time in seconds on the loop's clock, as of the last sweep."""

    def __init__(self) -> None:
        self.now = 0.0
        self._may_rest = 0
        self._watched: set[Perishable] = set()

    def watch(self, item: Perishable) -> None:
        """Expire `item` when its deadline passes."""
        self._watched.add(item)

    def forget(self, item: Perishable) -> None:
        """Watch `item` no longer; harmless when it was not watched."""
        self._watched.discard(item)

    def lets_rest(self) -> bool:
        """Whether one more connection may go to rest in this sweep; counts it."""
        self._may_rest -= 1
        return self._may_rest >= 0

    def __len__(self) -> int:
        return len(self._watched)

    async def run(self) -> None:
        """Sweep until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self.sweep(loop.time())
            await asyncio.sleep(SWEEP_INTERVAL)

    def sweep(self, now: float) -> None:
        """Set the time, in seconds, and expire what is past its deadline, each once."""
        self.now = now
        self._may_rest = _REST_AT_ONCE
        late = [item for item in self._watched if item.deadline < now]
        for item in late:
            item.deadline = NEVER
            item.expire()
