"""The first line of a message, and who sent it."""

from __future__ import annotations

from proxy_core.model.message import HTTP_2
from proxy_core.plugin_host.codes import FieldId
from proxy_core.plugin_host.foreign.http_wasm.arguments import (
    answer,
    check,
    need_permission,
    passage_of,
    read,
    refuse,
)
from proxy_core.plugin_host.foreign.http_wasm.fields import check_response_writable
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.functions.message_fields import read_field
from proxy_core.plugin_host.hook import edit_rules as rules
from proxy_core.plugin_host.hook.draft import RequestDraft


def get_method(host: HostSide, at: int, limit: int) -> int:
    """Tell the request's method."""
    return answer(host, "get_method", _field(host, "get_method", FieldId.METHOD), at, limit)


def set_method(host: HostSide, at: int, length: int) -> int:
    """Change the request's method."""
    draft = _request(host, "set_method")
    method = read(host, "set_method", "method", at, length, rules.TARGET_BYTES)
    check("set_method", draft.set_method(method), method)
    return 0


def get_uri(host: HostSide, at: int, limit: int) -> int:
    """Tell path and query, as they are written on the wire."""
    passage_of(host, "get_uri")
    call = host.call
    if call.flow is None:
        refuse("get_uri", "there is no request")
    draft = call.begun_draft
    path = draft.path if isinstance(draft, RequestDraft) else call.flow.request.path
    return answer(host, "get_uri", path or b"/", at, limit)


def set_uri(host: HostSide, at: int, length: int) -> int:
    """Change path and query; nothing stands for `/`."""
    draft = _request(host, "set_uri")
    path = read(host, "set_uri", "uri", at, length, rules.TARGET_BYTES) or b"/"
    check("set_uri", draft.set_path(path), path)
    return 0


def get_protocol_version(host: HostSide, at: int, limit: int) -> int:
    """Tell the version that the client speaks."""
    function = "get_protocol_version"
    version = _field(host, function, FieldId.HTTP_VERSION)
    if version == HTTP_2.encode():
        version = b"HTTP/2.0"
    return answer(host, function, version, at, limit)


def get_source_addr(host: HostSide, at: int, limit: int) -> int:
    """Tell the client's address and port."""
    function = "get_source_addr"
    return answer(host, function, _field(host, function, FieldId.CLIENT_ADDRESS), at, limit)


def get_status_code(host: HostSide) -> int:
    """Return the response's status; 200 before there is one."""
    return passage_of(host, "get_status_code").response.status


def set_status_code(host: HostSide, status: int) -> int:
    """Change the response's status."""
    function = "set_status_code"
    passage = passage_of(host, function)
    check_response_writable(host.call, passage, function)
    if passage.after_next:
        raw = b"%d" % status
        check(function, passage.response.set_status(raw), raw)
    elif 200 <= status <= 599:
        passage.made.status = status
        passage.made.reason = rules.standard_reason(status)
    else:
        refuse(function, f"{status} is no status of a response; they are 200 to 599")
    return 0


def _field(host: HostSide, function: str, field: FieldId) -> bytes:
    passage_of(host, function)
    value = read_field(host.call, field)
    if isinstance(value, int):
        refuse(function, "there is no request")
    return value


def _request(host: HostSide, function: str) -> RequestDraft:
    passage = passage_of(host, function)
    if passage.after_next:
        refuse(function, "the request is on its way already")
    need_permission(host.call, function, "modify_requests")
    draft = host.call.draft
    if not isinstance(draft, RequestDraft):
        refuse(function, "there is no request to edit")
    return draft
