"""Control over a core in the same process, whose loop runs in another thread, or in this one.

Commands hop to the core's loop. What only reads does not: rings and flows may be read from any
thread, and what was captured stays readable after the core has stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from proxy_core.control.local_feed import LocalFeed
from proxy_core.control.local_logs import LocalLogFollower, matching
from proxy_core.control.parts import CoreParts
from proxy_core.control.render import detail, summarize
from proxy_core.control.views import CoreStatus, FlowDetail, FlowSummary
from proxy_core.errors import ControlError
from proxy_core.exchange.held import Decision
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogFilter, LogLine
from proxy_core.model.plugin_status import (
    DiscoverReport,
    PermissionKind,
    PluginState,
    PluginStatus,
    ReloadReport,
)
from proxy_core.model.words import counted

__all__ = ["CoreParts", "LocalControl"]

T = TypeVar("T")

_STOPPED = "the core has stopped; start it again and repeat the command"
_LOOK_EVERY = 0.2  # seconds between looks whether the core's loop still lives
_SLICE = 250  # summaries built at a stretch, about 2 ms
_FAILING = (PluginState.FAILING, PluginState.QUARANTINED, PluginState.REFUSED)


class LocalControl:
    """A `Control`. Coroutines may be awaited on any loop; ControlError where the core is gone."""

    def __init__(self, parts: CoreParts, loop: asyncio.AbstractEventLoop) -> None:
        """Drive the core made of `parts`, which runs on `loop`."""
        self._parts = parts
        self._loop = loop

    def status(self) -> CoreStatus:
        """Return the core's present state."""
        parts = self._parts
        ring, counters = parts.flows, parts.counters
        statuses = parts.plugins.statuses()
        return CoreStatus(
            listening=tuple(parts.listening),
            modes=tuple(parts.modes),
            ca_path=str(parts.ca_path),
            flows_seen=counters.flows_seen,
            flows_kept=len(ring),
            flows_evicted=ring.evicted,
            bytes_kept=ring.bytes,
            active=counters.active,
            held=counters.held,
            client_connections=counters.client_connections,
            server_connections=counters.server_connections,
            plugins_ready=sum(status.state is PluginState.READY for status in statuses),
            plugins_failing=sum(status.state in _FAILING for status in statuses),
            log_lines_dropped=parts.plugins.logs.dropped,
            api=parts.api_url,
        )

    def subscribe(self) -> LocalFeed:
        """Open a feed; its first batches bring what is there already."""
        return LocalFeed(self._parts)

    async def flows(self, limit: int | None = None) -> list[FlowSummary]:
        """Return the newest `limit` flows (all, where None), oldest first."""
        flows = self._parts.flows.snapshot()
        if limit is not None:
            flows = flows[max(0, len(flows) - limit) :]
        summaries: list[FlowSummary] = []
        for start in range(0, len(flows), _SLICE):
            summaries.extend(map(summarize, flows[start : start + _SLICE]))
            await asyncio.sleep(0)
        return summaries

    async def flow(self, flow_id: FlowId) -> FlowDetail | None:
        """Return one flow, or None where it is unknown or was evicted."""
        flow = self._parts.flows.get(flow_id)
        return None if flow is None else detail(flow)

    async def resume_flows(self, flow_ids: Sequence[FlowId] | None = None) -> int:
        """Let held flows go on (all, where None); return how many were held."""
        return await self._decide(flow_ids, Decision.RESUME)

    async def kill_flows(self, flow_ids: Sequence[FlowId]) -> int:
        """End held flows without an answer; return how many were held."""
        return await self._decide(flow_ids, Decision.KILL)

    async def _decide(self, flow_ids: Sequence[FlowId] | None, decision: Decision) -> int:
        async def decide() -> int:
            held = self._parts.held
            wanted = held.ids() if flow_ids is None else flow_ids
            return sum(held.decide(flow_id, decision) for flow_id in wanted)

        return await self._on_core(decide)

    async def inject_message(
        self, flow_id: FlowId, from_client: bool, opcode: int, payload: bytes
    ) -> None:
        """Send a message into a WebSocket as if that side had. Raises ControlError."""

        async def inject() -> None:
            sockets = self._parts.web_sockets
            if not sockets.is_open(flow_id):
                raise ControlError(f"flow {flow_id} is no open WebSocket; choose one that is")
            if not await sockets.inject(flow_id, from_client, opcode, payload):
                whom = "server" if from_client else "client"
                raise ControlError(
                    f"the message of {counted(len(payload), 'byte')} could not be sent to the "
                    f"{whom}: text must be UTF-8, and the receiver must read; "
                    "send less, or try again"
                )

        await self._on_core(inject)

    async def clear_flows(self) -> int:
        """Forget all finished flows; return how many."""

        async def clear() -> int:
            return self._parts.flows.clear()

        return await self._on_core(clear)

    async def plugins(self) -> list[PluginStatus]:
        """Return every plugin known, in the order in which they run."""
        return self._parts.plugins.statuses()

    async def discover_plugins(self) -> DiscoverReport:
        """Look into the plugin directories, load what is new, forget what is gone."""
        return await self._on_core(self._parts.plugins.discover)

    async def reload_plugin(self, name: str) -> ReloadReport:
        """Swap in the plugin's file as it is now. Raises PluginNotFound."""
        return await self._on_core(lambda: self._parts.plugins.reload(name))

    async def set_plugin_enabled(self, name: str, enabled: bool) -> PluginStatus:
        """Enable or disable a plugin. Raises PluginNotFound."""
        return await self._on_core(lambda: self._parts.plugins.set_enabled(name, enabled))

    async def decide_permission(
        self, name: str, kind: PermissionKind, granted: bool
    ) -> PluginStatus:
        """Let a plugin reach what it asks for, or not. Raises PluginError."""
        return await self._on_core(
            lambda: self._parts.plugins.decide_permission(name, kind, granted)
        )

    async def logs(self, plugin: str | None = None, limit: int | None = None) -> list[LogLine]:
        """Return the newest `limit` lines kept, of one plugin or of all, oldest first."""
        return self._parts.plugins.logs.snapshot(plugin, limit)

    async def select_logs(self, chosen: LogFilter, limit: int | None = None) -> list[LogLine]:
        """Return the newest `limit` lines kept that match, oldest first."""
        return matching(self._parts, chosen, limit)

    def follow_logs(self, chosen: LogFilter, backlog: int = 0) -> LocalLogFollower:
        """Follow the lines that match, beginning with up to `backlog` that are there already."""
        return LocalLogFollower(self._parts, chosen, backlog)

    async def _on_core(self, command: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run `command` on the core's loop; raise ControlError, never hang, where that is gone."""
        if asyncio.get_running_loop() is self._loop:
            return await command()
        coroutine = command()
        try:
            there = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError as error:
            coroutine.close()
            raise ControlError(_STOPPED) from error
        here = asyncio.wrap_future(there)
        try:
            # A loop may end between accepting the command and running it, and then nobody answers.
            while not (await asyncio.wait({here}, timeout=_LOOK_EVERY))[0]:
                if self._loop.is_closed():
                    coroutine.close()
                    raise ControlError(_STOPPED)
        finally:
            here.cancel()  # the caller gave up: so does the command
        if here.cancelled():  # by the core's loop as it ended; our own caller's cancel goes above
            raise ControlError(_STOPPED)
        return here.result()
