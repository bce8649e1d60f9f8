"""Bodies, read and written as streams with a place in them."""

from __future__ import annotations

import enum
from typing import Final

from proxy_core.model.words import counted
from proxy_core.plugin_host.foreign.http_wasm.arguments import (
    need_permission,
    passage_of,
    read,
    refuse,
)
from proxy_core.plugin_host.foreign.http_wasm.fields import check_response_writable
from proxy_core.plugin_host.foreign.http_wasm.passage import WRITTEN_BYTES, Features
from proxy_core.plugin_host.functions.host_side import HostSide

_EOF: Final = 1 << 32


class Kind(enum.IntEnum):
    """Whose body a function is about."""

    REQUEST = 0
    RESPONSE = 1


def read_body(host: HostSide, number: int, at: int, limit: int) -> int:
    """Hand over the next bytes of a body; return `end << 32 | length`."""
    function = "read_body"
    passage = passage_of(host, function)
    kind = _kind(function, number)
    feature = Features.BUFFER_REQUEST if kind is Kind.REQUEST else Features.BUFFER_RESPONSE
    if passage.after_next and feature not in passage.features:
        refuse(function, f"the {kind.name.lower()}'s body has passed; enable {_name(feature)}")
    if not limit:
        refuse(function, "there is no room to read into: its limit is 0")
    if not host.memory.holds(at, limit):
        refuse(function, f"{counted(limit, 'byte')} at {at} outside its memory")
    if kind is Kind.REQUEST or passage.after_next:
        need_permission(host.call, function, "access_bodies")
    body = passage.request_body if kind is Kind.REQUEST else passage.body
    got = body.read(limit)
    if got is None:
        refuse(
            function,
            f"the {kind.name.lower()}'s body is not at hand: it is too large, it streams without "
            "end, or nobody said beforehand that it is wanted",
        )
    piece, ended = got
    host.memory.write(at, piece)
    return (_EOF if ended else 0) | len(piece)


def write_body(host: HostSide, number: int, at: int, length: int) -> int:
    """Put bytes in a body's place, behind those that it put there before."""
    function = "write_body"
    passage = passage_of(host, function)
    call = host.call
    kind = _kind(function, number)
    if kind is Kind.REQUEST:
        if passage.after_next:
            refuse(function, "the request is on its way already")
        need_permission(call, function, "modify_requests")
        need_permission(call, function, "access_bodies")
        body = passage.request_body
    else:
        check_response_writable(call, passage, function)
        if passage.after_next:
            need_permission(call, function, "access_bodies")
        body = passage.body
    piece = read(host, function, "body", at, length, WRITTEN_BYTES)
    if not body.write(piece):
        refuse(function, f"it writes more than {WRITTEN_BYTES} bytes")
    return 0


def _kind(function: str, number: int) -> Kind:
    try:
        return Kind(number)
    except ValueError:
        refuse(function, f"there is no kind {number} of bodies")


def _name(feature: Features) -> str:
    return str(feature.name).lower()
