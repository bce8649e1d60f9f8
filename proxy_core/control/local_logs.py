"""Log lines of a core in the same process: which ones are meant, and following them as they come.

The core's thread puts lines into a bounded queue and wakes whoever waits, once a batch; a follower
that does not come back loses the oldest and is told how many.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from proxy_core.control.parts import CoreParts
from proxy_core.control.views import LogBatch
from proxy_core.model.log_line import LogFilter, LogLine

FOLLOW_LIMIT = 1000
"""Lines waiting for one follower."""
_BATCH = 100


def matching(parts: CoreParts, chosen: LogFilter, limit: int | None) -> list[LogLine]:
    """Return the newest `limit` (all, where None) of the lines kept that match, oldest first."""
    kept = parts.plugins.logs.snapshot(chosen.plugin, None)
    lines = [line for line in kept if chosen.admits(line)]
    return lines if limit is None else lines[max(0, len(lines) - limit) :]


class LocalLogFollower:
    """A `LogFollower`; `next` belongs to one task, on any loop."""

    def __init__(
        self, parts: CoreParts, chosen: LogFilter, backlog: int, limit: int = FOLLOW_LIMIT
    ) -> None:
        """Begin with up to `backlog` lines that are there; `limit` bounds those that wait."""
        self._topic = parts.bus.logs
        self._chosen = chosen
        self._queue: deque[LogLine] = deque(maxlen=limit)
        self._lost = 0
        self._told = 0
        self._closed = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        # First this, then what is there: a line in between comes twice, and is known by its number.
        self._topic.attach(self)
        self._backlog = deque(matching(parts, chosen, backlog))
        self._last_seq = self._backlog[-1].seq if self._backlog else 0

    def put(self, line: LogLine) -> None:
        """Take a line; the topic calls this on the core's thread."""
        if not self._chosen.admits(line):
            return
        if len(self._queue) == self._queue.maxlen:
            self._lost += 1
        self._queue.append(line)
        self._wake()

    async def next(self) -> LogBatch | None:
        """Wait for lines that are new, or for the word that some were lost; None once closed."""
        while not self._closed:
            batch = self._take()
            if batch.lines or batch.lost:
                return batch
            event = asyncio.Event()
            self._waiter = (asyncio.get_running_loop(), event)
            if not self._queue and not self._closed:
                await event.wait()
        return None

    def _take(self) -> LogBatch:
        lost, self._told = self._lost - self._told, self._lost
        lines: list[LogLine] = []
        while len(lines) < _BATCH:
            if self._backlog:
                lines.append(self._backlog.popleft())
                continue
            try:
                line = self._queue.popleft()
            except IndexError:
                break
            if line.seq > self._last_seq:
                lines.append(line)
        return LogBatch(tuple(lines), lost)

    def close(self) -> None:
        """Follow no more, and let `next` return; idempotent, from any thread."""
        self._closed = True
        self._topic.unsubscribe(self)
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            loop, event = waiter
            with contextlib.suppress(RuntimeError):  # that loop has ended
                loop.call_soon_threadsafe(event.set)
