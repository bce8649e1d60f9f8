"""A core made of real rings and topics with a scripted plugin manager, on a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from proxy_core.bus.bus import Bus
from proxy_core.bus.flow_ring import FlowRing
from proxy_core.errors import PluginNotFound
from proxy_core.exchange.held import HeldFlows
from proxy_core.model.connection import ClientConnection
from proxy_core.model.counters import Counters
from proxy_core.model.flow import Flow, FlowState
from proxy_core.model.headers import Headers
from proxy_core.model.ids import ConnectionId, FlowId
from proxy_core.model.log_line import LogLevel, LogLine
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.model.plugin_status import (
    AskedPermission,
    DiscoverReport,
    PermissionKind,
    PermissionState,
    PluginState,
    PluginStatus,
    ReloadReport,
)

T = TypeVar("T")

CLIENT = ClientConnection(
    id=ConnectionId(1),
    peer=("127.0.0.1", 50_000),
    local=("127.0.0.1", 8080),
    mode="regular",
    opened=999.0,
)


def make_flow(number: int, path: bytes = b"/", body_limit: int = 1000) -> Flow:
    """A request under way; `finish` ends it."""
    host = Headers([(b"Host", b"example.com")])
    request = RequestHead(b"GET", "http", b"example.com", path, host)
    return Flow(FlowId(number), CLIENT, request, 1000.0 + number, body_limit)


def finish(flow: Flow, status: int = 200, body: bytes = b"") -> None:
    fields = Headers([(b"Content-Type", b"text/plain; charset=utf-8")])
    flow.response = ResponseHead(status, b"OK", fields)
    flow.response_body.feed(body)
    flow.ended = flow.started + 0.25
    flow.state = FlowState.DONE
    flow.compact()


class LogStore:
    """The newest `limit` lines."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lines: list[LogLine] = []
        self.dropped = 0

    def append(self, line: LogLine) -> None:
        self.lines = [*self.lines, line][-self.limit :]

    def snapshot(self, plugin: str | None = None, limit: int | None = None) -> list[LogLine]:
        lines = [line for line in self.lines if plugin is None or line.plugin == plugin]
        return lines if limit is None else lines[max(0, len(lines) - limit) :]


class ScriptedPlugins:
    """Two plugins; it remembers on which thread each command ran."""

    def __init__(self, bus: Bus, log_limit: int) -> None:
        self.bus = bus
        self.logs = LogStore(log_limit)
        self.threads: list[int] = []
        self.by_name = {name: self._status(name) for name in ("alpha", "beta")}
        self.stuck: asyncio.Event | None = None
        self.entered = threading.Event()
        self.cancelled = threading.Event()

    def _status(self, name: str) -> PluginStatus:
        return PluginStatus(
            name=name,
            version="1.0.0",
            description="",
            abi="int3 v0",
            state=PluginState.READY,
            enabled=True,
            path=f"/plugins/{name}.wasm",
            generation=1,
        )

    def statuses(self) -> list[PluginStatus]:
        return list(self.by_name.values())

    async def discover(self) -> DiscoverReport:
        self.threads.append(threading.get_ident())
        self.entered.set()
        if self.stuck is not None:
            try:
                await self.stuck.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return DiscoverReport(directories=("/plugins",), found=2)

    async def reload(self, name: str) -> ReloadReport:
        self.threads.append(threading.get_ident())
        if name not in self.by_name:
            raise PluginNotFound(f"no plugin is called {name!r}; :plugins.discover looks again")
        return ReloadReport(name=name, ok=True, generation=2, message="swapped")

    async def set_enabled(self, name: str, enabled: bool) -> PluginStatus:
        self.threads.append(threading.get_ident())
        if name not in self.by_name:
            raise PluginNotFound(f"no plugin is called {name!r}; :plugins.discover looks again")
        old = self.by_name[name]
        state = PluginState.READY if enabled else PluginState.DISABLED
        new = PluginStatus(
            name=name,
            version=old.version,
            description=old.description,
            abi=old.abi,
            state=state,
            enabled=enabled,
            path=old.path,
            generation=old.generation,
        )
        self.by_name[name] = new
        self.bus.plugins.publish(new)
        return new

    async def decide_permission(
        self, name: str, kind: PermissionKind, granted: bool
    ) -> PluginStatus:
        self.threads.append(threading.get_ident())
        if name not in self.by_name:
            raise PluginNotFound(f"no plugin is called {name!r}; :plugins.discover looks again")
        state = PermissionState.GRANTED if granted else PermissionState.DENIED
        asked = (AskedPermission(kind, ("example.com",), state),)
        new = msgspec.structs.replace(self.by_name[name], asked=asked)
        self.by_name[name] = new
        self.bus.plugins.publish(new)
        return new


class ScriptedSockets:
    """WebSockets that are open or not, and take messages or not."""

    def __init__(self) -> None:
        self.open: set[FlowId] = set()
        self.takes = True
        self.got: list[tuple[int, FlowId, bool, int, bytes]] = []
        """Thread, and what was sent."""

    def is_open(self, flow_id: FlowId) -> bool:
        return flow_id in self.open

    async def inject(self, flow_id: FlowId, from_client: bool, opcode: int, payload: bytes) -> bool:
        self.got.append((threading.get_ident(), flow_id, from_client, opcode, payload))
        return self.takes


class RunningCore:
    """The parts, their loop and its thread. `call` runs something there and waits for it."""

    def __init__(self, max_bytes: int = 10_000_000, log_limit: int = 1000) -> None:
        self.bus = Bus()
        self.flows = FlowRing(max_bytes)
        self.plugins = ScriptedPlugins(self.bus, log_limit)
        self.counters = Counters()
        self.held = HeldFlows()
        self.web_sockets = ScriptedSockets()
        self.listening = ["127.0.0.1:8080"]
        self.modes = ["regular"]
        self.api_url = ""
        self.ca_path = Path("/data/ca/int3rceptor-ca.pem")
        self.seq = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="core")
        self._up = threading.Event()
        self.thread.start()
        self._up.wait()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._ending = asyncio.Event()
        self._up.set()
        await self._ending.wait()

    def call(self, function: Callable[..., T], *args: object) -> T:
        async def there() -> T:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(there(), self.loop).result()

    def begin(self, flow: Flow) -> None:
        """Do what the exchange does when a flow begins."""

        def there() -> None:
            self.flows.add(flow)
            self.counters.flows_seen += 1
            self.bus.flows.publish(flow)

        self.call(there)

    def end(self, flow: Flow, body: bytes = b"") -> None:
        """Do what the exchange does when a flow is over."""

        def there() -> None:
            finish(flow, body=body)
            self.flows.settle(flow)
            self.bus.flows.publish(flow)

        self.call(there)

    def publish(self, flow: Flow) -> None:
        self.call(self.bus.flows.publish, flow)

    def log(
        self, text: str, plugin: str = "alpha", level: LogLevel = LogLevel.INFO, at: float = 1000.0
    ) -> None:
        def there() -> None:
            self.seq += 1
            line = LogLine(self.seq, plugin, level, at, None, text)
            self.plugins.logs.append(line)
            self.bus.logs.publish(line)

        self.call(there)

    def stop(self) -> None:
        """End the loop; idempotent."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._ending.set)
            self.thread.join()
