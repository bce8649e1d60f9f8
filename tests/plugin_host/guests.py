"""Guests, flows and hosts for these tests: modules as text, run by the real manager."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import wasmtime

from proxy_core.bus.bus import Bus
from proxy_core.exchange.hooks import ConnectAttempt, Hooks, RuleMatch
from proxy_core.model.connection import ClientConnection, ServerConnection
from proxy_core.model.flow import Flow, FlowState
from proxy_core.model.headers import Field, Headers
from proxy_core.model.ids import ConnectionId, FlowId
from proxy_core.model.log_line import LogLevel
from proxy_core.model.message import HTTP_11, RequestHead, ResponseHead
from proxy_core.model.plugin_status import DiscoverReport, PluginStatus
from proxy_core.model.verdict import Verdict
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.plugin_host import PluginManager

LOG = '(import "env" "host_log" (func $log (param i32 i32 i32)))'
MEMORY = '(memory (export "memory") 1)'


def wasm(text: str) -> bytes:
    """Assemble a module."""
    return bytes(wasmtime.wat2wasm(text))


def guest(body: str, hook: str = "on_request", imports: str = "", v1: bool = True) -> bytes:
    """A module with a page of memory, whose one hook runs `body` and returns what it leaves."""
    version = '(func (export "int3_abi_version") (result i32) i32.const 1)' if v1 else ""
    return wasm(
        f'(module {imports} {MEMORY} {version} (func (export "{hook}") (result i32) {body}))'
    )


def importing(name: str, params: int, result: str = "i32") -> str:
    """The text of an import from `env` that takes i32s, as `$name` without `host_`."""
    short = name.removeprefix("host_")
    declared = f"(param {'i32 ' * params})" if params else ""
    return f'(import "env" "{name}" (func ${short} {declared} (result {result})))'


def make_client() -> ClientConnection:
    return ClientConnection(
        ConnectionId(1), ("192.0.2.7", 5555), ("127.0.0.1", 8080), "regular", 0.0
    )


def make_flow(
    fields: Sequence[Field] = ((b"Host", b"example.com"), (b"Accept", b"*/*")),
    *,
    method: bytes = b"GET",
    version: str = HTTP_11,
) -> Flow:
    """A flow whose request is GET http://example.com/path?q=1, without response."""
    request = RequestHead(method, "http", b"example.com", b"/path?q=1", Headers(fields), version)
    return Flow(FlowId(17), make_client(), request, 0.0, 1000)


def past_flow(number: int, status: int = 200, fields: Sequence[Field] = ()) -> Flow:
    """A flow that is over, answered by an origin."""
    request = RequestHead(
        b"GET", "http", b"example.com", b"/%d" % number, Headers([(b"Host", b"example.com")])
    )
    flow = Flow(FlowId(number), make_client(), request, 1.7e9 + number, 1000)
    flow.server = ServerConnection(ConnectionId(2), "example.com", 80)
    respond_with(flow, status, fields)
    flow.response_body.feed(b"the answer")
    flow.state, flow.ended = FlowState.DONE, flow.started + 1
    flow.compact()
    return flow


def respond_with(flow: Flow, status: int = 200, fields: Sequence[Field] = ()) -> Flow:
    """Give the flow a response."""
    flow.response = ResponseHead(status, b"OK", Headers(fields))
    return flow


def living(*names: str) -> int:
    """How many objects of these classes there are."""
    gc.collect()
    return sum(type(thing).__name__ in names for thing in gc.get_objects())


class Newcomers:
    """Objects of these classes that come to be from now on.

    What other tests made may still be held by a thread on its way out, and is not counted.
    """

    def __init__(self, *names: str) -> None:
        self._names = names
        self._old = self._all()  # held, so that nobody gets the id of one that went

    def count(self) -> int:
        """How many of them are alive; a worker may hold one until its next turn."""
        old = {id(thing) for thing in self._old}
        return sum(id(thing) not in old for thing in self._all())

    def _all(self) -> list[object]:
        gc.collect()
        return [thing for thing in gc.get_objects() if type(thing).__name__ in self._names]


class Host:
    """A manager with one plugin directory, and the hooks it fills."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hooks = Hooks()
        self.bus = Bus()
        self.manager = PluginManager([directory], self.hooks, self.bus, 1000)

    def put(self, name: str, module: bytes, manifest: str = "") -> Path:
        """Write `name/plugin.toml` and `name/module.wasm`; return the module's path."""
        place = self.directory / name
        place.mkdir(exist_ok=True)
        (place / "plugin.toml").write_text(
            f'name = "{name}"\nwasm = "module.wasm"\n{manifest}', encoding="utf-8"
        )
        (place / "module.wasm").write_bytes(module)
        return place / "module.wasm"

    async def start(self) -> DiscoverReport:
        return await self.manager.start()

    async def load(self, name: str, module: bytes, manifest: str = "") -> None:
        """Put a plugin there and have it loaded; fails where it is refused."""
        self.put(name, module, manifest)
        report = await self.manager.discover()
        assert name in report.added, report.refused

    async def refusal(self, module: bytes, manifest: str = "") -> str:
        """Why the host does not load this module."""
        self.put("refused", module, manifest)
        report = await self.manager.discover()
        assert report.added == ()
        ((_, reason),) = report.refused
        return reason

    async def request(self, flow: Flow) -> Verdict:
        assert self.hooks.request is not None
        return await self.hooks.request(flow)

    async def response(self, flow: Flow) -> Verdict:
        assert self.hooks.response is not None
        return await self.hooks.response(flow)

    async def connect(self, authority: bytes | None = None) -> Verdict:
        assert self.hooks.connect is not None
        return await self.hooks.connect(ConnectAttempt(make_client(), authority))

    async def capture(self, flow: Flow) -> None:
        assert self.hooks.capture is not None
        await self.hooks.capture(flow)

    async def rule_match(
        self, flow: Flow, rule: str = "rule-1", message: WebSocketMessage | None = None
    ) -> Verdict:
        assert self.hooks.rule_match is not None
        return await self.hooks.rule_match(RuleMatch(rule, flow, message))

    def status(self, name: str) -> PluginStatus:
        (status,) = [s for s in self.manager.statuses() if s.name == name]
        return status

    def texts(self, level: LogLevel | None = None) -> list[str]:
        """What was logged, without the host's own notices of loading."""
        return [
            line.text
            for line in self.manager.logs.snapshot()
            if (level is None or line.level is level) and "loaded in" not in line.text
        ]
