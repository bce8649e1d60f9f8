"""Too slow to be anything but an attack: what moves by the byte while more of it waits.

A peer that stands still for a while is none: people pause downloads and step through debuggers, and
networks fail for seconds. Nor is one with small windows that it opens as it reads. What nobody
does in good faith is to let a few bytes through and then a few more, or to ask with windows too
small for any answer and never to open them. Time is told in looks, as the clock sweeps.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy_core.config import Limits
from proxy_core.net.clock import SWEEP_INTERVAL


@dataclass(slots=True)
class Pace:
    """How one thing moves, from one look to the next."""

    slow: int = 0
    """Looks at which it was slow, since it was seen to move well."""

    def look(self, moved: int, least: int, hopeless: bool = False) -> None:
        """Take note that `moved` bytes moved since the last look; `least` of them are well.

        Where nothing moved it was slow only if it is `hopeless`.
        """
        if moved >= least:
            self.slow = 0
        elif moved or hopeless:
            self.slow += 1


def least_moved(limits: Limits) -> int:
    """Return how many bytes have to move between two looks, where anything moves."""
    return int(limits.http2_least_rate * SWEEP_INTERVAL)


def looks_allowed(limits: Limits) -> int:
    """Return at how many looks something may be slow."""
    return max(1, int(limits.http2_slow_for / SWEEP_INTERVAL))
