"""What each hook of a plugin has cost and done: counted as it happens, summed up when asked.

Written on the loop (denied calls: on whatever thread the guest runs), read from any thread.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from proxy_core.model.plugin_status import HookProfile
from proxy_core.plugin_host.codes import Hook

RECENT: Final = 500
"""Calls that the percentiles are of."""
FRESH_SECONDS: Final = 0.5
"""How old percentiles may be: sorting is not for every look."""


class HookRecord:
    """One hook's figures."""

    __slots__ = (
        "_told",
        "_told_at",
        "_told_calls",
        "bytes_changed",
        "calls",
        "denied",
        "fuel",
        "last_fuel",
        "recent",
        "seconds",
        "traps",
    )

    def __init__(self) -> None:
        self.calls = 0
        self.fuel = 0
        self.last_fuel = 0.0
        """By the last call; of several in one entry, each one's share."""
        self.seconds = 0.0
        self.traps = 0
        self.bytes_changed = 0
        self.denied: dict[str, int] = {}
        """By import, how often it answered that this is not permitted."""
        self.recent: deque[float] = deque(maxlen=RECENT)
        """Seconds of each of the last calls."""
        self._told = (0.0, 0.0)
        self._told_calls = 0
        self._told_at = 0.0

    def percentiles(self) -> tuple[float, float]:
        """Return p50 and p99 of the last calls, in seconds."""
        calls = self.calls
        if calls != self._told_calls:
            now = time.monotonic()
            if not self._told_calls or now - self._told_at > FRESH_SECONDS:
                ordered = sorted(list(self.recent))  # noqa: C414 - one step under the lock
                self._told = (percentile(ordered, 50), percentile(ordered, 99))
                self._told_calls, self._told_at = calls, now
        return self._told


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that `percent` of them do not exceed; 0 where there are none."""
    if not ordered:
        return 0.0
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


class Profile:
    """All hooks of one plugin, over its generations."""

    __slots__ = ("pages", "records")

    def __init__(self) -> None:
        self.records = tuple(HookRecord() for _ in Hook)
        """By `Hook.index`."""
        self.pages = 0
        """Memory of the instance that was looked at last, in pages of 64 KiB."""

    @property
    def calls(self) -> int:
        """Of all hooks."""
        return sum(record.calls for record in self.records)

    @property
    def traps(self) -> int:
        """Of all hooks."""
        return sum(record.traps for record in self.records)

    @property
    def fuel(self) -> int:
        """Of all hooks."""
        return sum(record.fuel for record in self.records)

    @property
    def seconds(self) -> float:
        """Of all hooks."""
        return sum(record.seconds for record in self.records)

    def deny(self, hook: Hook, name: str) -> None:
        """Count a call of an import that was not permitted."""
        denied = self.records[hook.index].denied
        denied[name] = denied.get(name, 0) + 1

    def snapshot(self) -> tuple[HookProfile, ...]:
        """Return the figures of the hooks that were called or denied something."""
        told = []
        for hook, record in zip(Hook, self.records, strict=True):
            if record.calls or record.denied:
                p50, p99 = record.percentiles()
                told.append(
                    HookProfile(
                        hook=hook.export,
                        calls=record.calls,
                        p50=p50,
                        p99=p99,
                        fuel=record.fuel,
                        traps=record.traps,
                        bytes_changed=record.bytes_changed,
                        denied=tuple(sorted(dict(record.denied).items())),
                    )
                )
        return tuple(told)
