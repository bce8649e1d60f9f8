"""`host_get_body` and `host_set_body`: the body, whole or a piece of it, or a message's payload.

Content codings are undone for reading and redone behind the hook; the loop goes on while a long
body is decoded. Pieces of a body that streams are as on the wire.
"""

from __future__ import annotations

import asyncio
from typing import Final

from proxy_core.exchange.long_text import AT_ONCE, is_text
from proxy_core.plugin_host.codes import (
    BAD_POINTER,
    NOT_IN_HOOK,
    NOT_PERMITTED,
    OK,
    OVER_LIMIT,
    PIECE_HOOKS,
    Hook,
)
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide
from proxy_core.plugin_host.functions.long_copies import Copying, give, on_the_loop, take
from proxy_core.plugin_host.hook import edit_rules as rules
from proxy_core.plugin_host.hook.body_draft import BODY_BYTES, BodyDraft
from proxy_core.plugin_host.hook.call import HookCall

GET: Final = "host_get_body"
SET: Final = "host_set_body"
_TEXT: Final = 1  # the opcode (RFC 6455, section 5.6)


def _get_body(host: HostSide, offset: int, buf: int, cap: int) -> Copying:
    call = host.call
    body = call.body
    if body is None:
        return NOT_IN_HOOK
    if not call.manifest.permissions.access_bodies:
        return call.deny(GET)
    if not host.memory.holds(buf, cap):
        return BAD_POINTER
    if body.is_long_to_decode and on_the_loop():
        return _wait(host, body, offset, buf, cap)
    body.decode()
    return _give(host, body, offset, buf, cap)


async def _wait(host: HostSide, body: BodyDraft, offset: int, buf: int, cap: int) -> int:
    await asyncio.to_thread(body.decode)
    given = _give(host, body, offset, buf, cap)
    return given if isinstance(given, int) else await given


def _give(host: HostSide, body: BodyDraft, offset: int, buf: int, cap: int) -> Copying:
    found = body.read(offset, cap)
    if isinstance(found, int):
        return found
    piece, length = found
    return give(host.memory, buf, piece, length)


def _set_body(host: HostSide, ptr: int, length: int) -> Copying:
    call = host.call
    body = call.body
    if body is None or not body.writable:
        return NOT_IN_HOOK
    allowed = call.manifest.permissions
    may_modify = (
        allowed.modify_responses if _is_of_response(call, body) else allowed.modify_requests
    )
    if not (allowed.access_bodies and may_modify):
        return call.deny(SET)
    if length > BODY_BYTES:
        return OVER_LIMIT

    def use(data: bytes) -> Copying:
        if call.message is not None and call.message.opcode == _TEXT:
            if len(data) > AT_ONCE and on_the_loop():
                return _write_text(body, data)
            if not _is_utf8(data):
                return NOT_PERMITTED
        elif not _may_be(call, body, data):
            return NOT_PERMITTED
        body.write(data)
        return OK

    return take(host.memory, ptr, length, use)


def _is_of_response(call: HookCall, body: BodyDraft) -> bool:
    message = call.message or body.message
    if message is not None:
        return not message.from_client
    return call.hook is Hook.RESPONSE_CHUNK or body.of_response


def _may_be(call: HookCall, body: BodyDraft, data: bytes) -> bool:
    """Whether what the body belongs to can have this one."""
    flow = call.flow
    anything = call.message is not None or call.hook in PIECE_HOOKS or call.hook is Hook.CAPTURE
    if anything or flow is None or not data:
        return True
    if not body.of_response:
        return flow.request.method != b"TRACE"  # RFC 9110, section 9.3.8
    response = flow.response
    return (
        response is not None and rules.has_body(response.status) and flow.request.method != b"HEAD"
    )


async def _write_text(body: BodyDraft, data: bytes) -> int:
    if not await is_text(data):
        return NOT_PERMITTED
    body.write(data)
    return OK


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


BODY_FUNCTIONS: Final = (
    HostFunction(GET, 1, ("i32", "i32", "i32"), "i32", _get_body, waits=True),
    HostFunction(SET, 1, ("i32", "i32"), "i32", _set_body, waits=True),
)
"""The host functions of this module."""
