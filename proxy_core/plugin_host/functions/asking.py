"""`host_http_request`: a hook asks another origin, and waits for the whole answer.

Request and answer are text as HTTP/1 writes it: a first line, fields, an empty line, the body. The
last answer is kept for the rest of the hook's call, so that a guest whose buffer was too small
reads it again (with `len` 0) instead of asking twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proxy_core.errors import Int3rceptorError
from proxy_core.exchange.fetch import Fetched
from proxy_core.model.headers import Field, text_of
from proxy_core.model.log_line import LogLevel
from proxy_core.model.message import split_authority
from proxy_core.plugin_host.codes import (
    ABSENT,
    BAD_POINTER,
    NOT_IN_HOOK,
    NOT_PERMITTED,
    OK,
    OVER_LIMIT,
    Hook,
)
from proxy_core.plugin_host.files.reach import covers_host
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide
from proxy_core.plugin_host.functions.long_copies import Copying, give
from proxy_core.plugin_host.hook import edit_rules as rules
from proxy_core.plugin_host.hook.call import HookCall

NAME: Final = "host_http_request"
REQUEST_BYTES: Final = 1024 * 1024
MOST_REQUESTS: Final = 16
"""In one call of a hook."""
_SHOWN: Final = 200
"""Bytes of a request that cannot be sent, in the log."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that may be sent."""

    method: bytes
    url: str
    host: str
    port: int
    fields: tuple[Field, ...]
    body: bytes


def parse_request(text: bytes) -> Asked | int:
    """Read `METHOD SP absolute-URL`, `name: value` lines, an empty line and the body; or a code.

    Lines end with LF or CRLF.
    """
    first, position = _line(text, 0)
    method, space, raw_url = first.partition(b" ")
    parts = rules.split_url(raw_url)
    if not space or not rules.is_method(method) or parts is None:
        return NOT_PERMITTED
    if len(raw_url) > rules.TARGET_BYTES:
        return OVER_LIMIT
    fields: list[Field] = []
    while position < len(text):
        line, position = _line(text, position)
        if not line:
            break
        if len(fields) == rules.HEADER_COUNT:
            return OVER_LIMIT
        name, colon, value = line.partition(b":")
        if not colon:
            return NOT_PERMITTED
        fields.append((name, value.strip(b" \t")))
    code = rules.check_fields(fields)
    if code != OK:
        return code
    scheme, authority, path = parts
    host, port = split_authority(authority, scheme)
    url = f"{scheme}://{text_of(authority)}{text_of(path)}"
    return Asked(method, url, host, port, tuple(fields), text[position:])


def _line(text: bytes, position: int) -> tuple[bytes, int]:
    """Return the line that begins there, and where the next one does."""
    end = text.find(b"\n", position)
    if end < 0:
        end = len(text)
    return text[position:end].removesuffix(b"\r"), end + 1


def write_head(fetched: Fetched) -> bytes:
    """Return `STATUS SP REASON`, the fields and an empty line; lines end with LF."""
    head = fetched.head
    lines = [b"%d %b\n" % (head.status, head.reason)]
    lines += [b"%b: %b\n" % field for field in head.headers]
    return b"".join((*lines, b"\n"))


def _http_request(host: HostSide, ptr: int, length: int, buf: int, cap: int) -> Copying:
    call = host.call
    if call.hook is Hook.START:
        return NOT_IN_HOOK
    if not host.memory.holds(buf, cap):
        return BAD_POINTER
    if not length:
        return ABSENT if call.fetched is None else _put(host, call.fetched, buf, cap)
    if length > REQUEST_BYTES or call.requests_made == MOST_REQUESTS:
        return OVER_LIMIT
    text = host.memory.read(ptr, length)
    if text is None:
        return BAD_POINTER
    asked = parse_request(text)
    if isinstance(asked, int):
        if asked == NOT_PERMITTED:  # as where it is not granted, so that a reader must be told
            begins = text_of(text[:_SHOWN].partition(b"\n")[0])
            why = f"{begins!r} begins no request that can be sent; see docs/plugin-abi.md"
            call.journal.write(LogLevel.WARN, f"{NAME}: {why}", call.flow_id)
        return asked
    granted = call.belongings.permits.granted("network")
    if call.belongings.fetcher is None or not covers_host(granted, asked.host, asked.port):
        return call.deny(NAME)
    call.requests_made += 1
    call.fetched = None
    return _wait(host, call, asked, buf, cap)


async def _wait(host: HostSide, call: HookCall, asked: Asked, buf: int, cap: int) -> int:
    fetcher = call.belongings.fetcher
    assert fetcher is not None
    what = f"{text_of(asked.method)} {asked.url}"
    seconds = call.manifest.limits.deadline_ms / 1000
    try:
        fetched = await fetcher.fetch(asked.method, asked.url, asked.fields, asked.body, seconds)
    except Int3rceptorError as error:
        call.journal.write(LogLevel.WARN, f"{what}: {error}", call.flow_id)
        return ABSENT
    call.journal.write(LogLevel.DEBUG, f"{what}: {fetched.head.status}", call.flow_id)
    call.fetched = (write_head(fetched), fetched.body)
    answer = _put(host, call.fetched, buf, cap)
    return answer if isinstance(answer, int) else await answer


def _put(host: HostSide, fetched: tuple[bytes, bytes], buf: int, cap: int) -> Copying:
    head, body = fetched
    length = len(head) + len(body)
    if length > cap:
        return length if host.memory.holds(buf, cap) else BAD_POINTER
    if not host.memory.write(buf, head):
        return BAD_POINTER
    return give(host.memory, buf + len(head), memoryview(body), length)


ASKING: Final = HostFunction(
    NAME, 1, ("i32", "i32", "i32", "i32"), "i32", _http_request, waits=True
)
