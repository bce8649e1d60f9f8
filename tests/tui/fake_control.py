"""A core that only pretends: a Control whose flows, lines and answers a test sets by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from proxy_core.control.control import LogFollower
from proxy_core.control.views import (
    BodyView,
    ConnectionView,
    CoreStatus,
    FlowDetail,
    FlowSummary,
    HeadView,
    TlsView,
    Update,
)
from proxy_core.errors import ControlError, PluginNotFound
from proxy_core.model.flow import FlowKind, FlowState
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogFilter, LogLevel, LogLine
from proxy_core.model.plugin_status import (
    DiscoverReport,
    PermissionKind,
    PluginState,
    PluginStatus,
    ReloadReport,
)

NOON = 1_700_000_000.0


def make_summary(number: int, **changes: object) -> FlowSummary:
    """A finished GET, with `changes`."""
    flow = FlowSummary(
        id=FlowId(number),
        kind=FlowKind.HTTP,
        state=FlowState.DONE,
        started=NOON + number,
        method="GET",
        scheme="https",
        host="example.com",
        port=443,
        path=f"/items/{number}",
        protocol="HTTP/2",
        status=200,
        content_type="application/json",
        response_size=1234,
        duration=0.042,
    )
    return msgspec.structs.replace(flow, **changes)


def make_detail(summary: FlowSummary, **changes: object) -> FlowDetail:
    """A flow with JSON in its response, with `changes`."""
    start_line = f"{summary.method} {summary.path} {summary.protocol}"
    detail = FlowDetail(
        summary=summary,
        url=f"{summary.scheme}://{summary.host}{summary.path}",
        request=HeadView(start_line, (("accept", "*/*"),), b""),
        request_body=BodyView(b"", 0),
        client=ConnectionView(1, "127.0.0.1:50000", NOON),
        response=HeadView("HTTP/2 200", (("content-type", "application/json"),), b""),
        response_body=BodyView(b'{"number": %d}' % summary.id, 14, "application/json"),
        server=ConnectionView(
            2,
            "192.0.2.1:443",
            NOON,
            tls=TlsView("TLSv1.3", "TLS_AES_128_GCM_SHA256", "h2", "example.com", True),
        ),
        request_sent=summary.started + 0.001,
        first_byte=summary.started + 0.040,
        ended=summary.started + 0.042,
    )
    return msgspec.structs.replace(detail, **changes)


def make_plugin(name: str, **changes: object) -> PluginStatus:
    """A plugin at work, with `changes`."""
    plugin = PluginStatus(
        name=name,
        version="1.0.0",
        description=f"What {name} does",
        abi="int3 v1",
        state=PluginState.READY,
        enabled=True,
        path=f"/plugins/{name}.wasm",
        generation=1,
        calls=100,
        fuel_used=12_345,
        time_used=0.002,
    )
    return msgspec.structs.replace(plugin, **changes)


def make_line(
    seq: int,
    text: str = "a line",
    plugin: str = "alpha",
    level: LogLevel = LogLevel.INFO,
    flow: int | None = None,
) -> LogLine:
    """A log line."""
    flow_id = None if flow is None else FlowId(flow)
    return LogLine(seq, plugin, level, NOON + seq, flow_id, text)


class FakeFeed:
    """Gives what `FakeControl.put` was given since the last drain."""

    def __init__(self) -> None:
        self.pending: list[Update] = []
        self.drains = 0
        self.closed = False

    def drain(self, max_flows: int = 500, max_logs: int = 500) -> Update:
        self.drains += 1
        pending, self.pending = self.pending, []
        return Update(
            flows=tuple(flow for update in pending for flow in update.flows),
            gone=tuple(flow_id for update in pending for flow_id in update.gone),
            logs=tuple(line for update in pending for line in update.logs),
            plugins=tuple(plugin for update in pending for plugin in update.plugins),
        )

    def close(self) -> None:
        self.closed = True


class FakeControl:
    """Remembers what it was asked in `asked`."""

    def __init__(self) -> None:
        self.known: dict[FlowId, FlowSummary] = {}
        self.details: dict[FlowId, FlowDetail] = {}
        self.plugin_map: dict[str, PluginStatus] = {}
        self.feeds: list[FakeFeed] = []
        self.asked: list[tuple[object, ...]] = []
        self.refused_message = ""
        self.reload_report: ReloadReport | None = None
        self.may_reload = asyncio.Event()
        self.may_reload.set()
        self.discovered = DiscoverReport(directories=("/plugins",), found=0)
        self.core_status = CoreStatus(
            listening=("127.0.0.1:8080",),
            modes=("regular",),
            ca_path="/data/ca/int3rceptor-ca.pem",
            flows_seen=0,
            flows_kept=0,
            flows_evicted=0,
            bytes_kept=0,
            active=0,
            held=0,
            client_connections=0,
            server_connections=0,
            plugins_ready=0,
            plugins_failing=0,
            log_lines_dropped=0,
        )

    def put(
        self,
        *flows: FlowSummary,
        logs: Sequence[LogLine] = (),
        plugins: Sequence[PluginStatus] = (),
        gone: Iterable[int] = (),
    ) -> None:
        """Make news."""
        self.known |= {flow.id: flow for flow in flows}
        self.plugin_map |= {plugin.name: plugin for plugin in plugins}
        lost = tuple(FlowId(number) for number in gone if self.known.pop(FlowId(number), None))
        update = Update(tuple(flows), lost, tuple(logs), tuple(plugins))
        for feed in self.feeds:
            feed.pending.append(update)

    def set_status(self, **changes: object) -> None:
        """Change figures of the status."""
        self.core_status = msgspec.structs.replace(self.core_status, **changes)

    def status(self) -> CoreStatus:
        return self.core_status

    def subscribe(self) -> FakeFeed:
        feed = FakeFeed()
        feed.pending.append(
            Update(flows=tuple(self.known.values()), plugins=tuple(self.plugin_map.values()))
        )
        self.feeds.append(feed)
        return feed

    async def flows(self, limit: int | None = None) -> list[FlowSummary]:
        return list(self.known.values())

    async def flow(self, flow_id: FlowId) -> FlowDetail | None:
        summary = self.known.get(flow_id)
        if summary is None:
            return None
        return self.details.get(flow_id) or make_detail(summary)

    async def resume_flows(self, flow_ids: Sequence[FlowId] | None = None) -> int:
        self.asked.append(("resume", None if flow_ids is None else list(flow_ids)))
        return 0

    async def kill_flows(self, flow_ids: Sequence[FlowId]) -> int:
        self.asked.append(("kill", list(flow_ids)))
        return len(flow_ids)

    async def inject_message(
        self, flow_id: FlowId, from_client: bool, opcode: int, payload: bytes
    ) -> None:
        self.asked.append(("inject", flow_id, from_client, opcode, payload))
        if self.refused_message:
            raise ControlError(self.refused_message)

    async def clear_flows(self) -> int:
        self.asked.append(("clear",))
        count = len(self.known)
        self.put(gone=tuple(self.known))
        return count

    async def plugins(self) -> list[PluginStatus]:
        return list(self.plugin_map.values())

    async def discover_plugins(self) -> DiscoverReport:
        self.asked.append(("discover",))
        return self.discovered

    async def reload_plugin(self, name: str) -> ReloadReport:
        self.asked.append(("reload", name))
        await self.may_reload.wait()
        if name not in self.plugin_map:
            raise PluginNotFound(f"no plugin is called {name!r}")
        return self.reload_report or ReloadReport(name, True, 2, f"{name} is now generation 2")

    async def set_plugin_enabled(self, name: str, enabled: bool) -> PluginStatus:
        self.asked.append(("enable", name, enabled))
        if name not in self.plugin_map:
            raise PluginNotFound(f"no plugin is called {name!r}")
        state = PluginState.READY if enabled else PluginState.DISABLED
        status = msgspec.structs.replace(self.plugin_map[name], enabled=enabled, state=state)
        self.plugin_map[name] = status
        return status

    async def decide_permission(
        self, name: str, kind: PermissionKind, granted: bool
    ) -> PluginStatus:
        self.asked.append(("permission", name, kind, granted))
        if name not in self.plugin_map:
            raise PluginNotFound(f"no plugin is called {name!r}")
        return self.plugin_map[name]

    async def logs(self, plugin: str | None = None, limit: int | None = None) -> list[LogLine]:
        return []

    async def select_logs(self, chosen: LogFilter, limit: int | None = None) -> list[LogLine]:
        return []

    def follow_logs(self, chosen: LogFilter, backlog: int = 0) -> LogFollower:
        raise NotImplementedError("the console reads its feed")


class FakeRunnableCore:
    """What `CoreWorker` runs: starts, or fails with `start_error`; dies when told to."""

    def __init__(self, fake: FakeControl, start_error: Exception | None = None) -> None:
        self.fake = fake
        self.start_error = start_error
        self.started = False
        self.stops = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Future[None] | None = None

    @property
    def listening(self) -> Sequence[str]:
        return self.fake.core_status.listening

    @property
    def ca_path(self) -> Path:
        return Path(self.fake.core_status.ca_path)

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = self._loop.create_future()
        if self.start_error is not None:
            raise self.start_error
        self.started = True

    def control(self) -> FakeControl:
        return self.fake

    async def wait_stopped(self) -> None:
        assert self._over is not None
        await asyncio.shield(self._over)

    async def stop(self) -> None:
        self.stops += 1
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    def die(self, error: Exception) -> None:
        """End as from a bug; from any thread."""
        assert self._loop is not None
        assert self._over is not None
        self._loop.call_soon_threadsafe(self._over.set_exception, error)
