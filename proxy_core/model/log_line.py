"""A line that a plugin, or the program itself, logged."""

from __future__ import annotations

import enum

import msgspec

from proxy_core.model.ids import FlowId


class LogLevel(enum.IntEnum):
    """Levels as the plugin ABI numbers them (docs/plugin-abi.md, `host_log`)."""

    DEBUG = 0
    INFO = 1
    WARN = 2
    ERROR = 3


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """One line; `text` is untrusted and is shown with its control characters made visible."""

    seq: int
    """Counts up from 1 over all plugins of a core."""
    plugin: str
    """The plugin's name; empty for the program itself."""
    level: LogLevel
    time: float
    """Seconds since the epoch."""
    flow_id: FlowId | None
    text: str


class LogFilter(msgspec.Struct, frozen=True):
    """Which lines are meant."""

    plugin: str | None = None
    """One plugin's alone; the program's own have an empty name."""
    level: LogLevel = LogLevel.DEBUG
    """This one and worse."""
    since: int = 0
    """Lines after the one with this `seq`."""
    after: float = 0.0
    """Lines later than this, in seconds since the epoch."""

    def admits(self, line: LogLine) -> bool:
        """Tell whether a line is meant."""
        return (
            (self.plugin is None or line.plugin == self.plugin)
            and line.level >= self.level
            and line.seq > self.since
            and line.time > self.after
        )
