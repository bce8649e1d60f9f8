"""How a plugin fares: failures noted, quarantine imposed and lifted. Pure, by a given clock.

Three traps within a minute quarantine the plugin for a second, and each further one for twice as
long, up to five minutes. A minute without a trap and everything is forgotten.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

TRAPS: Final = 3
WINDOW: Final = 60.0
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0


class Health:
    """One plugin's record. Times in seconds by `clock`, which never goes back."""

    __slots__ = ("_clock", "_pause", "_traps", "_until")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._traps: deque[float] = deque(maxlen=TRAPS)
        self._until = 0.0
        self._pause = 0.0

    def note_trap(self) -> float | None:
        """Count a trap; return the seconds of quarantine that it brings, or None."""
        now = self._clock()
        if now < self._until:
            return None  # of a call that was under way as the quarantine began
        if self._traps and now - max(self._traps[-1], self._until) > WINDOW:
            self.forget()
        self._traps.append(now)
        if len(self._traps) < TRAPS or (not self._pause and now - self._traps[0] > WINDOW):
            return None
        self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
        self._until = now + self._pause
        return self._pause

    def forget(self) -> None:
        """Start with a clean record, as after a reload."""
        self._traps.clear()
        self._pause = 0.0
        self._until = 0.0

    def is_quarantined(self) -> bool:
        """Whether the plugin is not to be called now."""
        return self._until > 0.0 and self._clock() < self._until

    @property
    def rests_for(self) -> float:
        """Seconds of quarantine that are left; 0 where there is none."""
        return max(0.0, self._until - self._clock()) if self._until > 0.0 else 0.0

    def is_failing(self) -> bool:
        """Whether it trapped within the last minute."""
        return bool(self._traps) and self._clock() - self._traps[-1] <= WINDOW
