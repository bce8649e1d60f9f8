"""The imports of module `env` that this version offers, and what each does (docs/plugin-abi.md).

Arguments are unsigned 32-bit numbers. Readers write nothing unless all of it fits, and always
return the full length, so that a plugin needs no allocator.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from proxy_core.model.headers import Headers, text_of
from proxy_core.model.log_line import LogLevel
from proxy_core.model.message import HTTP_11, RequestHead, ResponseHead
from proxy_core.model.words import counted
from proxy_core.plugin_host.codes import (
    ABSENT,
    BAD_POINTER,
    NOT_IN_HOOK,
    NOT_PERMITTED,
    OK,
    OVER_LIMIT,
    Hook,
)
from proxy_core.plugin_host.faults import GuestAborted
from proxy_core.plugin_host.functions import header_block
from proxy_core.plugin_host.functions.asking import ASKING
from proxy_core.plugin_host.functions.body_functions import BODY_FUNCTIONS
from proxy_core.plugin_host.functions.delaying import DELAYING
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide
from proxy_core.plugin_host.functions.keeping import KEEPING
from proxy_core.plugin_host.functions.long_copies import Copying, take
from proxy_core.plugin_host.functions.message_fields import read_field, write_field
from proxy_core.plugin_host.functions.readers import put
from proxy_core.plugin_host.functions.reading import READING
from proxy_core.plugin_host.hook import edit_rules as rules
from proxy_core.plugin_host.hook.call import ANNOTATION_BYTES, HookCall
from proxy_core.plugin_host.hook.draft import Draft
from proxy_core.plugin_host.logs import LINE_BYTES, level_of

NAME_BYTES: Final = rules.HEAD_BYTES
RANDOM_BYTES: Final = 64 * 1024
RESPONSE_BYTES: Final = 16 * 1024 * 1024
_MAY_RESPOND: Final = frozenset({Hook.REQUEST, Hook.RESPONSE, Hook.RULE_MATCH, Hook.REQUEST_CHUNK})
_ANNOTATIONS: Final = frozenset({"comment", "tag", "colour"})


def _log(host: HostSide, level: int, ptr: int, length: int) -> int:
    call = host.call
    raw = host.memory.read(ptr, length if length < LINE_BYTES else LINE_BYTES)
    if raw is None or (length > LINE_BYTES and not host.memory.holds(ptr, length)):
        text = f"host_log: {counted(length, 'byte')} at {ptr} outside its memory"
        call.journal.write(LogLevel.WARN, text, call.flow_id)
        return BAD_POINTER
    text = raw.decode("utf-8", "replace")
    if length > LINE_BYTES:
        text += f"... ({counted(length - LINE_BYTES, 'byte')} more)"
    kept = call.journal.write(level_of(level), text, call.flow_id)
    return OK if kept else OVER_LIMIT


def _memory_size(host: HostSide) -> int:
    return host.memory.pages()


def _abort(host: HostSide, ptr: int, length: int) -> int:
    raw = host.memory.read(ptr, min(length, LINE_BYTES))
    message = "(no message: bad pointer)" if raw is None else raw.decode("utf-8", "replace")
    raise GuestAborted(f"aborted: {message}" if message else "aborted")


def _headers(call: HookCall) -> Headers | None:
    """The fields at hand, with this call's edits."""
    draft = call.begun_draft
    if draft is not None:
        return draft.headers
    head = call.head
    return None if head is None else head.headers


def _editable(call: HookCall, name: str) -> Draft | int:
    draft = call.draft
    if draft is None:
        return NOT_IN_HOOK
    allowed = call.manifest.permissions
    if isinstance(draft.original, RequestHead):
        return draft if allowed.modify_requests else call.deny(name)
    return draft if allowed.modify_responses else call.deny(name)


def _get_header(host: HostSide, np: int, nn: int, buf: int, cap: int) -> int:
    headers = _headers(host.view)
    if headers is None:
        return NOT_IN_HOOK
    if nn > NAME_BYTES:
        return OVER_LIMIT
    name = host.memory.read(np, nn)
    if name is None:
        return BAD_POINTER
    value = headers.joined(name)
    return ABSENT if value is None else put(host, value, buf, cap)


def _get_headers(host: HostSide, buf: int, cap: int) -> int:
    headers = _headers(host.view)
    if headers is None:
        return NOT_IN_HOOK
    return put(host, header_block.pack(headers.fields), buf, cap)


def _set_header(host: HostSide, np: int, nn: int, vp: int, vn: int) -> int:
    draft = _editable(host.call, "host_set_header")
    if isinstance(draft, int):
        return draft
    if nn + vn > rules.HEAD_BYTES:
        return OVER_LIMIT
    name, value = host.memory.read(np, nn), host.memory.read(vp, vn)
    if name is None or value is None:
        return BAD_POINTER
    return draft.set_header(name, value)


def _add_header(host: HostSide, np: int, nn: int, vp: int, vn: int) -> int:
    draft = _editable(host.call, "host_add_header")
    if isinstance(draft, int):
        return draft
    if nn + vn > rules.HEAD_BYTES:
        return OVER_LIMIT
    name, value = host.memory.read(np, nn), host.memory.read(vp, vn)
    if name is None or value is None:
        return BAD_POINTER
    return draft.add_header(name, value)


def _remove_header(host: HostSide, np: int, nn: int) -> int:
    draft = _editable(host.call, "host_remove_header")
    if isinstance(draft, int):
        return draft
    if nn > NAME_BYTES:
        return OVER_LIMIT
    name = host.memory.read(np, nn)
    return BAD_POINTER if name is None else draft.remove_header(name)


def _get_field(host: HostSide, number: int, buf: int, cap: int) -> int:
    value = read_field(host.view, number)
    return value if isinstance(value, int) else put(host, value, buf, cap)


def _set_field(host: HostSide, number: int, ptr: int, length: int) -> int:
    if length > rules.TARGET_BYTES:
        return OVER_LIMIT
    text = host.memory.read(ptr, length)
    return BAD_POINTER if text is None else write_field(host.call, number, text)


def _respond(host: HostSide, status: int, hp: int, hn: int, bp: int, bn: int) -> Copying:
    call = host.call
    if call.hook not in _MAY_RESPOND or call.flow is None or call.message is not None:
        return NOT_IN_HOOK
    allowed = call.manifest.permissions
    if not (allowed.modify_responses if call.on_response_side else allowed.modify_requests):
        return call.deny("host_respond")
    if bn > RESPONSE_BYTES or hn > 2 * rules.HEAD_BYTES:
        return OVER_LIMIT
    block = host.memory.read(hp, hn)
    if block is None or not host.memory.holds(bp, bn):
        return BAD_POINTER
    fields = header_block.unpack(block, rules.HEADER_COUNT)
    if fields is None or not 200 <= status <= 599 or (bn and not rules.has_body(status)):
        return NOT_PERMITTED
    code = rules.check_fields(fields)
    if code != OK:
        return code
    if rules.has_body(status):
        fields.append((b"content-length", b"%d" % bn))
    head = ResponseHead(status, rules.standard_reason(status), Headers(fields), HTTP_11)

    def use(body: bytes) -> int:
        call.respond_head, call.respond_body = head, body
        return OK

    return take(host.memory, bp, bn, use)


def _annotate(host: HostSide, kp: int, kn: int, vp: int, vn: int) -> int:
    call = host.call
    if call.flow is None:
        return NOT_IN_HOOK
    if kn > NAME_BYTES or vn > ANNOTATION_BYTES:
        return OVER_LIMIT
    key, value = host.memory.read(kp, kn), host.memory.read(vp, vn)
    if key is None or value is None:
        return BAD_POINTER
    name = text_of(key)
    if name not in _ANNOTATIONS:
        return NOT_PERMITTED
    if call.annotations is None:
        call.annotations = {}
    call.annotations[name] = value.decode("utf-8", "replace")
    return OK


def _now_ns(host: HostSide) -> int:
    return host.view.belongings.now_ns()


def _random(host: HostSide, buf: int, length: int) -> int:
    if length > RANDOM_BYTES:
        return OVER_LIMIT
    if not host.memory.holds(buf, length):
        return BAD_POINTER
    host.memory.write(buf, host.view.belongings.random_bytes(length))
    return length


def _all(*functions: HostFunction) -> MappingProxyType[str, HostFunction]:
    return MappingProxyType({function.name: function for function in functions})


_I2: Final = ("i32", "i32")
_I3: Final = ("i32", "i32", "i32")
_I4: Final = ("i32", "i32", "i32", "i32")

HOST_FUNCTIONS: Final = _all(
    HostFunction("host_log", 0, _I3, "i32", _log),
    HostFunction("host_get_memory_size", 0, (), "i32", _memory_size, pointers=False),
    HostFunction("host_abort", 0, _I2, "i32", _abort),
    HostFunction("host_get_header", 1, _I4, "i32", _get_header),
    HostFunction("host_get_headers", 1, _I2, "i32", _get_headers),
    HostFunction("host_set_header", 1, _I4, "i32", _set_header),
    HostFunction("host_add_header", 1, _I4, "i32", _add_header),
    HostFunction("host_remove_header", 1, _I2, "i32", _remove_header),
    HostFunction("host_get_field", 1, _I3, "i32", _get_field),
    HostFunction("host_set_field", 1, _I3, "i32", _set_field),
    HostFunction("host_respond", 1, (*_I4, "i32"), "i32", _respond, waits=True),
    HostFunction("host_annotate", 1, _I4, "i32", _annotate),
    HostFunction("host_now_ns", 1, (), "i64", _now_ns, pointers=False),
    HostFunction("host_random", 1, _I2, "i32", _random),
    *BODY_FUNCTIONS,
    DELAYING,
    *KEEPING,
    READING,
    ASKING,
)
"""Every host function by its name."""
