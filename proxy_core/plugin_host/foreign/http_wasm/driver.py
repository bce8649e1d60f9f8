"""Drives flows through a handler: `handle_request`, and later `handle_response` for the same flow.

A flow that the handler let go on is remembered until its response, or until it is over: then the
handler is told that there was none. Edits of heads are the call's; bodies are put on the flow here,
once the handler has returned well.
"""

from __future__ import annotations

from typing import Final

from proxy_core.exchange.hooks import BodyFilter, TunnelFilter
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Headers
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLevel
from proxy_core.model.message import HTTP_11, ResponseHead
from proxy_core.plugin_host import codes
from proxy_core.plugin_host.abi import Contract
from proxy_core.plugin_host.byte_copies import join_by_turns
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import GuestFailure, ModuleRefused
from proxy_core.plugin_host.foreign.http_wasm.arguments import instance_of
from proxy_core.plugin_host.foreign.http_wasm.passage import Features, Instance, Passage
from proxy_core.plugin_host.foreign.http_wasm.room import Room
from proxy_core.plugin_host.guest import Guest
from proxy_core.plugin_host.hook import edit_rules as rules
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.draft import ResponseDraft

MOST_PASSAGES: Final = 10_000
"""Flows between request and response that are remembered."""
MOST_BYTES: Final = 64 * 1024 * 1024
"""What is kept for them of responses that were begun."""
_LOW: Final = 0xFFFFFFFF
_CODED: Final = b"content-encoding"
_JOINED: Final = b"set-cookie"


class HandlerDriver:
    """One generation of a handler at work; on the core's loop."""

    def __init__(self, room: Room, contract: Contract) -> None:
        self.hooks = contract.hooks
        self._room = room
        imported = {item.function.name for item in contract.imports}
        self._reads_bodies = "read_body" in imported
        self._touches_bodies = bool(imported & {"read_body", "write_body"})
        self._passages: dict[FlowId, Passage] = {}
        self._bytes = 0
        self._features: Features | None = None
        """Switched on while it was loaded; None until it was looked into."""
        room.spawn(self._look_in())

    async def _look_in(self) -> None:
        async def work(guest: Guest) -> None:
            self._features = instance_of(guest.host).features

        try:
            await self._room.enter(work)
        except GuestFailure as failure:
            self._room.complain(failure)
        except ModuleRefused:
            return  # there is no instance, as the next hook is told

    async def hook(self, hook: Hook, call: HookCall) -> int:
        """See `Driver.hook`."""
        flow = call.flow
        if flow is None:
            return codes.CONTINUE
        if hook is Hook.REQUEST:
            return await self._request(call, flow)
        passage = self._forget(flow.id)
        if passage is None:
            return codes.CONTINUE
        if hook is Hook.RESPONSE:
            return await self._response(call, flow, passage)
        await self._over(call, flow, passage)
        return codes.CONTINUE

    async def _request(self, call: HookCall, flow: Flow) -> int:
        passage: Passage | None = None

        async def work(guest: Guest) -> int:
            nonlocal passage
            instance = instance_of(guest.host)
            passage = Passage(instance, flow)
            return await _enter(guest, instance, passage, call, "handle_request")

        answer = await self._room.enter(work)
        assert passage is not None
        self._features = passage.instance.features
        if answer & _LOW == 0:
            _respond(call, passage)
            return codes.RESPOND
        edited = passage.request_edits(flow)
        if edited is not None:
            flow.whole = edited
        passage.end_request(answer >> 32 & _LOW)
        self._remember(flow.id, passage)
        return codes.CONTINUE

    def _remember(self, flow_id: FlowId, passage: Passage) -> None:
        """Keep what belongs to a flow; the oldest go where it is too much.

        A flow takes its own along when it is over, unless the plugin is in quarantine then.
        """
        self._passages[flow_id] = passage
        self._bytes += passage.weight
        while self._passages and (len(self._passages) > MOST_PASSAGES or self._bytes > MOST_BYTES):
            self._forget(next(iter(self._passages)))

    def _forget(self, flow_id: FlowId) -> Passage | None:
        passage = self._passages.pop(flow_id, None)
        if passage is not None:
            self._bytes -= passage.weight
        return passage

    async def _response(self, call: HookCall, flow: Flow, passage: Passage) -> int:
        draft = call.draft
        if not isinstance(draft, ResponseDraft):
            return codes.CONTINUE
        begun, whole = _join(call, passage, draft), flow.whole
        joined = await join_by_turns(begun, whole.data) if begun and whole is not None else None
        passage.begin_response(flow, draft, joined)
        await self._ask(call, passage, is_error=False)
        edited = passage.response_edits(flow)
        if edited is not None:
            flow.whole = edited
        return codes.CONTINUE

    async def _over(self, call: HookCall, flow: Flow, passage: Passage) -> None:
        """The flow ended without an origin's response: the handler may clean up."""
        passage.begin_response(flow, None)
        await self._ask(call, passage, is_error=flow.error is not None)

    async def _ask(self, call: HookCall, passage: Passage, is_error: bool) -> None:
        """Run `handle_response`, unless the instance is gone that knew the flow."""

        async def work(guest: Guest) -> None:
            instance = instance_of(guest.host)
            if instance is passage.instance:
                arguments = (passage.context, int(is_error))
                await _enter(guest, instance, passage, call, "handle_response", *arguments)

        await self._room.enter(work)

    def wants_body(self, hook: Hook, flow: Flow) -> bool:
        """See `Driver.wants_body`.

        A handler that switched features on while it was loaded is taken at its word; one that did
        not may read any request's body, and says only later whether it wants the response's.
        """
        if hook is Hook.REQUEST:
            features = self._features
            if features is None or Features.TRAILERS in features:
                return True
            if not (self._reads_bodies and self._room.manifest.permissions.access_bodies):
                return False
            return not features or Features.BUFFER_REQUEST in features
        passage = self._passages.get(flow.id)
        if passage is None:
            return False
        if Features.TRAILERS in passage.features or passage.made_body:
            return True
        return (
            Features.BUFFER_RESPONSE in passage.features
            and self._touches_bodies
            and self._room.manifest.permissions.access_bodies
        )

    def body_filter(self, hook: Hook, flow: Flow) -> BodyFilter | None:
        """See `Driver.body_filter`: bodies are handled whole."""
        return None

    def tunnel_filter(self, flow: Flow) -> TunnelFilter | None:
        """See `Driver.tunnel_filter`: there are no tunnels in this ABI."""
        return None

    async def close(self) -> None:
        """See `Driver.close`."""
        self._passages.clear()
        self._bytes = 0


async def _enter(
    guest: Guest,
    instance: Instance,
    passage: Passage,
    call: HookCall,
    entry: str,
    *arguments: int,
) -> int:
    guest.host.call = call
    instance.passage = passage
    try:
        result = guest.begin(entry, *arguments)
        answer = await guest.finish() if result is None else result
    finally:
        instance.passage = None
    await passage.end()
    return answer


def _join(call: HookCall, passage: Passage, draft: ResponseDraft) -> bytes:
    """Add the fields that the handler began the response with; return the bytes it began with.

    As where a server runs it in front of itself: what the origin says stands, cookies add up, and
    bytes go before the origin's.
    """
    if not passage.has_begun_response:
        return b""
    if not call.manifest.permissions.modify_responses:
        _tell_dropped(call, "its manifest withholds permissions.modify_responses")
        return b""
    theirs = {name.lower() for name, _ in draft.headers.fields}
    for name, value in passage.made.headers.fields:
        if name.lower() not in theirs or name.lower() == _JOINED:
            draft.add_header(name, value)
    if passage.made_body and _CODED in theirs:
        _tell_dropped(call, "the origin's body is encoded")
        return b""
    return passage.made_body


def _tell_dropped(call: HookCall, why: str) -> None:
    text = f"what it wrote for the response before there was one is dropped: {why}"
    call.journal.write(LogLevel.WARN, text, call.flow_id)


def _respond(call: HookCall, passage: Passage) -> None:
    """Make the answer that the handler built, in place of the origin's."""
    made, body = passage.made, passage.body.edited or b""
    fields = list(made.headers.fields)
    if rules.has_body(made.status):
        fields.append((b"content-length", b"%d" % len(body)))
    elif body:
        text = f"its answer's body is dropped: one with status {made.status} has none"
        call.journal.write(LogLevel.WARN, text, call.flow_id)
        body = b""
    call.respond_head = ResponseHead(made.status, made.reason, Headers(fields), HTTP_11)
    call.respond_body = body
