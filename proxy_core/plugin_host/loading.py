"""Where a load that is under way has come to: moved on a worker thread, read on any."""

from __future__ import annotations

import time
from collections.abc import Callable

from proxy_core.model.plugin_status import LoadPhase


class Loading:
    """One load from its beginning to its end, whichever that is."""

    __slots__ = ("_began", "_tell", "phase")

    def __init__(self, tell: Callable[[], None]) -> None:
        """Call `tell` at each step, on the thread that takes it."""
        self._began = time.monotonic()
        self._tell = tell
        self.phase = LoadPhase.READING

    def enter(self, phase: LoadPhase) -> None:
        """Go on to the next phase."""
        self.phase = phase
        self._tell()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._began
