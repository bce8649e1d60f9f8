"""The log lines a console knows, all of them or those that a filter admits, the newest kept."""

from __future__ import annotations

from bisect import bisect_left

from proxy_core.model.log_line import LogFilter, LogLevel, LogLine

_SLACK = 1000  # lines over the limit before the oldest are cut off in one go


class LogBook:
    """At most about `limit` lines, looked at through a filter on plugin and level."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._all: list[LogLine] = []
        self._shown: list[LogLine] = self._all
        self.filter = LogFilter()
        """Which lines are shown."""

    def extend(self, lines: tuple[LogLine, ...]) -> int:
        """Take in new lines, oldest first; return how many of them are shown."""
        self._all.extend(lines)
        shown = len(lines)
        if self._shown is not self._all:
            admitted = [line for line in lines if self.filter.admits(line)]
            self._shown.extend(admitted)
            shown = len(admitted)
        if len(self._all) > self._limit + _SLACK:
            del self._all[: len(self._all) - self._limit]
            if self._shown is not self._all:
                del self._shown[: bisect_left(self._shown, self._all[0].seq, key=_seq)]
        return shown

    def show(self, plugin: str | None, level: LogLevel = LogLevel.DEBUG) -> None:
        """Show one plugin's lines, or those of all; of this level and worse."""
        self.filter = LogFilter(plugin, level)
        if self.filter == LogFilter():
            self._shown = self._all
        else:
            self._shown = [line for line in self._all if self.filter.admits(line)]

    def at(self, index: int) -> LogLine:
        """Return the shown line at a position. Raises IndexError."""
        return self._shown[index]

    def key_at(self, index: int) -> int:
        """Return the sequence number at a position. Raises IndexError."""
        return self._shown[index].seq

    def index_of(self, seq: int) -> int:
        """Return a line's position, or the one it would have."""
        return bisect_left(self._shown, seq, key=_seq)

    def clear(self) -> None:
        """Forget everything, as when another core is started."""
        self._all.clear()
        self.show(self.filter.plugin, self.filter.level)

    def __len__(self) -> int:
        return len(self._shown)


def _seq(line: LogLine) -> int:
    return line.seq
