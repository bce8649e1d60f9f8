"""When Python looks for garbage: not while requests wait.

Flows are freed by their reference counts; a collector that walks through all that are kept finds
nothing and stops the loop for as long as 0.2 s. So it looks at new objects as always, at all of
them in lulls, and while there is no lull only once in about a million requests.
"""

from __future__ import annotations

import asyncio
import gc

from proxy_core.model.counters import Counters

LULL = 5.0
"""Seconds without a new flow or connection after which nobody is thought to wait."""

_NEW_OBJECTS, _YOUNG_PASSES = 700, 10  # CPython's own, to 3.13: passes of at most 3 ms
_PASSES_BETWEEN_FULL_ONES = 1000


def settle() -> None:
    """Take what exists now for permanent; call once, when the program has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _YOUNG_PASSES, _PASSES_BETWEEN_FULL_ONES)


class LullCollector:
    """Collects all garbage once in every lull that follows traffic. Runs on the core's loop."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
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
        if traffic == self._last and traffic != self._collected:
            gc.collect()
            self._collected = traffic
        self._last = traffic
        self.start()
