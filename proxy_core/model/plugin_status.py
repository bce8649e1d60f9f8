"""What the program tells about one plugin."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from proxy_core.model.ids import FlowId
from proxy_core.model.words import counted


class PluginState(enum.Enum):
    """The lifecycle of docs/plugin-abi.md."""

    DISCOVERED = "discovered"
    LOADING = "loading"
    READY = "ready"
    FAILING = "failing"
    QUARANTINED = "quarantined"
    DISABLED = "disabled"
    REFUSED = "refused"
    """It could not be loaded; `last_error` says why."""


class LoadPhase(enum.Enum):
    """How far a load has come."""

    READING = "reading"
    COMPILING = "compiling"
    STARTING = "starting"
    """Its first instance is made, and its start functions run."""
    COMPARING = "comparing"
    """It is run beside the version at work, over flows that passed lately."""


PermissionKind = Literal["network", "filesystem"]


NEEDED_BY: Final[Mapping[str, PermissionKind]] = MappingProxyType(
    {
        "host_http_request": "network",
        "host_read_file": "filesystem",
        "proxy_http_call": "network",
    }
)
"""Which kind of permission an import needs, in any ABI."""


class PermissionState(enum.Enum):
    """What the user has decided about something that a plugin asks to reach."""

    GRANTED = "granted"
    DENIED = "denied"
    UNASKED = "unasked"


class AskedPermission(msgspec.Struct, frozen=True):
    """What a plugin asks to reach: hosts (`network`) or directories (`filesystem`)."""

    kind: PermissionKind
    entries: tuple[str, ...]
    state: PermissionState


class HookProfile(msgspec.Struct, frozen=True):
    """What one hook has cost and done. Times in seconds, of the last few hundred calls."""

    hook: str
    calls: int = 0
    p50: float = 0.0
    p99: float = 0.0
    fuel: int = 0
    traps: int = 0
    bytes_changed: int = 0
    """Names, values and texts that took effect, and bodies of answers."""
    denied: tuple[tuple[str, int], ...] = ()
    """By import, how often it was not permitted."""


class Comparison(msgspec.Struct, frozen=True):
    """How a generation did beside the one before it, over the same recent flows."""

    generation: int
    """The one before it."""
    flows: int
    """How many both were run over."""
    differing: tuple[FlowId, ...] = ()
    """Those of which they made something else: the oldest first."""

    @property
    def short(self) -> str:
        """The figures alone: `3/20 differ`."""
        return f"{len(self.differing)}/{self.flows} differ"

    def __str__(self) -> str:
        differing = len(self.differing)
        differ = "differs" if 1 in (differing, self.flows) else "differ"
        beside = f"from generation {self.generation}"
        return f"{differing} of {counted(self.flows, 'recent flow')} {differ} {beside}"


class WatchReport(msgspec.Struct, frozen=True):
    """What came of a change of a plugin's files that was met by watching them."""

    at: float
    """Seconds since the epoch."""
    ok: bool
    text: str


class PluginStatus(msgspec.Struct, frozen=True):
    """A snapshot of one plugin; figures count from the load of its first generation."""

    name: str
    version: str
    description: str
    abi: str
    """`int3 v0`, `int3 v1`, ...; empty while nothing was loaded."""
    state: PluginState
    enabled: bool
    path: str
    """The module's file."""
    hooks: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    generation: int = 0
    """1 after the first load, one more with each reload that succeeded."""
    calls: int = 0
    traps: int = 0
    fuel_used: int = 0
    time_used: float = 0.0
    """Seconds of wall time inside the guest, host functions included."""
    log_lines: int = 0
    log_dropped: int = 0
    last_error: str | None = None
    metrics: tuple[tuple[str, int], ...] = ()
    """What the plugin counts by itself, by name."""
    state_bytes: int = 0
    """How much of its limits.kv_bytes is in use."""
    profile: tuple[HookProfile, ...] = ()
    """The hooks that were called."""
    memory_pages: int = 0
    """Of one instance, as it was lately; pages of 64 KiB."""
    instances: int = 0
    """How many the present generation has just now."""
    stores: int = 0
    """How many instances hold memory just now: those of generations that are ending, those being
    made or closed, and those in which versions are compared, included."""
    quarantined_for: float = 0.0
    """Seconds until it is called again; 0 where it is not in quarantine."""
    asked: tuple[AskedPermission, ...] = ()
    """What it asks the user for."""
    phase: LoadPhase | None = None
    """Where the load has come to that is under way; None where none is."""
    loading_for: float = 0.0
    """Seconds since that load began."""
    load_seconds: float = 0.0
    """How long the load of the present generation took, reading to start."""
    compared: Comparison | None = None
    """The present generation beside the one before; None where no flow was there to compare."""
    watched: WatchReport | None = None
    """The last change that watching has met."""

    @property
    def undecided(self) -> bool:
        """Whether it asks for something about which nobody has decided yet."""
        return any(each.state is PermissionState.UNASKED for each in self.asked)

    @property
    def refused_unasked(self) -> tuple[AskedPermission, ...]:
        """What it tried to use, and was refused only because nobody has decided yet."""
        denied = {NEEDED_BY.get(name) for told in self.profile for name, _ in told.denied}
        return tuple(
            each
            for each in self.asked
            if each.state is PermissionState.UNASKED and each.kind in denied
        )

    @property
    def loaded(self) -> bool:
        """Whether a working generation is in memory."""
        return self.generation > 0 and self.state not in (
            PluginState.DISCOVERED,
            PluginState.LOADING,
            PluginState.REFUSED,
            PluginState.DISABLED,
        )


class DiscoverReport(msgspec.Struct, frozen=True):
    """What a look into the plugin directories found."""

    directories: tuple[str, ...]
    found: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    """(file or plugin, reason)."""


class ReloadReport(msgspec.Struct, frozen=True):
    """How a reload went; where `ok` is False the old generation is still at work."""

    name: str
    ok: bool
    generation: int
    message: str
