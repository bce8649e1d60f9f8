"""`host_get_field` and `host_set_field`: facts of a flow by number, as text."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from proxy_core.model.connection import Address
from proxy_core.model.flow import FlowKind
from proxy_core.model.message import RequestHead, split_authority
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.plugin_host.codes import ABSENT, NOT_IN_HOOK, NOT_PERMITTED, OK, FieldId, Hook
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.draft import RequestDraft, ResponseDraft
from proxy_core.plugin_host.hook.edit_rules import parse_number


def _own_version() -> bytes:
    try:
        return version("int3rceptor").encode()
    except PackageNotFoundError:  # run from a tree that was never installed
        return b"0"


HOST_VERSION = _own_version()
_REQUEST, _RESPONSE = b"request", b"response"
_COPY = b"message "
_TRAILERS = b" trailers"
_HIGHEST = 999_999_999  # no log has more messages than that

_SETTABLE_ON_REQUEST = {
    FieldId.METHOD: RequestDraft.set_method,
    FieldId.URL: RequestDraft.set_url,
    FieldId.HOST: RequestDraft.set_host,
    FieldId.PORT: RequestDraft.set_port,
    FieldId.SCHEME: RequestDraft.set_scheme,
}
_SETTABLE_ON_RESPONSE = {
    FieldId.STATUS: ResponseDraft.set_status,
    FieldId.REASON: ResponseDraft.set_reason,
}


def read_field(call: HookCall, number: int) -> bytes | int:
    """Return a field's text, or ABSENT or NOT_IN_HOOK."""
    match number:
        case FieldId.CONFIGURATION:
            return call.manifest.config
        case FieldId.HOST_VERSION:
            return HOST_VERSION
        case FieldId.RULE_ID:
            return NOT_IN_HOOK if call.rule_id is None else call.rule_id.encode()
        case FieldId.WEBSOCKET_DIRECTION:
            message = _message(call)
            if message is None:
                return NOT_IN_HOOK
            return b"client" if message.from_client else b"server"
        case FieldId.WEBSOCKET_OPCODE:
            message = _message(call)
            return NOT_IN_HOOK if message is None else b"%d" % message.opcode
        case FieldId.BODY_END:
            return NOT_IN_HOOK if call.piece is None else b"%d" % call.ended
        case FieldId.CLIENT_ADDRESS:
            if call.flow is not None:
                return _address(call.flow.client.peer)
            return NOT_IN_HOOK if call.client is None else _address(call.client.peer)
    if call.hook in (Hook.START, Hook.TICK):
        return NOT_IN_HOOK
    if call.hook is Hook.CONNECT:
        return _read_target(call, number)
    return _read_flow(call, number)


def _message(call: HookCall) -> WebSocketMessage | None:
    """The message at hand, or the copy of one."""
    return call.message if call.copy is None else call.copies[call.copy]


def _read_target(call: HookCall, number: int) -> bytes | int:
    """On a connection there is at most a target, and only once CONNECT has named it."""
    if number not in (FieldId.HOST, FieldId.PORT):
        return NOT_IN_HOOK
    if call.authority is None:
        return ABSENT
    host, port = split_authority(call.authority, "https")
    return host.encode() if number == FieldId.HOST else b"%d" % port


def _read_flow(call: HookCall, number: int) -> bytes | int:
    flow = call.flow
    if flow is None:
        return NOT_IN_HOOK
    draft = call.begun_draft
    request = draft if isinstance(draft, RequestDraft) else flow.request
    response = draft if isinstance(draft, ResponseDraft) else flow.response
    match number:
        case FieldId.METHOD:
            return request.method
        case FieldId.URL:
            return request.url.encode() if isinstance(request, RequestHead) else request.url
        case FieldId.HOST:
            return split_authority(request.authority, request.scheme)[0].encode()
        case FieldId.PORT:
            return b"%d" % split_authority(request.authority, request.scheme)[1]
        case FieldId.SCHEME:
            return request.scheme.encode()
        case FieldId.HTTP_VERSION:
            return flow.request.version.encode()
        case FieldId.FLOW_ID:
            return b"%d" % flow.id
        case FieldId.SERVER_ADDRESS:
            if flow.server is None or flow.server.peer is None:
                return ABSENT
            return _address(flow.server.peer)
        case FieldId.STATUS:
            return ABSENT if response is None else b"%d" % response.status
        case FieldId.REASON:
            return ABSENT if response is None else response.reason
        case FieldId.MESSAGE:
            if call.copy is not None:
                return b"%b%d" % (_COPY, call.copy)
            side = _RESPONSE if call.looks_at_response else _REQUEST
            return side + _TRAILERS if call.trailers else side
    return ABSENT


def write_field(call: HookCall, number: int, text: bytes) -> int:
    """Change a field of the message at hand; OK or a code."""
    if number == FieldId.MESSAGE:
        return _turn(call, text)
    if number in _SETTABLE_ON_REQUEST:
        set_on_request = _SETTABLE_ON_REQUEST[FieldId(number)]
        draft = call.draft
        if not isinstance(draft, RequestDraft):
            return NOT_IN_HOOK
        if not call.manifest.permissions.modify_requests:
            return call.deny("host_set_field")
        draft.also_written += len(text)
        return set_on_request(draft, text)
    if number in _SETTABLE_ON_RESPONSE:
        set_on_response = _SETTABLE_ON_RESPONSE[FieldId(number)]
        draft = call.draft
        if not isinstance(draft, ResponseDraft):
            return NOT_IN_HOOK
        if not call.manifest.permissions.modify_responses:
            return call.deny("host_set_field")
        draft.also_written += len(text)
        return set_on_response(draft, text)
    return NOT_PERMITTED


def _turn(call: HookCall, text: bytes) -> int:
    """Have the functions about headers and bodies be about another message."""
    flow = call.flow
    if flow is None:
        return NOT_IN_HOOK
    if text.startswith(_COPY):
        return _turn_to_copy(call, text)
    if text in (_REQUEST + _TRAILERS, _RESPONSE + _TRAILERS):
        if call.hook is not Hook.CAPTURE:
            return NOT_PERMITTED
        return OK if call.turn_to_trailers(text.startswith(_RESPONSE)) else ABSENT
    if text not in (_REQUEST, _RESPONSE):
        return NOT_PERMITTED
    # What came through a tunnel can be read, though nothing of it has a head.
    headless = call.hook is Hook.CAPTURE and flow.kind is FlowKind.TUNNEL
    if text == _RESPONSE and flow.response is None and not headless:
        return ABSENT
    call.turn_to(text == _RESPONSE)
    return OK


def _turn_to_copy(call: HookCall, text: bytes) -> int:
    if call.hook is not Hook.CAPTURE:
        return NOT_PERMITTED
    number = parse_number(text.removeprefix(_COPY), 0, _HIGHEST)
    if number is None:
        return NOT_PERMITTED
    if number >= len(call.copies):
        return ABSENT
    call.turn_to(False, number)
    return OK


def _address(address: Address) -> bytes:
    host, port = address
    return f"[{host}]:{port}".encode() if ":" in host else f"{host}:{port}".encode()
