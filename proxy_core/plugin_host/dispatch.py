"""From the exchange's hooks to the plugins and back: who is called, and what their answers mean.

Plugins run one after another, in order of priority and then name, each seeing what those before
it changed. Block and respond end the round; hold is remembered and the round goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from proxy_core.exchange.hooks import (
    BodyFilter,
    ConnectAttempt,
    Hooks,
    RuleMatch,
    TunnelFilter,
)
from proxy_core.model.edits import OpenBody
from proxy_core.model.flow import Flow
from proxy_core.model.verdict import CONTINUE, Block, Hold, Respond, Verdict
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.plugin_host import codes
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.commit import editor
from proxy_core.plugin_host.pieces import PieceFilter, one_after_the_other
from proxy_core.plugin_host.plugin import Plugin
from proxy_core.plugin_host.together import Answer, Together

_FAILED_STATUS = 502
_CONTINUE: Final = codes.CONTINUE
# An enumeration's members are slow to get at.
_REQUEST: Final = Hook.REQUEST
_RESPONSE: Final = Hook.RESPONSE
_RULE_MATCH: Final = Hook.RULE_MATCH
_MESSAGE: Final = Hook.WEBSOCKET_MESSAGE

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
        self._on_message: Round = ()
        self._asked_for_requests = Together(self._request, self._requests)
        self._asked_for_responses = Together(self._response, self._responses)
        self._driven: Round = ()
        """Those that speak another ABI than ours, in order."""
        self._gathering: Round = ()
        """Those that may want bodies whole."""
        self._streaming: Round = ()
        """Those that may want bodies in pieces."""

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
        self._on_message = wanting(Hook.WEBSOCKET_MESSAGE)
        hooks = self._hooks
        hooks.request = self._asked_for_requests.ask if self._on_request else None
        hooks.response = self._asked_for_responses.ask if self._on_response else None
        hooks.connect = self._connect if self._on_connect else None
        hooks.capture = self._capture if self._on_capture else None
        hooks.rule_match = self._rule_match if self._on_rule_match else None
        hooks.websocket_message = self._websocket_message if self._on_message else None
        working = tuple(
            (plugin, plugin.manifest) for plugin in ordered if plugin.manifest is not None
        )
        self._driven = tuple(pair for pair in working if pair[0].driver is not None)
        self._gathering = tuple(pair for pair in working if _may_gather(*pair))
        self._streaming = tuple(pair for pair in working if _may_stream(*pair))
        hooks.request_body = self._request_body if self._gathering else None
        hooks.response_body = self._response_body if self._gathering else None
        hooks.request_stream = self._request_stream if self._streaming else None
        hooks.response_stream = self._response_stream if self._streaming else None
        hooks.tunnel = self._tunnel if self._driven else None

    def _request(self, flow: Flow) -> Awaitable[Verdict]:
        return self._run(self._on_request, _REQUEST, flow)

    def _response(self, flow: Flow) -> Awaitable[Verdict]:
        return self._run(self._on_response, _RESPONSE, flow)

    def _requests(self, flows: Sequence[Flow]) -> list[Answer]:
        return self._run_together(self._on_request, _REQUEST, flows)

    def _responses(self, flows: Sequence[Flow]) -> list[Answer]:
        return self._run_together(self._on_response, _RESPONSE, flows)

    def _run_together(self, plugins: Round, hook: Hook, flows: Sequence[Flow]) -> list[Answer]:
        """Call each for all flows before the next."""
        answers: list[Answer] = [None] * len(flows)
        places: Sequence[int] = range(len(flows))
        answered = hook is _RESPONSE and any(flow.answered_by is not None for flow in flows)
        for called, (plugin, manifest) in enumerate(plugins, 1):
            shown, theirs = places, flows
            if answered or manifest.flows is not None or len(places) < len(flows):
                shown = [place for place in places if _is_for(plugin, manifest, hook, flows[place])]
                theirs = [flows[place] for place in shown]
            special = plugin.enter_several(hook, manifest, theirs)
            for at, call, code in special:
                rest = partial(self._run, plugins[called:], hook, theirs[at])
                answers[shown[at]] = self._go_on(plugin, call, code, rest)
            if plugin.standing.news:
                self.tell_news(plugin)
            if special:
                places = [place for place in places if answers[place] is None]
        return answers

    def _request_body(self, flow: Flow) -> bool:
        return self._wants_body(Hook.REQUEST, flow)

    def _response_body(self, flow: Flow) -> bool:
        return self._wants_body(Hook.RESPONSE, flow)

    def _wants_body(self, hook: Hook, flow: Flow) -> bool:
        for plugin in _concerned(self._gathering, flow):
            driver = plugin.driver
            if _has_answered(plugin, flow):
                continue
            if hook in plugin.hooks if driver is None else driver.wants_body(hook, flow):
                return True
        return False

    def _request_stream(self, flow: Flow) -> BodyFilter | None:
        return self._stream(Hook.REQUEST, flow)

    def _response_stream(self, flow: Flow) -> BodyFilter | None:
        return self._stream(Hook.RESPONSE, flow)

    def _stream(self, hook: Hook, flow: Flow) -> BodyFilter | None:
        return one_after_the_other([body_filter for _, body_filter in self._filters(hook, flow)])

    def _filters(self, hook: Hook, flow: Flow) -> Iterator[tuple[Plugin, BodyFilter]]:
        """Who is shown the body in pieces, in order, and has seen none of it yet."""
        opened = flow.open_body
        piece_hook = Hook.REQUEST_CHUNK if hook is Hook.REQUEST else Hook.RESPONSE_CHUNK
        for plugin in _concerned(self._streaming, flow):
            driver, manifest = plugin.driver, plugin.manifest
            if _has_answered(plugin, flow) or (
                opened is not None and plugin.name in opened.seen_by
            ):
                continue
            if driver is not None:
                body_filter = driver.body_filter(hook, flow)
                if body_filter is not None:
                    yield plugin, body_filter
            elif piece_hook in plugin.hooks and manifest is not None:
                yield plugin, PieceFilter(plugin, manifest, piece_hook, flow, _meaning)

    def open_body(self, plugin: Plugin, hook: Hook, flow: Flow) -> OpenBody | None:
        """Return what a plugin may read of a body whose head it holds back, or None.

        It comes through the plugins before that one, as it does where nobody reads ahead.
        """
        opened = flow.open_body
        if opened is not None:
            for other, body_filter in self._filters(hook, flow):
                if other.order >= plugin.order:
                    break
                opened.pass_through(other.name, body_filter)
        return opened

    def _tunnel(self, flow: Flow) -> TunnelFilter | None:
        drivers = [plugin.driver for plugin in _concerned(self._driven, flow)]
        found = [driver.tunnel_filter(flow) for driver in drivers if driver is not None]
        filters = [each for each in found if each is not None]
        if len(filters) < 2:
            return filters[0] if filters else None

        async def through(from_client: bool, data: bytes, ended: bool) -> bytes:
            for each in filters:
                data = await each(from_client, data, ended)
            return data

        return through

    def _connect(self, attempt: ConnectAttempt) -> Awaitable[Verdict]:
        return self._run(self._on_connect, Hook.CONNECT, None, attempt=attempt)

    def _rule_match(self, match: RuleMatch) -> Awaitable[Verdict]:
        return self._run(
            self._on_rule_match,
            _RULE_MATCH,
            match.flow,
            rule_id=match.rule_id,
            message=match.message,
        )

    def _websocket_message(self, flow: Flow, message: WebSocketMessage) -> Awaitable[Verdict]:
        return self._run(self._on_message, _MESSAGE, flow, message=message)

    async def _capture(self, flow: Flow) -> bool:
        before = (flow.request, flow.response, flow.notes, flow.annotations)
        await self._run(self._on_capture, Hook.CAPTURE, flow)
        return (flow.request, flow.response, flow.notes, flow.annotations) != before

    def _run(
        self,
        plugins: Round,
        hook: Hook,
        flow: Flow | None,
        attempt: ConnectAttempt | None = None,
        rule_id: str | None = None,
        message: WebSocketMessage | None = None,
    ) -> Awaitable[Verdict]:
        """Call these, one after another; without a coroutine while each is done at once."""
        called = 0
        for plugin, manifest in plugins:
            called += 1
            if flow is not None and not _is_for(plugin, manifest, hook, flow, message):
                continue
            call = HookCall(hook, manifest, plugin.log, flow, plugin.belongings)
            if flow is None:
                if attempt is not None:
                    call.client, call.authority = attempt.client, attempt.authority
            elif hook is _RULE_MATCH or hook is _MESSAGE:
                call.rule_id, call.message = rule_id, message
            code = plugin.enter(hook, call)
            if code != _CONTINUE or call.delay:
                rest = partial(self._run, plugins[called:], hook, flow, attempt, rule_id, message)
                return self._go_on(plugin, call, code, rest)
            if plugin.standing.news:
                self.tell_news(plugin)
        return CONTINUE

    async def _go_on(
        self,
        plugin: Plugin,
        call: HookCall,
        answer: int | Coroutine[Any, Any, int],
        rest: Callable[[], Awaitable[Verdict]],
    ) -> Verdict:
        """Take a plugin's answer, wait for it where need be, and go on with the rest."""
        code = answer if isinstance(answer, int) else await answer
        verdict: Verdict | None = None
        if code != codes.CONTINUE and call.hook is not Hook.CAPTURE:
            verdict = _meaning(plugin, code, call)  # a flow that is over is not decided about
        self.tell_news(plugin)
        if verdict is not None and not isinstance(verdict, Hold):
            return verdict
        if call.delay and code >= codes.CONTINUE:
            await call.belongings.sleep(call.delay)
        if code == codes.SKIP_REST:
            return CONTINUE
        after = await rest()
        if verdict is not None and (after is CONTINUE or isinstance(after, Hold)):
            return verdict
        return after

    def tell_news(self, plugin: Plugin) -> None:
        """Tell of a plugin whose status has changed."""
        if plugin.standing.news:
            plugin.standing.news = False
            self._on_news(plugin)


def _may_gather(plugin: Plugin, manifest: Manifest) -> bool:
    """Whether a plugin may want bodies whole."""
    generation = plugin.generation
    if generation is None:
        return False
    if generation.driver is not None:
        return True
    return generation.blueprint.contract.uses_bodies and manifest.permissions.access_bodies


def _may_stream(plugin: Plugin, manifest: Manifest) -> bool:
    """Whether a plugin may want bodies in pieces."""
    return plugin.driver is not None or (
        bool(plugin.hooks & codes.PIECE_HOOKS) and manifest.permissions.access_bodies
    )


def _concerned(plugins: Round, flow: Flow) -> Iterator[Plugin]:
    """Those that are to see a flow, and can."""
    for plugin, manifest in plugins:
        if manifest.flows is not None and not manifest.flows(flow):
            continue
        # In quarantine, one of ours that fails closed answers for that by itself.
        closed = plugin.driver is None and plugin.closed_on_failure
        if plugin.generation is not None and (
            closed or not plugin.standing.health.is_quarantined()
        ):
            yield plugin


def _has_answered(plugin: Plugin, flow: Flow) -> bool:
    """Whether the response is what the plugin itself has made."""
    return flow.answered_by is not None and flow.answered_by == editor(plugin.name)


def _is_for(
    plugin: Plugin,
    manifest: Manifest,
    hook: Hook,
    flow: Flow,
    message: WebSocketMessage | None = None,
) -> bool:
    """Whether a plugin is to see a flow or a message."""
    if flow.answered_by is not None and hook is _RESPONSE and _has_answered(plugin, flow):
        return False
    if message is not None and manifest.messages is not None:
        return manifest.messages(flow, message)
    return manifest.flows is None or manifest.flows(flow)


def _meaning(plugin: Plugin, code: int, call: HookCall) -> Verdict | None:
    """Turn a code other than 0 into a verdict; None where the round just goes on."""
    by = editor(plugin.name)
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
