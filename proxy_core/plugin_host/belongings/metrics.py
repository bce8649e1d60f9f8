"""Counters that a plugin keeps for people to see, by name. Bounded; for any thread."""

from __future__ import annotations

import threading
from typing import Final

from proxy_core.plugin_host.codes import NOT_PERMITTED, OK, OVER_LIMIT

NAMES: Final = 1000
NAME_BYTES: Final = 256
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


class Metrics:
    """The counters of one plugin: signed 64-bit numbers that stay at the ends of their range."""

    __slots__ = ("_counts", "_lock")

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def add(self, name: bytes, delta: int) -> int:
        """Count; OK, NOT_PERMITTED without a name, OVER_LIMIT for too many or too long ones."""
        if not name:
            return NOT_PERMITTED
        with self._lock:
            count = self._counts.get(name)
            if count is None:
                if len(self._counts) >= NAMES or len(name) > NAME_BYTES:
                    return OVER_LIMIT
                count = 0
            self._counts[name] = min(max(count + delta, _LOWEST), _HIGHEST)
        return OK

    def set(self, name: bytes, value: int) -> int:
        """Let a counter stand at `value`, which is in range; codes as of `add`."""
        code = self.add(name, 0)
        if code == OK:
            with self._lock:
                self._counts[name] = value
        return code

    def get(self, name: bytes) -> int:
        """Return where a counter stands; 0 for one that is not there."""
        return self._counts.get(name, 0)

    def snapshot(self) -> tuple[tuple[str, int], ...]:
        """Return names and counts, by name."""
        with self._lock:
            counts = sorted(self._counts.items())
        return tuple((name.decode("utf-8", "replace"), count) for name, count in counts)
