"""HTTP/1 heads: start line, target and framing of one head (RFC 9112, sections 3-6).

A head is accepted only if every line of it has exactly one reading. What its lines are is in
`http1_fields`, how they frame the body in `http1_framing`; `http1` cuts heads out of the stream and
follows the bodies.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field, Headers
from proxy_core.model.host_names import to_a_labels
from proxy_core.model.message import (
    HTTP_10,
    HTTP_11,
    RequestHead,
    ResponseHead,
    split_authority,
)
from proxy_core.wire.events import (
    UNTIL_CLOSE,
    BodyLength,
    RequestReceived,
    ResponseReceived,
)
from proxy_core.wire.http1_fields import TOKEN, TOKEN_ONLY, fields_of, shown
from proxy_core.wire.http1_framing import Framing

_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/1\.([01])\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")
_ABSOLUTE_FORM = re.compile(rb"(https?)://([^/?]*)(.*)", re.IGNORECASE)
_AUTHORITY = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]+)\]|[A-Za-z0-9\-._~!$&'()*+,;=%\x80-\xff]+)(?::([0-9]{0,5}))?"
)
_OTHER_VERSION = re.compile(rb"HTTP/[0-9](?:\.[0-9]+)?")


def check_authority(authority: bytes) -> None:
    """Refuse what is no `host[:port]` (RFC 9110, section 4.2; RFC 3986, section 3.2)."""
    match = _AUTHORITY.fullmatch(authority)
    if (
        not match
        or (match[1] and not _is_address(match[1]))
        or (match[2] and int(match[2]) > 65535)
    ):
        raise RemoteProtocolError(f"not a host and port: {shown(authority)}")


def _is_address(literal: bytes) -> bool:
    """Whether what stood in brackets is an IPv6 address."""
    try:
        IPv6Address(literal.decode())
    except AddressValueError:
        return False
    return True


_known_good_authority = lru_cache(maxsize=1024)(check_authority)


def _same_authority(one: bytes, other: bytes, scheme: str) -> bool:
    if one == other:
        return True
    (host, port), (other_host, other_port) = (
        split_authority(one, scheme),
        split_authority(other, scheme),
    )
    return port == other_port and host.lower() == other_host.lower()


def _cut(raw: bytes, removable: list[Field] | None) -> bytes | None:
    """Return `raw` without some of its lines, or None where they are not spelled `Name: value`."""
    if removable is None:
        return None
    for field in removable:
        shorter = raw.replace(b"\r\n%b: %b\r\n" % field, b"\r\n", 1)
        if len(shorter) == len(raw):
            return None
        raw = shorter
    return raw


def parse_request_head(raw: bytes, scheme: str, max_count: int, max_target: int) -> RequestReceived:
    """Read a request's head, closing empty line included.

    `scheme` is what an origin-form target means here (`http`, or `https` inside TLS). Raises
    RemoteProtocolError with the status to answer: 400, 414, 431, 501 or 505.
    """
    line = _REQUEST_LINE.match(raw)
    if line is None:
        raise _bad_request_line(raw)
    method, target, minor = line.groups()
    if not target.isascii():
        target = _in_a_labels(method, target, raw)
    if len(target) > max_target:
        raise RemoteProtocolError(
            f"request target of {len(target)} bytes; at most {max_target} pass", 414
        )
    first_line_end = line.end()
    fields = fields_of(raw, first_line_end, max_count)
    framing = Framing(fields)
    http_11 = minor == b"1"
    host = framing.host
    if framing.hosts != 1 and (framing.hosts or http_11):
        raise RemoteProtocolError("Host is given twice" if framing.hosts else "Host is missing")
    if host:
        _known_good_authority(host)
    length = framing.length_of(http_11)

    clean = framing.hosts == 1
    if target[:1] == b"/":
        authority, path = host or b"", target
    elif method == b"CONNECT":
        scheme, authority, path = _connect_target(target)
        if length:  # RFC 9110, section 9.3.6
            raise RemoteProtocolError("CONNECT with a body, which nobody could tell from a tunnel")
    elif absolute := _ABSOLUTE_FORM.fullmatch(target):
        scheme = absolute[1].lower().decode()
        authority = absolute[2]
        path = absolute[3]
        _known_good_authority(authority)
        if path[:1] != b"/":
            path = b"*" if method == b"OPTIONS" and not path else b"/" + path
        if host is None or not _same_authority(authority, host, scheme):
            clean = False
    elif target == b"*" and method == b"OPTIONS":
        authority, path = host or b"", target
    else:
        raise RemoteProtocolError(
            f"request target {shown(target)} has no form that {shown(method)} has"
        )

    if authority[-1:] == b":":  # a port may be left empty (RFC 3986, section 3.2.3)
        authority, clean = authority[:-1], False
    lines = _cut(raw, framing.removable) if clean else None
    return RequestReceived(
        RequestHead(
            method,
            scheme,
            authority,
            path,
            Headers(fields),
            HTTP_11 if http_11 else HTTP_10,
            raw,
        ),
        0 if length is None else length,
        keep_alive=not framing.close and (http_11 or framing.keep_alive),
        upgrade=framing.upgrade_wanted if http_11 else None,
        expect_continue=framing.expect_continue and http_11,
        clean=None if lines is None else lines[first_line_end:],
    )


def _in_a_labels(method: bytes, target: bytes, raw: bytes) -> bytes:
    """Return a target with its host in A-labels; nothing else in it may be beyond ASCII."""
    before, authority, after = b"", target, b""
    if method != b"CONNECT":
        absolute = _ABSOLUTE_FORM.fullmatch(target)
        if absolute is None or not absolute[3].isascii():
            raise _bad_request_line(raw)
        before, authority, after = absolute[1] + b"://", absolute[2], absolute[3]
    check_authority(authority)
    host, colon, port = authority.partition(b":")
    try:
        name = to_a_labels(host.decode()).encode("ascii")
    except ValueError as error:
        raise RemoteProtocolError(f"not a host name: {shown(host)}") from error
    return before + name + colon + port + after


def check_request_line(head: bytes) -> None:
    """Refuse a head whose first line is there and no request line, though the rest is not there.

    Raises RemoteProtocolError as `parse_request_head` does.
    """
    if _REQUEST_LINE.match(head) is None:
        raise _bad_request_line(head)


def _connect_target(target: bytes) -> tuple[str, bytes, bytes]:
    check_authority(target)
    if not target.rpartition(b":")[2].isdigit() or target.endswith(b"]"):
        raise RemoteProtocolError(f"CONNECT wants host:port, not {shown(target)}")
    return "https", target, b""


def _bad_request_line(raw: bytes) -> RemoteProtocolError:
    line = raw.partition(b"\n")[0]
    what = shown(line)
    if not line.endswith(b"\r"):
        return RemoteProtocolError(f"the request line ends in a bare LF: {what}")
    parts = line.removesuffix(b"\r").split(b" ")
    if len(parts) == 3 and _OTHER_VERSION.fullmatch(parts[2]):
        if not parts[2].startswith(b"HTTP/1."):
            return RemoteProtocolError(f"HTTP version not supported: {what}", 505)
        if parts[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
            return RemoteProtocolError(f"HTTP version not supported: {what}", 505)
        if not TOKEN_ONLY.fullmatch(parts[0]):
            return RemoteProtocolError(f"the method is not a token: {what}")
        return RemoteProtocolError(f"a character in the request target that must not be: {what}")
    return RemoteProtocolError(f"not a request line: {what}")


def parse_response_head(raw: bytes, request_method: bytes, max_count: int) -> ResponseReceived:
    """Read a response's head, closing empty line included.

    `request_method` decides with the status whether a body follows (RFC 9112, section 6.3).
    Raises RemoteProtocolError.
    """
    line = _STATUS_LINE.match(raw)
    if line is None:
        first = raw.partition(b"\n")[0]
        what = shown(first)
        if not first.endswith(b"\r"):
            raise RemoteProtocolError(f"the status line ends in a bare LF: {what}", 502)
        raise RemoteProtocolError(f"not an HTTP/1 status line: {what}", 502)
    first_line_end = line.end()
    fields = fields_of(raw, first_line_end, max_count)
    framing = Framing(fields)
    status = int(line[2])
    http_11 = line[1] == b"1"
    length = framing.length_of(http_11)
    if status == 204 and length is not None:
        framing.removable = None  # it must not have a length (RFC 9110, section 8.6)
    lines = _cut(raw, framing.removable)
    keep_alive = not framing.close and (http_11 or framing.keep_alive)
    received = ResponseReceived(
        ResponseHead(status, line[3] or b"", Headers(fields), HTTP_11 if http_11 else HTTP_10, raw),
        _response_length(status, request_method, length),
        keep_alive=keep_alive,
        upgrade=framing.upgrade if status == 101 else None,
        informational=status < 200 and status != 101,
        clean=None if lines is None else lines[first_line_end:],
    )
    if received.length == UNTIL_CLOSE:
        received.keep_alive = False
    return received


def _response_length(status: int, request_method: bytes, length: int | None) -> BodyLength:
    if status < 200 or status in (204, 304) or request_method == b"HEAD":
        return 0
    if request_method == b"CONNECT" and status < 300:
        return 0
    return UNTIL_CLOSE if length is None else length
