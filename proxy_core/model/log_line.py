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
