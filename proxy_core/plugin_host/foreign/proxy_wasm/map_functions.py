"""`proxy_*_header_map_*`: which map a filter means, and what it does to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from proxy_core.model.headers import Field
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
    Map,
    StreamType,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import (
    Instance,
    Stream,
    instance_of,
)
from proxy_core.plugin_host.foreign.proxy_wasm.header_maps import (
    FixedMap,
    HeaderMap,
    TrailerMap,
    editable,
    read_only,
)
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import (
    deny,
    give,
    give_u32,
    pack_pairs,
    unpack_pairs,
)
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide, ValueType
from proxy_core.plugin_host.hook import edit_rules as rules
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.draft import RequestDraft, ResponseDraft

PAIRS_BYTES: Final = 1024 * 1024
"""A serialised map as filters may pass it."""


def resolve(instance: Instance, number: int) -> HeaderMap | None:
    """Return the map that is at hand under this number, or None."""
    answer = instance.answer
    if number in (Map.CALL_HEADERS, Map.CALL_TRAILERS):
        if answer is None:
            return None
        return FixedMap(answer.headers if number == Map.CALL_HEADERS else answer.trailers)
    stream = instance.stream
    if stream is None or stream.is_tunnel:
        return None
    match number:
        case Map.REQUEST_HEADERS:
            return _headers(stream.request_call, stream.flow.request)
        case Map.RESPONSE_HEADERS:
            return _response_headers(stream)
        case Map.REQUEST_TRAILERS:
            return _trailers(stream, StreamType.REQUEST)
        case Map.RESPONSE_TRAILERS:
            return _trailers(stream, StreamType.RESPONSE)
    return None


def count_fields(stream: Stream, number: Map) -> int:
    """Return how many fields a map of this stream has."""
    if number is Map.REQUEST_HEADERS:
        found = _headers(stream.request_call, stream.flow.request)
    else:
        found = _response_headers(stream)
    return 0 if found is None else len(found.pairs())


def _response_headers(stream: Stream) -> HeaderMap | None:
    own = stream.own_response
    if own is not None:
        return editable(own, stream.last_call.manifest.permissions.modify_responses)
    return _headers(stream.response_call, stream.flow.response)


def _headers(
    call: HookCall | None, otherwise: RequestHead | ResponseHead | None
) -> HeaderMap | None:
    if call is not None:
        allowed, draft = call.manifest.permissions, call.draft
        if isinstance(draft, RequestDraft):
            return editable(draft, allowed.modify_requests)
        if isinstance(draft, ResponseDraft):
            return editable(draft, allowed.modify_responses)
    return None if otherwise is None else read_only(otherwise)


def _trailers(stream: Stream, of: StreamType) -> HeaderMap | None:
    is_request = of is StreamType.REQUEST
    if stream.over:
        body = stream.flow.request_body if is_request else stream.flow.response_body
        return FixedMap(body.trailers or [])
    fields = stream.sides[of].trailers
    if fields is None:
        return None
    permissions = stream.last_call.manifest.permissions
    if permissions.modify_requests if is_request else permissions.modify_responses:
        return TrailerMap(fields)
    return FixedMap(fields, INTERNAL_FAILURE)


def _at_hand(host: HostSide, number: int) -> HeaderMap | int:
    """Return the map, or the status for why there is none."""
    if number > Map.CALL_TRAILERS:
        return BAD_ARGUMENT
    instance = instance_of(host)
    found = resolve(instance, number)
    if found is not None:
        return found
    stream = instance.stream
    if stream is not None and stream.over:
        return FixedMap([])  # a flow that ended early has no response, and filters log that
    return BAD_ARGUMENT


def _get_value(
    host: HostSide, number: int, np: int, nn: int, address_at: int, length_at: int
) -> int:
    found = _at_hand(host, number)
    if isinstance(found, int):
        return found
    name = host.memory.read(np, nn) if nn <= rules.HEAD_BYTES else b""
    if name is None or not host.memory.holds(np, nn):
        return INVALID_MEMORY
    value = found.get(name)
    if value is None:
        if instance_of(host).version > (0, 1, 0):
            return NOT_FOUND
        value = b""  # 0.1.0 cannot tell absent from empty
    return give(host, value, address_at, length_at)


def _get_pairs(host: HostSide, number: int, address_at: int, length_at: int) -> int:
    found = _at_hand(host, number)
    if isinstance(found, int):
        return found
    return give(host, pack_pairs(found.pairs()), address_at, length_at)


def _get_size(host: HostSide, number: int, at: int) -> int:
    found = _at_hand(host, number)
    if isinstance(found, int):
        return found
    return give_u32(host, len(pack_pairs(found.pairs())), at)


def _counted(host: HostSide, status: int, name: str) -> int:
    """Take note of a write that the plugin's permissions do not allow."""
    return deny(host, name) if status == INTERNAL_FAILURE else status


def _set_pairs(host: HostSide, number: int, ptr: int, length: int) -> int:
    found = _at_hand(host, number)
    if isinstance(found, int):
        return found
    if not host.memory.holds(ptr, length):
        return INVALID_MEMORY
    if length > PAIRS_BYTES:
        return BAD_ARGUMENT
    pairs = unpack_pairs(host.memory.read(ptr, length) or b"")
    if pairs is None:
        return BAD_ARGUMENT
    return _counted(host, found.set_all(pairs), "proxy_set_header_map_pairs")


def _field(host: HostSide, np: int, nn: int, vp: int, vn: int) -> Field | int:
    if not (host.memory.holds(np, nn) and host.memory.holds(vp, vn)):
        return INVALID_MEMORY
    if nn + vn > rules.HEAD_BYTES:
        return BAD_ARGUMENT
    return host.memory.read(np, nn) or b"", host.memory.read(vp, vn) or b""


def _writer(name: str, method: Callable[[HeaderMap, bytes, bytes], int]) -> HostFunction:
    def run(host: HostSide, number: int, np: int, nn: int, vp: int, vn: int) -> int:
        found = _at_hand(host, number)
        if isinstance(found, int):
            return found
        field = _field(host, np, nn, vp, vn)
        return field if isinstance(field, int) else _counted(host, method(found, *field), name)

    return HostFunction(name, 0, _I5, "i32", run)


def _remove(host: HostSide, number: int, np: int, nn: int) -> int:
    found = _at_hand(host, number)
    if isinstance(found, int):
        return found
    if not host.memory.holds(np, nn):
        return INVALID_MEMORY
    if nn > rules.HEAD_BYTES:
        return OK  # no field has such a name
    status = found.remove(host.memory.read(np, nn) or b"")
    return _counted(host, status, "proxy_remove_header_map_value")


_I3: Final[tuple[ValueType, ...]] = ("i32",) * 3
_I5: Final[tuple[ValueType, ...]] = ("i32",) * 5

FUNCTIONS: Final = (
    HostFunction("proxy_get_header_map_size", 0, ("i32", "i32"), "i32", _get_size),
    HostFunction("proxy_get_header_map_pairs", 0, _I3, "i32", _get_pairs),
    HostFunction("proxy_set_header_map_pairs", 0, _I3, "i32", _set_pairs),
    HostFunction("proxy_get_header_map_value", 0, _I5, "i32", _get_value),
    _writer("proxy_add_header_map_value", lambda found, n, v: found.add(n, v)),
    _writer("proxy_replace_header_map_value", lambda found, n, v: found.replace(n, v)),
    HostFunction("proxy_remove_header_map_value", 0, _I3, "i32", _remove),
)
