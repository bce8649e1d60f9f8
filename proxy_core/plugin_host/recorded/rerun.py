"""A recorded flow on its way once more, as it came, past one plugin that runs offline.

The hooks are called in the order in which the exchange calls them. Who wants to know what comes of
each is a witness; the recorded flow stays as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVarTuple

from proxy_core.errors import RefusedByHook
from proxy_core.exchange.bodies import may_be_gathered
from proxy_core.exchange.hooks import AnsweredByHook, BodyFilter, ConnectAttempt, Hooks, RuleMatch
from proxy_core.exchange.ruled_hooks import hooks_with
from proxy_core.exchange.sources import ReadAhead
from proxy_core.model.connection import ServerConnection
from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.model.headers import Field
from proxy_core.model.message import RequestHead, ResponseHead, join_authority
from proxy_core.model.verdict import CONTINUE, Block, Respond, Verdict
from proxy_core.model.websocket import WebSocketLog, WebSocketMessage
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.recorded.offline import EPOCH_NS, OfflinePlugin
from proxy_core.policy.message_rules import MessageRules
from proxy_core.wire.websocket import BINARY, TEXT

PIECE: Final = 64 * 1024
"""Bytes of a body that streams in one piece; what a fast peer sends at once."""

MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Of a WebSocket's messages that are kept until its end; the last of them."""

Trailers = list[Field] | None


About = TypeVarTuple("About")


@dataclass(slots=True)
class Payload:
    """A body and its trailers: as on the wire, content coding untouched."""

    data: bytes = b""
    trailers: Trailers = None


class _Pieces:
    """A `BodySource`: a payload as a fast peer sends it."""

    def __init__(self, payload: Payload) -> None:
        self._data = memoryview(payload.data)
        self.trailers = payload.trailers

    async def read(self) -> bytes:
        return self.read_nowait()

    def read_nowait(self) -> bytes:
        piece, self._data = bytes(self._data[:PIECE]), self._data[PIECE:]
        return piece


@dataclass(slots=True)
class Recording:
    """An exchange as it came, from before anybody edited it."""

    flow: Flow
    """How the exchange begins: nothing is answered, no body has passed."""
    request_body: Payload
    response: ResponseHead | None
    """What the origin answered; None where it did not."""
    response_body: Payload
    server: ServerConnection | None = None
    first_byte: float | None = None
    ended: float | None = None
    is_websocket: bool = False
    messages: Sequence[WebSocketMessage] = ()
    connects: bool = True
    """Whether it is the first of its connection."""


@dataclass(slots=True)
class Step:
    """One call of one hook."""

    hook: Hook
    flow: Flow
    payload: Payload
    """The body or the message at hand; once the hook is through, what it made of it."""
    shown: bool = False
    """Whether `payload` was at the hook's hand."""
    message: WebSocketMessage | None = None
    rule_id: str | None = None
    """The rule that has fired on the message."""
    verdict: Verdict = CONTINUE


class Witness(Protocol):
    """Whoever wants to know what a plugin does."""

    def before(self, step: Step) -> None:
        """A hook is about to be called."""

    def after(self, step: Step) -> None:
        """The hook is through."""

    def goes_on(self, head: RequestHead | ResponseHead, body: Payload) -> None:
        """All hooks of a message let it go on like this."""


class Rerun:
    """One flow, past one plugin."""

    def __init__(
        self,
        plugin: OfflinePlugin,
        recording: Recording,
        witness: Witness,
        rules: MessageRules | None = None,
    ) -> None:
        """Apply `rules` to messages before the plugin sees them."""
        self._plugin = plugin
        self._recording = recording
        self._witness = witness
        self._flow = recording.flow
        self._rules = rules

    async def run(self) -> None:
        """Call the hooks, leaving it to others in between."""
        plugin, flow = self._plugin, self._flow
        plugin.now_ns = int(flow.started * 1e9) if flow.started > 0 else EPOCH_NS
        plugin.seed(flow.id)
        if not await self._connect():
            return
        try:
            if await self._request() and self._recording.response is not None:
                await self._response(self._recording.response)
        except RefusedByHook:
            pass  # the witness knows
        await self._capture()

    async def _connect(self) -> bool:
        hook = self._plugin.hooks.connect
        if hook is None or not self._recording.connects:
            return True
        flow = self._flow
        targets: list[bytes | None] = [None]
        if flow.request.scheme == "https":
            targets.append(join_authority(flow.request.host, flow.request.port, "http"))
        for target in targets:
            step = Step(Hook.CONNECT, flow, Payload())
            if not await self._ask(step, hook, ConnectAttempt(flow.client, target)):
                return False
        return True

    async def _request(self) -> bool:
        flow, hooks = self._flow, self._plugin.hooks
        body = self._recording.request_body
        if hooks.request is not None:
            step = Step(Hook.REQUEST, flow, body)
            self._show(step, hooks.request_body)
            if not await self._ask(step, hooks.request, flow):
                return False
            body = step.payload
        body = await self._stream(Hook.REQUEST_CHUNK, hooks.request_stream, body)
        flow.request_body.feed(body.data)
        flow.request_body.trailers = body.trailers
        self._witness.goes_on(flow.request, body)
        return True

    async def _response(self, head: ResponseHead) -> None:
        flow, hooks, recording = self._flow, self._plugin.hooks, self._recording
        flow.server, flow.response = recording.server, head
        flow.first_byte = recording.first_byte
        body = recording.response_body
        if hooks.response is not None:
            step = Step(Hook.RESPONSE, flow, body)
            self._show(step, hooks.response_body)
            if not await self._ask(step, hooks.response, flow):
                return
            body = step.payload
        body = await self._stream(Hook.RESPONSE_CHUNK, hooks.response_stream, body)
        flow.response_body.feed(body.data)
        flow.response_body.trailers = body.trailers
        self._witness.goes_on(flow.response, body)
        await self._messages()

    async def _messages(self) -> None:
        flow, own = self._flow, self._plugin.hooks
        if not self._recording.is_websocket:
            return
        flow.kind = FlowKind.WEBSOCKET
        hooks = Hooks() if self._rules is None else hooks_with(self._rules)
        if own.rule_match is not None:
            hooks.rule_match = self._rule_match
        if own.websocket_message is not None:
            hooks.websocket_message = self._message
        decide = hooks.websocket_message
        log = flow.web_socket = WebSocketLog(MESSAGE_BYTES)
        for past in self._recording.messages:
            message = WebSocketMessage(
                past.from_client, past.opcode, past.at, past.payload, past.size, past.compressed
            )
            unasked = past.opcode not in (TEXT, BINARY) or past.injected or past.cut
            if decide is not None and not unasked:
                await decide(flow, message)
            log.add(message)

    async def _message(self, flow: Flow, message: WebSocketMessage) -> Verdict:
        hook = self._plugin.hooks.websocket_message
        assert hook is not None
        step = Step(Hook.WEBSOCKET_MESSAGE, flow, Payload(message.payload), True, message)
        await self._ask(step, hook, flow, message)
        return step.verdict

    async def _rule_match(self, match: RuleMatch) -> Verdict:
        hook, message = self._plugin.hooks.rule_match, match.message
        assert hook is not None
        assert message is not None
        payload = Payload(message.payload)
        step = Step(Hook.RULE_MATCH, match.flow, payload, True, message, match.rule_id)
        await self._ask(step, hook, match)
        return step.verdict

    async def _capture(self) -> None:
        flow, hook = self._flow, self._plugin.hooks.capture
        flow.ended, flow.state = self._recording.ended, FlowState.DONE
        if hook is not None:
            step = Step(Hook.CAPTURE, flow, Payload())
            self._witness.before(step)
            await hook(flow)
            await self._told(step)

    def _show(self, step: Step, wanted: Callable[[Flow], bool] | None) -> None:
        """Put the body at the hook's hand, where the exchange would."""
        flow = self._flow
        head = flow.request if step.hook is Hook.REQUEST else flow.response
        if self._recording.is_websocket or head is None:
            return
        if may_be_gathered(head) and wanted is not None and wanted(flow):
            trailers = step.payload.trailers
            step.shown = True
            flow.whole = WholeBody(step.payload.data, None if trailers is None else list(trailers))
        elif step.payload.data:
            flow.open_body = ReadAhead(_Pieces(step.payload))

    async def _ask(
        self, step: Step, hook: Callable[[*About], Awaitable[Verdict]], *about: *About
    ) -> bool:
        """Hear what a hook decides; return whether the exchange goes on."""
        flow = self._flow
        self._witness.before(step)
        verdict = step.verdict = await hook(*about)
        if step.message is not None:
            step.payload = Payload(step.message.payload)
        elif flow.whole is not None:
            step.payload = Payload(flow.whole.data, flow.whole.trailers)
            flow.whole = None
        if step.message is None:
            self._end_with(verdict)
        await self._told(step)
        return not isinstance(verdict, Block | Respond)

    def _end_with(self, verdict: Verdict) -> None:
        """Put on the flow what the client gets in place of an answer."""
        if isinstance(verdict, Respond):
            self._flow.response = verdict.head
            self._flow.response_body.feed(verdict.body)
        elif isinstance(verdict, Block):
            self._flow.response = ResponseHead(verdict.status)

    async def _stream(
        self, hook: Hook, stream: Callable[[Flow], BodyFilter | None] | None, body: Payload
    ) -> Payload:
        body_filter = None if stream is None or not body.data else stream(self._flow)
        opened, self._flow.open_body = self._flow.open_body, None
        ahead = opened.source if isinstance(opened, ReadAhead) and opened.seen_by else None
        if body_filter is None and ahead is None:
            return body
        step = Step(hook, self._flow, body, shown=True)
        self._witness.before(step)
        out = []
        try:
            if ahead is not None:  # the plugin has begun already
                while piece := await ahead.read():
                    out.append(piece)
            elif body_filter is not None:
                for start in range(0, len(body.data), PIECE):
                    piece = body.data[start : start + PIECE]
                    out.append(await body_filter(piece, start + PIECE >= len(body.data)))
        except AnsweredByHook as error:
            step.verdict = error.verdict
            raise
        except RefusedByHook as error:
            step.verdict = Block(str(error), error.status)
            raise
        finally:
            step.payload = Payload(b"".join(out), body.trailers)
            self._end_with(step.verdict)
            await self._told(step)
        return step.payload

    async def _told(self, step: Step) -> None:
        self._witness.after(step)
        await asyncio.sleep(0)
