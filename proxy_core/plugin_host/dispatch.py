"""From the exchange's hooks to the plugins and back: who is called, and what their answers mean.

Plugins run one after another, in order of priority and then name, each seeing what those before
it changed. Block and respond end the round; hold is remembered and the round goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

from proxy_core.exchange.hooks import (
    BodyFilter,
    ConnectAttempt,
    Hooks,
    RuleMatch,
    TunnelFilter,
)
from proxy_core.model.flow import Flow
from proxy_core.model.verdict import CONTINUE, Block, Hold, Respond, Verdict
from proxy_core.plugin_host import codes
from proxy_core.plugin_host.call import HookCall
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.dialects import Driver
from proxy_core.plugin_host.manifest import Manifest
from proxy_core.plugin_host.plugin import Plugin

_FAILED_STATUS = 502

Round = tuple[tuple[Plugin, Manifest], ...]
"""Who is called for one hook, in order."""


class Dispatcher:
    """Fills the slots of `Hooks`, and leaves those empty that no plugin wants."""

    def __init__(self, hooks: Hooks, on_news: Callable[[Plugin], None]) -> None:
        """Call `on_news` when a plugin's status changed during a call."""
        self._hooks = hooks
        self._on_news = on_news
        self._on_request: Round = ()
        self._on_response: Round = ()
        self._on_connect: Round = ()
        self._on_capture: Round = ()
        self._on_rule_match: Round = ()
        self._driven: tuple[Plugin, ...] = ()
        """Those that speak another ABI than ours, in order."""

    def subscribe(self, plugins: Iterable[Plugin]) -> None:
        """Call these plugins from now on, and no others."""
        ordered = sorted(plugins, key=lambda plugin: plugin.order)

        def wanting(hook: Hook) -> Round:
            return tuple(
                (plugin, plugin.manifest)
                for plugin in ordered
                if hook in plugin.hooks and plugin.manifest is not None
            )

        self._on_request = wanting(Hook.REQUEST)
        self._on_response = wanting(Hook.RESPONSE)
        self._on_connect = wanting(Hook.CONNECT)
        self._on_capture = wanting(Hook.CAPTURE)
        self._on_rule_match = wanting(Hook.RULE_MATCH)
        hooks = self._hooks
        hooks.request = self._request if self._on_request else None
        hooks.response = self._response if self._on_response else None
        hooks.connect = self._connect if self._on_connect else None
        hooks.capture = self._capture if self._on_capture else None
        hooks.rule_match = self._rule_match if self._on_rule_match else None
        driven = [plugin for plugin in ordered if plugin.driver is not None]
        self._driven = tuple(driven)
        hooks.request_body = self._request_body if driven else None
        hooks.response_body = self._response_body if driven else None
        hooks.request_stream = self._request_stream if driven else None
        hooks.response_stream = self._response_stream if driven else None
        hooks.tunnel = self._tunnel if driven else None

    def _request(self, flow: Flow) -> Awaitable[Verdict]:
        return self._run(self._on_request, Hook.REQUEST, flow)

    def _response(self, flow: Flow) -> Awaitable[Verdict]:
        return self._run(self._on_response, Hook.RESPONSE, flow)

    def _request_body(self, flow: Flow) -> bool:
        return any(driver.wants_body(Hook.REQUEST, flow) for driver in self._drivers())

    def _response_body(self, flow: Flow) -> bool:
        return any(driver.wants_body(Hook.RESPONSE, flow) for driver in self._drivers())

    def _request_stream(self, flow: Flow) -> BodyFilter | None:
        return self._stream(Hook.REQUEST, flow)

    def _response_stream(self, flow: Flow) -> BodyFilter | None:
        return self._stream(Hook.RESPONSE, flow)

    def _stream(self, hook: Hook, flow: Flow) -> BodyFilter | None:
        found = [driver.body_filter(hook, flow) for driver in self._drivers()]
        filters = [each for each in found if each is not None]
        if len(filters) < 2:
            return filters[0] if filters else None

        async def through(data: bytes, ended: bool) -> bytes:
            for each in filters:
                data = await each(data, ended)
            return data

        return through

    def _tunnel(self, flow: Flow) -> TunnelFilter | None:
        found = [driver.tunnel_filter(flow) for driver in self._drivers()]
        filters = [each for each in found if each is not None]
        if len(filters) < 2:
            return filters[0] if filters else None

        async def through(from_client: bool, data: bytes, ended: bool) -> bytes:
            for each in filters:
                data = await each(from_client, data, ended)
            return data

        return through

    def _drivers(self) -> Iterator[Driver]:
        for plugin in self._driven:
            driver = plugin.driver
            if driver is not None and not plugin.health.is_quarantined():
                yield driver

    def _connect(self, attempt: ConnectAttempt) -> Awaitable[Verdict]:
        return self._run(self._on_connect, Hook.CONNECT, None, attempt=attempt)

    def _rule_match(self, match: RuleMatch) -> Awaitable[Verdict]:
        return self._run(self._on_rule_match, Hook.RULE_MATCH, match.flow, rule_id=match.rule_id)

    async def _capture(self, flow: Flow) -> None:
        await self._run(self._on_capture, Hook.CAPTURE, flow)

    async def _run(
        self,
        plugins: Round,
        hook: Hook,
        flow: Flow | None,
        attempt: ConnectAttempt | None = None,
        rule_id: str | None = None,
    ) -> Verdict:
        held: Hold | None = None
        for plugin, manifest in plugins:
            call = HookCall(hook, manifest, plugin.log, flow, plugin.belongings)
            if hook is Hook.CONNECT and attempt is not None:
                call.client, call.authority = attempt.client, attempt.authority
            elif hook is Hook.RULE_MATCH:
                call.rule_id = rule_id
            code = await plugin.call(hook, call)
            if code != codes.CONTINUE:
                verdict = _meaning(plugin, code, call)
                if hook is Hook.CAPTURE:
                    verdict = None  # the flow is over; there is nothing to decide
                if isinstance(verdict, Hold):
                    held = held or verdict
                elif verdict is not None:
                    self._tell(plugin)
                    return verdict
            if plugin.news:
                self._tell(plugin)
            if code == codes.SKIP_REST:
                break
        return held or CONTINUE

    def _tell(self, plugin: Plugin) -> None:
        if plugin.news:
            plugin.news = False
            self._on_news(plugin)


def _meaning(plugin: Plugin, code: int, call: HookCall) -> Verdict | None:
    """Turn a code other than 0 into a verdict; None where the round just goes on."""
    by = f"plugin {plugin.name}"
    match code:
        case codes.BLOCK:
            return Block(by)
        case codes.HOLD:
            return Hold(by)
        case codes.RESPOND:
            head = call.respond_head
            return None if head is None else Respond(by, head, call.respond_body)
        case codes.SKIP_REST:
            return None
    return Block(by, _FAILED_STATUS) if plugin.closed_on_failure else None
