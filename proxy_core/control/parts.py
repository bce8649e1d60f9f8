"""What `LocalControl` needs of a core, as small protocols that the composition root fulfils."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from proxy_core.bus.bus import Bus
from proxy_core.bus.flow_ring import FlowRing
from proxy_core.exchange.held import HeldFlows
from proxy_core.model.counters import Counters
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLine
from proxy_core.model.plugin_status import (
    DiscoverReport,
    PermissionKind,
    PluginStatus,
    ReloadReport,
)


class LogKeeper(Protocol):
    """The log lines in memory, readable from any thread."""

    @property
    def dropped(self) -> int:
        """How many lines rate limits and the bound have cost so far."""

    def snapshot(self, plugin: str | None = None, limit: int | None = None) -> list[LogLine]:
        """Return the newest `limit` lines of one plugin or of all, oldest first."""


class WebSockets(Protocol):
    """The open WebSockets. For the core's loop."""

    def is_open(self, flow_id: FlowId) -> bool:
        """Whether a flow is a WebSocket that messages can be sent into."""

    async def inject(self, flow_id: FlowId, from_client: bool, opcode: int, payload: bytes) -> bool:
        """Send a message as if that side had; return whether it could be."""


class Plugins(Protocol):
    """The plugin manager. Coroutines run on the core's loop; `statuses` on any thread."""

    @property
    def logs(self) -> LogKeeper:
        """The lines of all plugins and of the program itself."""

    def statuses(self) -> list[PluginStatus]:
        """Return every plugin known, in the order in which they run."""

    async def discover(self) -> DiscoverReport:
        """Look into the plugin directories."""

    async def reload(self, name: str) -> ReloadReport:
        """Swap in the plugin's file as it is now. Raises PluginNotFound."""

    async def set_enabled(self, name: str, enabled: bool) -> PluginStatus:
        """Enable or disable a plugin. Raises PluginNotFound."""

    async def decide_permission(
        self, name: str, kind: PermissionKind, granted: bool
    ) -> PluginStatus:
        """Let a plugin reach what it asks for, or not. Raises PluginError."""


class CoreParts(Protocol):
    """The parts of a running core that consoles look at."""

    @property
    def flows(self) -> FlowRing:
        """The flows in memory."""

    @property
    def bus(self) -> Bus:
        """The topics."""

    @property
    def held(self) -> HeldFlows:
        """The flows that wait for the user's word."""

    @property
    def web_sockets(self) -> WebSockets:
        """The open WebSockets."""

    @property
    def plugins(self) -> Plugins:
        """The plugin manager."""

    @property
    def counters(self) -> Counters:
        """Figures since the start."""

    @property
    def listening(self) -> Sequence[str]:
        """`host:port` of every listener, with the real port; empty before and after."""

    @property
    def modes(self) -> Sequence[str]:
        """The listeners' modes, as they were given."""

    @property
    def api_url(self) -> str:
        """Where the API is served; empty where it is not."""

    @property
    def ca_path(self) -> Path:
        """The CA certificate's file, PEM."""
