"""What a hook call did, put on the flow: all of it, once the hook has ended well.

What changes a message on its way is kept as a `Change`, with the name of the plugin; what changes
a captured copy leaves nothing of the copy before it.
"""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Final

from proxy_core.model.edits import CHANGE_BYTES, Change
from proxy_core.model.flow import Flow
from proxy_core.model.headers import text_of
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.hook.body_draft import BodyDraft
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.draft import TrailersDraft

_CODING: Final = b"content-encoding"
_CAPTURE: Final = Hook.CAPTURE
_BODIES_A_TURN: Final = 500
"""Of a WebSocket there may be some ten thousand captured messages."""


async def ready(call: HookCall) -> None:
    """Code the bodies that were written to; before `commit`, where there are any."""
    for number, body in enumerate(call.edited_bodies, 1):
        await _encode(call, body)
        if number % _BODIES_A_TURN == 0:
            await asyncio.sleep(0)


def commit(call: HookCall, began_with: bytes | None = None) -> int:
    """Put a call's edits where they belong; return how many bytes were written.

    `began_with` is the whole body before a call that edited `flow.whole` itself.
    """
    flow = call.flow
    if flow is None:
        return 0
    bodies = call.edited_bodies
    written = sum(len(body.coded) for body in bodies) if bodies else 0
    if call.piece is not None:
        if bodies:
            call.piece = bodies[0].coded
            of_response = call.hook is Hook.RESPONSE_CHUNK
            sign_pieces(flow, call.manifest.name, of_response=of_response)
    elif call.message is not None:
        if bodies:
            call.message.payload = bodies[0].coded
            call.message.by = (*call.message.by, editor(call.manifest.name))
    elif call.hook is _CAPTURE:
        written += _commit_copies(call, flow)
    else:
        if bodies and flow.whole is not None:
            began_with, flow.whole.data = flow.whole.data, bodies[0].coded
        written += _commit_message(call, flow, began_with)
    if call.annotations:
        flow.annotations = {**(flow.annotations or {}), **call.annotations}
        written += sum(map(len, call.annotations.values()))
    return written


async def _encode(call: HookCall, body: BodyDraft) -> None:
    """Code what was written as its head says, or have the head say that it is not coded."""
    coding = None
    if call.piece is None and call.message is None and body.message is None:
        call.turn_to(body.of_response)
        head = call.begun_draft or call.head
        value = None if head is None else head.headers.joined(_CODING)
        coding = None if value is None else text_of(value)
    if coding is not None and body.is_long_to_encode:
        known = await asyncio.to_thread(body.encode, coding)
    else:
        known = body.encode(coding)
    if not known:
        draft = call.draft
        if draft is not None:
            draft.remove_header(_CODING)
        body.encode(None)


def _commit_message(call: HookCall, flow: Flow, began_with: bytes | None) -> int:
    """Edit the message that is on its way."""
    draft = call.begun_draft
    new = None if draft is None or isinstance(draft, TrailersDraft) else draft.build()
    old = call.head if new is None or draft is None else draft.original
    body = None
    if began_with is not None and flow.whole is not None and flow.whole.data != began_with:
        body = began_with[:CHANGE_BYTES]
    if new is not None and old is not None:
        put_head(flow, old, new, editor(call.manifest.name), body)
    elif old is not None and body is not None:
        _keep_change(flow, old, editor(call.manifest.name), body)
    return 0 if draft is None else draft.line_bytes + draft.also_written


def put_head(
    flow: Flow,
    old: RequestHead | ResponseHead,
    new: RequestHead | ResponseHead,
    by: str,
    body: bytes | None = None,
) -> None:
    """Put a head that an editor has made in place of `old`; `body` is that before the edit."""
    if isinstance(new, ResponseHead):
        if flow.response_received is None:
            flow.response_received = flow.response
        flow.response = new
    else:
        if flow.request_received is None:
            flow.request_received = flow.request
        flow.request = new
    _keep_change(flow, old, by, body)


def _keep_change(flow: Flow, old: RequestHead | ResponseHead, by: str, body: bytes | None) -> None:
    _sign(flow, by)
    change = Change(by, old, body)
    flow.changes = (*flow.changes, change) if flow.changes else (change,)


def _commit_copies(call: HookCall, flow: Flow) -> int:
    """Edit what was captured of a flow that is over."""
    written = 0
    before = _kept_of(flow)
    for draft in call.drafts:
        if draft is None or not draft.written:
            continue
        written += draft.line_bytes + draft.also_written
        if isinstance(draft, TrailersDraft):
            body = flow.response_body if draft.of_response else flow.request_body
            body.trailers = draft.headers.fields
            _forget_before(flow, draft.of_response)
            continue
        head = draft.build() or draft.original
        if isinstance(head, ResponseHead):
            flow.response = head
        else:
            flow.request = head
        _forget_before(flow, isinstance(head, ResponseHead))
    edited = call.edited_bodies
    for copy in call.written_bodies:
        if copy.message is None:
            _forget_before(flow, copy.of_response)
    for copy in edited:
        if copy.message is None:
            (flow.response_body if copy.of_response else flow.request_body).rewrite(copy.coded)
        elif flow.web_socket is not None:
            flow.web_socket.rewrite(copy.message, copy.coded)
    if edited or _kept_of(flow) != before:
        note = f"the captured copy was changed by plugin {call.manifest.name}"
        flow.notes = (*flow.notes, note)
    return written


def _kept_of(flow: Flow) -> tuple[object, ...]:
    return (
        flow.request,
        flow.response,
        flow.request_received,
        flow.response_received,
        flow.changes,
        flow.request_body.trailers,
        flow.response_body.trailers,
    )


def _forget_before(flow: Flow, of_response: bool) -> None:
    """Forget what an edited message was before."""
    if of_response:
        flow.response_received = None
    else:
        flow.request_received = None
    flow.changes = tuple(change for change in flow.changes if change.of_response != of_response)


def sign_pieces(flow: Flow, plugin: str, *, of_response: bool) -> None:
    """Name who edits a body's pieces, once for all of them."""
    by = editor(plugin)
    _sign(flow, by)
    head = flow.response if of_response else flow.request
    if head is None or any(
        change.in_pieces and change.by == by and change.of_response == of_response
        for change in flow.changes
    ):
        return
    flow.changes = (*flow.changes, Change(by, head, in_pieces=True))


@cache
def editor(plugin: str) -> str:
    """How a plugin is named as the one who changed something."""
    return f"plugin {plugin}"


@cache
def _alone(by: str) -> tuple[str]:
    """One for all flows that nobody else has changed."""
    return (by,)


def _sign(flow: Flow, by: str) -> None:
    if not flow.edited_by:
        flow.edited_by = _alone(by)
    elif by not in flow.edited_by:
        flow.edited_by = (*flow.edited_by, by)
