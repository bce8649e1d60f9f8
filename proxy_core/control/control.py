"""The interface between a console and a core.

Two adapters share one contract test: `LocalControl` (a core on another loop in this process) and,
for cores in other processes, one over HTTP. Coroutines may be awaited on any loop; `status` and
`Feed.drain` are synchronous, quick, and never wait for the core's loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proxy_core.control.views import (
    CoreStatus,
    FlowDetail,
    FlowSummary,
    LogBatch,
    Update,
)
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogFilter, LogLine
from proxy_core.model.plugin_status import (
    DiscoverReport,
    PermissionKind,
    PluginStatus,
    ReloadReport,
)


class Feed(Protocol):
    """A console's own view of what happens, one batch at a time."""

    def drain(self, max_flows: int = 500, max_logs: int = 500) -> Update:
        """Return what is new since the last call; the rest stays queued, within a bound."""

    def close(self) -> None:
        """Stop collecting; idempotent."""


class LogFollower(Protocol):
    """Log lines as they come; within a bound, so that one who is slow loses the oldest."""

    async def next(self) -> LogBatch | None:
        """Wait for lines that are new, or for the word that some were lost; None once closed."""

    def close(self) -> None:
        """Follow no more; idempotent."""


class Control(Protocol):
    """Everything a console may ask of a core. Failures raise `errors.Int3rceptorError` leaves."""

    def status(self) -> CoreStatus:
        """Return the core's present state."""

    def subscribe(self) -> Feed:
        """Open a feed; its first batches bring the flows and log lines that are there already."""

    async def flows(self, limit: int | None = None) -> list[FlowSummary]:
        """Return the newest `limit` flows (all, where None), oldest first."""

    async def flow(self, flow_id: FlowId) -> FlowDetail | None:
        """Return one flow, or None where it is unknown or was evicted."""

    async def resume_flows(self, flow_ids: Sequence[FlowId] | None = None) -> int:
        """Let held flows go on (all, where None); return how many were held."""

    async def kill_flows(self, flow_ids: Sequence[FlowId]) -> int:
        """End held flows without an answer; return how many were held."""

    async def inject_message(
        self, flow_id: FlowId, from_client: bool, opcode: int, payload: bytes
    ) -> None:
        """Send a text (1) or binary (2) message into a WebSocket as if that side had.

        Raises ControlError where it cannot be sent; the message says why.
        """

    async def clear_flows(self) -> int:
        """Forget all finished flows; return how many."""

    async def plugins(self) -> list[PluginStatus]:
        """Return every plugin known, in the order in which they run."""

    async def discover_plugins(self) -> DiscoverReport:
        """Look into the plugin directories, load what is new, forget what is gone."""

    async def reload_plugin(self, name: str) -> ReloadReport:
        """Swap in the plugin's file as it is now; on any failure the old one goes on.

        Raises PluginNotFound.
        """

    async def set_plugin_enabled(self, name: str, enabled: bool) -> PluginStatus:
        """Enable or disable a plugin. Raises PluginNotFound."""

    async def decide_permission(
        self, name: str, kind: PermissionKind, granted: bool
    ) -> PluginStatus:
        """Let a plugin reach what it asks for, or not, from now on and after restarts.

        What it asks for is in its status. Raises PluginNotFound, and PluginError where it asks
        for nothing of the kind.
        """

    async def logs(self, plugin: str | None = None, limit: int | None = None) -> list[LogLine]:
        """Return the newest `limit` lines kept, of one plugin or of all, oldest first."""

    async def select_logs(self, chosen: LogFilter, limit: int | None = None) -> list[LogLine]:
        """Return the newest `limit` lines kept that match, oldest first."""

    def follow_logs(self, chosen: LogFilter, backlog: int = 0) -> LogFollower:
        """Follow the lines that match, beginning with up to `backlog` that are there already."""
