"""The fields of messages: headers and trailers, of the request and of the response."""

from __future__ import annotations

import enum
from typing import Final

from proxy_core.model.headers import Field, text_of
from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.foreign.http_wasm.arguments import (
    answer_list,
    check,
    need_permission,
    passage_of,
    read,
    refuse,
)
from proxy_core.plugin_host.foreign.http_wasm.passage import Features, Passage
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.hook import edit_rules as rules
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.draft import Draft, RequestDraft

NAME_BYTES: Final = rules.HEAD_BYTES
_HOST: Final = b"host"


class Kind(enum.IntEnum):
    """Which fields a function is about."""

    REQUEST = 0
    RESPONSE = 1
    REQUEST_TRAILERS = 2
    RESPONSE_TRAILERS = 3


def get_header_names(host: HostSide, number: int, at: int, limit: int) -> int:
    """Tell each name once, in lower case, in the order in which they came."""
    passage = passage_of(host, "get_header_names")
    fields = _readable(host.call, passage, _kind("get_header_names", number))
    names = list(dict.fromkeys(name.lower() for name, _ in fields))
    return answer_list(host, "get_header_names", names, at, limit)


def get_header_values(host: HostSide, number: int, np: int, nn: int, at: int, limit: int) -> int:
    """Tell every value of a name."""
    function = "get_header_values"
    passage = passage_of(host, function)
    kind = _kind(function, number)
    name = _name(host, function, np, nn).lower()
    fields = _readable(host.call, passage, kind)
    values = [value for key, value in fields if key.lower() == name]
    return answer_list(host, function, values, at, limit)


def set_header_value(host: HostSide, number: int, np: int, nn: int, vp: int, vn: int) -> int:
    """Make a value the only one of a name."""
    function = "set_header_value"
    draft = _writable(host, function, number)
    name = _name(host, function, np, nn)
    value = read(host, function, "value", vp, vn, rules.HEAD_BYTES)
    if not _is_the_proxys(host, function, name):
        check(function, draft.set_header(name, value), b"%b: %b" % (name, value))
    return 0


def add_header_value(host: HostSide, number: int, np: int, nn: int, vp: int, vn: int) -> int:
    """Add a value to those of a name."""
    function = "add_header_value"
    draft = _writable(host, function, number)
    name = _name(host, function, np, nn)
    value = read(host, function, "value", vp, vn, rules.HEAD_BYTES)
    if not _is_the_proxys(host, function, name):
        check(function, draft.add_header(name, value), b"%b: %b" % (name, value))
    return 0


def remove_header(host: HostSide, number: int, np: int, nn: int) -> int:
    """Take every value of a name away."""
    function = "remove_header"
    draft = _writable(host, function, number)
    name = _name(host, function, np, nn)
    if not _is_the_proxys(host, function, name):
        check(function, draft.remove_header(name), name)
    return 0


def _kind(function: str, number: int) -> Kind:
    try:
        return Kind(number)
    except ValueError:
        refuse(function, f"there is no kind {number} of fields")


def _name(host: HostSide, function: str, at: int, length: int) -> bytes:
    if not length:
        refuse(function, "its name is empty")
    return read(host, function, "name", at, length, NAME_BYTES)


def _readable(call: HookCall, passage: Passage, kind: Kind) -> list[Field]:
    match kind:
        case Kind.REQUEST:
            return _request_fields(call)
        case Kind.RESPONSE:
            return passage.response.headers.fields
        case Kind.REQUEST_TRAILERS:
            trailers = passage.request_trailers
        case Kind.RESPONSE_TRAILERS:
            trailers = passage.response_trailers
    if trailers is None or Features.TRAILERS not in passage.features:
        return []
    return trailers.headers.fields


def _request_fields(call: HookCall) -> list[Field]:
    """HTTP/2 says the host elsewhere (RFC 9113, section 8.3.1); a handler asks for it here."""
    flow = call.flow
    if flow is None:
        return []
    draft = call.begun_draft
    request = draft if isinstance(draft, RequestDraft) else flow.request
    fields = request.headers.fields
    if any(name.lower() == _HOST for name, _ in fields):
        return fields
    return [(_HOST, request.authority), *fields]


def _writable(host: HostSide, function: str, number: int) -> Draft:
    passage = passage_of(host, function)
    call = host.call
    kind = _kind(function, number)
    if kind in (Kind.REQUEST, Kind.REQUEST_TRAILERS):
        if passage.after_next:
            refuse(function, "the request is on its way already")
        need_permission(call, function, "modify_requests")
        draft = call.draft if kind is Kind.REQUEST else passage.request_trailers
    else:
        check_response_writable(call, passage, function)
        draft = passage.response if kind is Kind.RESPONSE else passage.response_trailers
    if kind in (Kind.REQUEST_TRAILERS, Kind.RESPONSE_TRAILERS):
        if Features.TRAILERS not in passage.features:
            refuse(function, "it has not enabled the feature trailers")
        if draft is None:
            refuse(function, "the message's trailers are not at hand before its body has passed")
    if draft is None:
        refuse(function, "there is no message to edit")
    return draft


def check_response_writable(call: HookCall, passage: Passage, function: str) -> None:
    """Trap where a handler may not write to the response now."""
    if not passage.after_next:
        need_permission(call, function, "modify_requests")
        return
    if Features.BUFFER_RESPONSE not in passage.features:
        refuse(function, "the response is not its own, and it has not enabled buffer_response")
    need_permission(call, function, "modify_responses")


def _is_the_proxys(host: HostSide, function: str, name: bytes) -> bool:
    """Whether a field belongs to the proxy: writing it changes nothing, and is told once.

    Handlers set content-length beside a body out of habit; it follows by itself here.
    """
    lowered = name.lower()
    if lowered not in rules.PROXY_OWNED:
        return False
    told = host.state.told
    if lowered not in told:
        told.add(lowered)
        text = f"{function}: {text_of(lowered)} is the proxy's own field and stays as it is"
        level = LogLevel.DEBUG if lowered == b"content-length" else LogLevel.WARN
        host.call.journal.write(level, text, host.call.flow_id)
    return True
