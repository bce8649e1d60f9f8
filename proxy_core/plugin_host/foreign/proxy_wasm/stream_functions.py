"""What a filter does to a stream: let it go on, end it, answer it; and which stream that is."""

from __future__ import annotations

from typing import Final

from proxy_core.model.headers import Headers
from proxy_core.model.message import HTTP_11, ResponseHead
from proxy_core.plugin_host import codes as abi
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
    ROOT,
    UNIMPLEMENTED,
    StreamType,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import instance_of
from proxy_core.plugin_host.foreign.proxy_wasm.map_functions import PAIRS_BYTES
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import deny, unpack_pairs
from proxy_core.plugin_host.functions.host_functions import RESPONSE_BYTES
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide, ValueType
from proxy_core.plugin_host.hook import edit_rules as rules


def _continue(host: HostSide, kind: int) -> int:
    if kind > StreamType.UPSTREAM:
        return BAD_ARGUMENT
    instance = instance_of(host)
    stream = instance.stream
    if stream is None:
        return UNIMPLEMENTED
    stream.sides[StreamType(kind)].resumed = True
    instance.touched.add(stream)
    return OK


def _continue_request(host: HostSide) -> int:
    return _continue(host, StreamType.REQUEST)


def _continue_response(host: HostSide) -> int:
    return _continue(host, StreamType.RESPONSE)


def _close(host: HostSide, kind: int) -> int:
    """End a stream; both its directions are one here."""
    if kind > StreamType.UPSTREAM:
        return BAD_ARGUMENT
    instance = instance_of(host)
    stream = instance.stream
    if stream is None:
        return UNIMPLEMENTED
    stream.closed = True
    instance.touched.add(stream)
    return OK


def _respond(
    host: HostSide, status: int, dp: int, dn: int, bp: int, bn: int, hp: int, hn: int, grpc: int
) -> int:
    """Answer the request here. Framing is added by the host, so fields about it are left out.

    So is a body where the status allows none.
    """
    memory = host.memory
    if not (memory.holds(dp, dn) and memory.holds(bp, bn) and memory.holds(hp, hn)):
        return INVALID_MEMORY
    instance = instance_of(host)
    stream = instance.stream
    if stream is None or stream.is_tunnel or stream.over:
        return BAD_ARGUMENT
    call = stream.last_call
    allowed = call.manifest.permissions
    on_request = stream.flow.response is None
    if not (allowed.modify_requests if on_request else allowed.modify_responses):
        return deny(host, "proxy_send_local_response")
    if bn > RESPONSE_BYTES or hn > PAIRS_BYTES:
        return BAD_ARGUMENT
    pairs = unpack_pairs(memory.read(hp, hn) or b"")
    if pairs is None or not 200 <= status <= 599:
        return BAD_ARGUMENT
    fields = [
        field
        for field in pairs
        if field[0].lower() not in rules.PROXY_OWNED and not field[0].startswith(b":")
    ]
    if rules.check_fields(fields) != abi.OK:
        return BAD_ARGUMENT
    body = (memory.read(bp, bn) or b"") if rules.has_body(status) else b""
    headers = Headers(fields)
    if body and b"content-type" not in headers:
        headers.add(b"content-type", b"text/plain")
    if rules.has_body(status):
        headers.add(b"content-length", b"%d" % len(body))
    call.respond_head = ResponseHead(status, rules.standard_reason(status), headers, HTTP_11)
    call.respond_body = body
    stream.local_response = True
    instance.touched.add(stream)
    return OK


def _set_effective(host: HostSide, number: int) -> int:
    instance = instance_of(host)
    if number == ROOT:
        instance.effective = None
        instance.root_chosen = True
        return OK
    stream = instance.streams.get(number)
    if stream is None:
        return BAD_ARGUMENT
    instance.effective = stream
    instance.root_chosen = False
    return OK


def _done(host: HostSide) -> int:
    """The filter has done with a context, which it had wanted kept."""
    instance = instance_of(host)
    stream = instance.stream
    if stream is None or not stream.done or stream.finished:
        return NOT_FOUND  # nobody waits for the plugin's own
    stream.finished = True
    instance.touched.add(stream)
    return OK


_I1: Final[tuple[ValueType, ...]] = ("i32",)
_I8: Final[tuple[ValueType, ...]] = ("i32",) * 8

FUNCTIONS: Final = (
    HostFunction("proxy_continue_stream", 0, _I1, "i32", _continue, pointers=False),
    HostFunction("proxy_close_stream", 0, _I1, "i32", _close, pointers=False),
    # 0.1.0 had one for each direction.
    HostFunction("proxy_continue_request", 0, (), "i32", _continue_request, pointers=False),
    HostFunction("proxy_continue_response", 0, (), "i32", _continue_response, pointers=False),
    HostFunction("proxy_send_local_response", 0, _I8, "i32", _respond),
    HostFunction("proxy_set_effective_context", 0, _I1, "i32", _set_effective, pointers=False),
    HostFunction("proxy_done", 0, (), "i32", _done, pointers=False),
)
