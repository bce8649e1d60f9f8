"""What the API says of plugins: how they stand, what became of a command, what they log."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from proxy_core.model.log_line import LogLine
from proxy_core.model.plugin_status import (
    Comparison,
    DiscoverReport,
    HookProfile,
    PluginStatus,
    WatchReport,
)


class Failure(msgspec.Struct, frozen=True):
    """Why a command was not carried out, and what to do."""

    success: bool
    error: str


class HookDocument(msgspec.Struct, frozen=True):
    """What one hook has cost; `p50` and `p99` in seconds, of the last few hundred calls."""

    calls: int
    p50: float
    p99: float
    fuel: int
    traps: int
    bytes_changed: int
    denied: dict[str, int]
    """By import, how often it was not permitted."""


class PluginStats(msgspec.Struct, frozen=True):
    """A plugin's figures since the load of its first generation."""

    generation: int
    calls: int
    traps: int
    fuel: int
    seconds: float
    log_lines: int
    log_dropped: int
    state_bytes: int
    memory_pages: int
    instances: int
    stores: int
    quarantined_for: float
    """Seconds until it is called again; 0 where it is not in quarantine."""
    metrics: dict[str, int]
    profile: dict[str, HookDocument]
    """By hook."""


class PluginDocument(msgspec.Struct, frozen=True):
    """One plugin."""

    name: str
    version: str
    description: str
    abi: str
    state: str
    loaded: bool
    enabled: bool
    hooks: tuple[str, ...]
    permissions: tuple[str, ...]
    stats: PluginStats
    error: str | None
    compared: Comparison | None
    """Its generation beside the one before; null where no flow was there to compare."""
    watched: WatchReport | None
    """The last change that watching its files has met."""


class PluginList(msgspec.Struct, frozen=True):
    """All plugins, in the order in which they run."""

    plugins: list[PluginDocument]
    total: int


class Reloaded(msgspec.Struct, frozen=True):
    """A reload that succeeded."""

    success: bool
    message: str
    generation: int


class Switched(msgspec.Struct, frozen=True):
    """A plugin that was enabled or disabled, as it is now."""

    success: bool
    message: str
    plugin: PluginDocument


class FoundPlugin(msgspec.Struct, frozen=True):
    """What lies in a plugin directory; `error` says why it is not loaded, where it should be."""

    name: str
    path: str
    state: str
    loaded: bool
    enabled: bool
    error: str | None


class Refused(msgspec.Struct, frozen=True):
    """A file, directory or plugin that was looked at in vain."""

    path: str
    error: str


class Discovered(msgspec.Struct, frozen=True):
    """What a look into the plugin directories found, and what it changed."""

    directories: tuple[str, ...]
    plugins: list[FoundPlugin]
    total: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    refused: list[Refused]


class LineDocument(msgspec.Struct, frozen=True):
    """One log line; `time` in seconds since the epoch."""

    seq: int
    time: float
    level: str
    plugin: str
    flow_id: int | None
    text: str


class LineList(msgspec.Struct, frozen=True):
    """Log lines, oldest first; `last` is what to give as `since` to get those that come after."""

    plugin: str
    lines: list[LineDocument]
    last: int


class Lost(msgspec.Struct, frozen=True):
    """How many lines a follower has missed, because it came too late."""

    lost: int


def plugin_document(status: PluginStatus) -> PluginDocument:
    """Return a plugin as the API tells it."""
    return PluginDocument(
        name=status.name,
        version=status.version,
        description=status.description,
        abi=status.abi,
        state=status.state.value,
        loaded=status.loaded,
        enabled=status.enabled,
        hooks=status.hooks,
        permissions=status.permissions,
        stats=PluginStats(
            generation=status.generation,
            calls=status.calls,
            traps=status.traps,
            fuel=status.fuel_used,
            seconds=status.time_used,
            log_lines=status.log_lines,
            log_dropped=status.log_dropped,
            state_bytes=status.state_bytes,
            memory_pages=status.memory_pages,
            instances=status.instances,
            stores=status.stores,
            quarantined_for=status.quarantined_for,
            metrics=dict(status.metrics),
            profile={profile.hook: _hook(profile) for profile in status.profile},
        ),
        error=status.last_error,
        compared=status.compared,
        watched=status.watched,
    )


def _hook(profile: HookProfile) -> HookDocument:
    return HookDocument(
        calls=profile.calls,
        p50=profile.p50,
        p99=profile.p99,
        fuel=profile.fuel,
        traps=profile.traps,
        bytes_changed=profile.bytes_changed,
        denied=dict(profile.denied),
    )


def discovered(report: DiscoverReport, statuses: Iterable[PluginStatus]) -> Discovered:
    """Return what a look into the directories found."""
    plugins = [
        FoundPlugin(
            name=status.name,
            path=status.path,
            state=status.state.value,
            loaded=status.loaded,
            enabled=status.enabled,
            error=status.last_error,
        )
        for status in statuses
    ]
    return Discovered(
        directories=report.directories,
        plugins=plugins,
        total=len(plugins),
        added=report.added,
        removed=report.removed,
        refused=[Refused(path, error) for path, error in report.refused],
    )


def line_document(line: LogLine) -> LineDocument:
    """Return a log line as the API tells it."""
    return LineDocument(
        line.seq, line.time, line.level.name.lower(), line.plugin, line.flow_id, line.text
    )
