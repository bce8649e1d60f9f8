"""Log lines of plugins: a bounded ring for all, a rate limit for each.

Nothing here is lost silently: lines over the rate are counted, and one that passes is preceded by
one that says how many were dropped, once a second while it goes on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from proxy_core.bus.rate_limiter import RateLimiter
from proxy_core.bus.topic import Topic
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLevel, LogLine
from proxy_core.model.words import counted

COMPLAINTS_PER_SECOND: Final = 20
"""Lines that the host writes about failed calls of one plugin."""
CONFESSION_SECONDS: Final = 1.0
"""Between two lines that say how many were dropped."""
LINE_BYTES: Final = 8 * 1024
"""What is kept of one line, in bytes as the plugin wrote it."""


_LEVELS: Final = tuple(LogLevel)


def level_of(number: int) -> LogLevel:
    """The level that a plugin names by a number; what is above them all is the highest."""
    return _LEVELS[number if number < len(_LEVELS) else -1]


class LogRing:
    """The newest lines of all plugins. For any thread."""

    __slots__ = ("_lines", "_lock", "_seq", "_topic", "dropped", "evicted")

    def __init__(self, limit: int, topic: Topic[LogLine] | None = None) -> None:
        """Keep at most `limit` (>= 1) lines, and publish each on `topic`."""
        self._lines: deque[LogLine] = deque(maxlen=limit)
        self._topic = topic
        self._lock = threading.Lock()
        self._seq = 0
        self.dropped = 0
        """Lines that plugins wrote faster than they may, and that were never kept."""
        self.evicted = 0
        """Lines that made room for newer ones."""

    def write(
        self,
        plugin: str,
        level: LogLevel,
        text: str,
        flow_id: FlowId | None = None,
        at: float | None = None,
    ) -> LogLine:
        """Keep and publish one line; `plugin` is empty for the program itself."""
        with self._lock:  # guests write on threads too, and followers go by the order
            self._seq += 1
            line = LogLine(
                seq=self._seq,
                plugin=plugin,
                level=level,
                time=time.time() if at is None else at,
                flow_id=flow_id,
                text=text,
            )
            lines = self._lines
            if len(lines) == lines.maxlen:
                self.evicted += 1
            lines.append(line)
            if self._topic is not None:
                self._topic.publish(line)
        return line

    def snapshot(self, plugin: str | None = None, limit: int | None = None) -> list[LogLine]:
        """Return the newest `limit` lines (all, where None) of one plugin or all, oldest first."""
        lines = list(self._lines)  # one step under the interpreter's lock
        if plugin is not None:
            lines = [line for line in lines if line.plugin == plugin]
        if limit is None:
            return lines
        return lines[-limit:] if limit > 0 else []

    def __len__(self) -> int:
        return len(self._lines)


class Journal(Protocol):
    """Where the host functions of one plugin write its lines."""

    def write(self, level: LogLevel, text: str, flow_id: FlowId | None) -> bool:
        """Take a line; False where it was dropped because there are too many."""


class PluginLog:
    """One plugin's journal into the ring; used on the core's loop."""

    __slots__ = (
        "_clock",
        "_complaints",
        "_confessed",
        "_limiter",
        "_name",
        "_ring",
        "_suppressed",
        "dropped",
        "written",
    )

    def __init__(
        self,
        name: str,
        ring: LogRing,
        rate: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Allow the plugin `rate` lines a second, by a clock in seconds."""
        self._name = name
        self._ring = ring
        self._clock = clock
        self._limiter = RateLimiter(rate, clock)
        self._complaints = RateLimiter(COMPLAINTS_PER_SECOND, clock)
        self._suppressed = 0
        self._confessed = clock() - CONFESSION_SECONDS
        self.written = 0
        self.dropped = 0

    def set_rate(self, rate: int) -> None:
        """Allow `rate` lines a second from now on."""
        self._limiter = RateLimiter(rate, self._clock)

    def write(self, level: LogLevel, text: str, flow_id: FlowId | None) -> bool:
        """Keep a line of the plugin's own, unless it writes too many."""
        return self._write(level, text, flow_id, None)

    def _write(self, level: LogLevel, text: str, flow_id: FlowId | None, at: float | None) -> bool:
        if not self._limiter.allow():
            self.count_dropped(1)
            return False
        self._confess()
        self.written += 1
        self._ring.write(self._name, level, text, flow_id)
        return True

    def room(self) -> int:
        """How many lines of the plugin's own may be written now."""
        return self._limiter.room()

    def count_dropped(self, count: int) -> None:
        """Account for lines that were dropped."""
        if count:
            self._suppressed += count
            self.dropped += count
            self._ring.dropped += count

    def _confess(self) -> None:
        if self._suppressed and self._clock() - self._confessed >= CONFESSION_SECONDS:
            self._confessed = self._clock()
            count, self._suppressed = self._suppressed, 0
            text = f"dropped {counted(count, 'log line')}"
            self._ring.write(self._name, LogLevel.WARN, text, None)

    def complain(self, level: LogLevel, text: str, flow_id: FlowId | None) -> None:
        """Keep a line of the host's about a failed call, unless there are too many of them."""
        if self._complaints.allow():
            self._confess()
            self._ring.write(self._name, level, text, flow_id)
        else:
            self.count_dropped(1)

    def notice(self, level: LogLevel, text: str, flow_id: FlowId | None = None) -> None:
        """Keep a line that the host writes about the plugin; these are never dropped."""
        self._ring.write(self._name, level, text, flow_id)

    def replay(self, lines: StartLog) -> None:
        """Keep what was written while the plugin was loading on another thread."""
        for level, text, at in lines.lines:
            self.written += 1
            self._ring.write(self._name, level, text, None, at)
        self.count_dropped(lines.dropped)


class StartLog:
    """The journal of a plugin that is being loaded off the loop: kept aside, then replayed."""

    __slots__ = ("_limiter", "dropped", "lines")

    def __init__(self, rate: int) -> None:
        self._limiter = RateLimiter(rate)
        self.lines: list[tuple[LogLevel, str, float]] = []
        self.dropped = 0

    def write(self, level: LogLevel, text: str, flow_id: FlowId | None) -> bool:
        """Keep a line for `PluginLog.replay`; the rate and the start's deadline bound them."""
        if not self._limiter.allow():
            self.dropped += 1
            return False
        self.lines.append((level, text, time.time()))
        return True
