"""HTTP/1 heads: one strict pass from bytes to fields and framing (RFC 9112, sections 2-6).

A head is accepted only if every line of it has exactly one reading. One expression finds all field
lines; that their number equals the number of line ends proves that nothing else was in between:
no bare CR or LF, no NUL, no folding, no space before a colon. What is refused is looked at a
second time, slowly, to say why. `http1` cuts heads out of the stream and follows the bodies.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import (
    HTTP_10,
    HTTP_11,
    RequestHead,
    ResponseHead,
    split_authority,
)
from proxy_core.wire.events import (
    CHUNKED,
    UNTIL_CLOSE,
    BodyLength,
    RequestReceived,
    ResponseReceived,
)

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TOKEN_ONLY = re.compile(_TOKEN)
_FIELD_LINE = re.compile(rb"\n(" + _TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)\r(?=\n)")
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\r\n")
_ABSOLUTE_FORM = re.compile(rb"(https?)://([^/?]*)(.*)", re.IGNORECASE)
_AUTHORITY = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%\x80-\xff]+)(?::([0-9]{1,5}))?"
)
_CODED_THEN_CHUNKED = re.compile(
    rb"(?:(?!chunked[ \t,;])" + _TOKEN + rb"[ \t]*,[ \t]*)+chunked", re.IGNORECASE
)
_DECIMAL = re.compile(rb"[0-9]{1,18}")
_OTHER_VERSION = re.compile(rb"HTTP/[0-9](?:\.[0-9]+)?")


class FieldKind(enum.IntEnum):
    """Fields that mean something to a proxy; ORDINARY ones just pass."""

    ORDINARY = 0
    HOST = 1
    CONTENT_LENGTH = 2
    TRANSFER_ENCODING = 3
    CONNECTION = 4
    UPGRADE = 5
    TE = 6
    EXPECT = 7
    HOP_BY_HOP = 8


_KINDS = {
    b"host": FieldKind.HOST,
    b"content-length": FieldKind.CONTENT_LENGTH,
    b"transfer-encoding": FieldKind.TRANSFER_ENCODING,
    b"connection": FieldKind.CONNECTION,
    b"upgrade": FieldKind.UPGRADE,
    b"te": FieldKind.TE,
    b"expect": FieldKind.EXPECT,
    b"keep-alive": FieldKind.HOP_BY_HOP,
    b"proxy-connection": FieldKind.HOP_BY_HOP,
    b"proxy-authorization": FieldKind.HOP_BY_HOP,
    b"proxy-authenticate": FieldKind.HOP_BY_HOP,
    b"proxy-authentication-info": FieldKind.HOP_BY_HOP,
    b"http2-settings": FieldKind.HOP_BY_HOP,
}


@lru_cache(maxsize=4096)
def field_kind(name: bytes) -> int:
    """Return the FieldKind of a field name in any spelling, as a plain int (0 is ordinary)."""
    return int(_KINDS.get(name.lower(), FieldKind.ORDINARY))


_HOST = int(FieldKind.HOST)
_CONTENT_LENGTH = int(FieldKind.CONTENT_LENGTH)
_TRANSFER_ENCODING = int(FieldKind.TRANSFER_ENCODING)
_CONNECTION = int(FieldKind.CONNECTION)
_UPGRADE = int(FieldKind.UPGRADE)
_EXPECT = int(FieldKind.EXPECT)


class _Framing:
    """What the special fields of one head say, gathered in one walk."""

    __slots__ = (
        "close",
        "content_length",
        "expect_continue",
        "host",
        "hosts",
        "keep_alive",
        "removable",
        "transfer_encoding",
        "upgrade",
        "upgrade_asked",
    )

    def __init__(self, fields: list[Field]) -> None:
        self.host: bytes | None = None
        self.hosts = 0
        self.content_length: int | None = None
        self.transfer_encoding: bytes | None = None
        self.close = False
        self.keep_alive = False
        self.upgrade: bytes | None = None
        self.upgrade_asked = False
        self.expect_continue = False
        self.removable: list[Field] | None = []
        """Lines to cut out before the head may go on; None where the head must be rebuilt."""
        for field in fields:
            kind = field_kind(field[0])
            if kind:
                self._note(kind, field)

    def _note(self, kind: int, field: Field) -> None:
        value = field[1]
        if kind == _HOST:
            self.host = value
            self.hosts += 1
        elif kind == _CONTENT_LENGTH:
            if self.content_length is not None:
                raise RemoteProtocolError("Content-Length is given twice")
            if not _DECIMAL.fullmatch(value):
                raise RemoteProtocolError(f"Content-Length is not a number: {value[:40]!r}")
            self.content_length = int(value)
            if value[:1] == b"0" and len(value) > 1:
                self.removable = None  # somebody might read it as octal
        elif kind == _CONNECTION:
            self._note_connection(field)
        elif kind == _TRANSFER_ENCODING:
            if self.transfer_encoding is not None:
                raise RemoteProtocolError("Transfer-Encoding is given twice")
            self.transfer_encoding = value.lower()
            self.removable = None
        elif kind == _EXPECT:
            self.expect_continue = value.lower() == b"100-continue"
        elif kind == _UPGRADE:
            self.upgrade = value
            self.removable = None
        elif kind == FieldKind.HOP_BY_HOP:
            if self.removable is not None:
                self.removable.append(field)
        else:  # TE
            self.removable = None

    def _note_connection(self, field: Field) -> None:
        option = field[1].lower()
        if option == b"keep-alive":
            self.keep_alive = True
        elif option == b"close":
            self.close = True
        else:
            self.removable = None
            for part in option.split(b","):
                token = part.strip(b" \t")
                self.close |= token == b"close"
                self.keep_alive |= token == b"keep-alive"
                self.upgrade_asked |= token == b"upgrade"
        if self.removable is not None:
            self.removable.append(field)

    def length_of(self, http_11: bool) -> int | None:
        """Return CHUNKED, a count, or None where neither field is there."""
        if self.transfer_encoding is None:
            return self.content_length
        if self.content_length is not None:
            raise RemoteProtocolError("both Content-Length and Transfer-Encoding are given")
        if not http_11:
            raise RemoteProtocolError("Transfer-Encoding in an HTTP/1.0 message")
        if self.transfer_encoding != b"chunked":
            if not _CODED_THEN_CHUNKED.fullmatch(self.transfer_encoding):
                # Where such a body ends cannot be known (RFC 9112, section 6.3, item 4).
                raise RemoteProtocolError(
                    f"transfer coding {self.transfer_encoding[:40]!r} does not end in one chunked"
                )
            raise RemoteProtocolError(
                f"transfer coding {self.transfer_encoding[:40]!r} is not supported;"
                " only chunked is",
                501,
            )
        return CHUNKED


def _fields_of(raw: bytes, first_line_end: int, max_count: int) -> list[Field]:
    fields: list[Field] = _FIELD_LINE.findall(raw, first_line_end - 1)
    if raw.count(b"\n") != len(fields) + 2:
        raise RemoteProtocolError(_why_malformed(raw[first_line_end:]))
    if len(fields) > max_count:
        raise RemoteProtocolError(f"{len(fields)} header fields; at most {max_count} pass", 431)
    if b" \r" in raw or b"\t\r" in raw:
        fields = [(name, value.rstrip(b" \t")) for name, value in fields]
    return fields


def _why_malformed(block: bytes) -> str:
    """Say what is wrong with a block of field lines that is known to be malformed."""
    for line in block.split(b"\n"):
        shown = repr(line[:60])[1:]
        if line and not line.endswith(b"\r"):
            return f"a header line ends in a bare LF: {shown}"
        line = line.removesuffix(b"\r")
        if not line:
            continue
        if line[:1] in b" \t":
            return f"a folded header line (obs-fold): {shown}"
        if b"\r" in line:
            return f"a bare CR in a header line: {shown}"
        if b"\0" in line:
            return f"a NUL in a header line: {shown}"
        name, colon, _ = line.partition(b":")
        if not colon:
            return f"a header line without a colon: {shown}"
        if name != name.rstrip(b" \t"):
            return f"white space before the colon of a header: {shown}"
        if not _TOKEN_ONLY.fullmatch(name):
            return f"a header name that is not a token: {shown}"
        if not _FIELD_LINE.match(b"\n" + line + b"\r\n"):
            return f"a control character in a header value: {shown}"
    return "a malformed header block"


def parse_fields_strictly(block: bytes, max_count: int) -> list[Field]:
    """Read trailer lines: `block` is zero or more field lines and the empty line, CRLF each."""
    return _fields_of(b"\r\n" + block, 2, max_count)


def check_authority(authority: bytes) -> None:
    """Refuse what is no `host[:port]` (RFC 9110, section 4.2; RFC 3986, section 3.2)."""
    match = _AUTHORITY.fullmatch(authority)
    if not match or (match[1] and int(match[1]) > 65535):
        raise RemoteProtocolError(f"not a host and port: {authority[:80]!r}")


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
    if len(target) > max_target:
        raise RemoteProtocolError(
            f"request target of {len(target)} bytes; at most {max_target} pass", 414
        )
    first_line_end = line.end()
    fields = _fields_of(raw, first_line_end, max_count)
    framing = _Framing(fields)
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
        length = None
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
        raise RemoteProtocolError(f"request target {target[:80]!r} has no form that {method!r} has")

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
        upgrade=framing.upgrade if framing.upgrade_asked and http_11 else None,
        expect_continue=framing.expect_continue and http_11,
        clean=None if lines is None else lines[first_line_end:],
    )


def _connect_target(target: bytes) -> tuple[str, bytes, bytes]:
    check_authority(target)
    if not target.rpartition(b":")[2].isdigit() or target.endswith(b"]"):
        raise RemoteProtocolError(f"CONNECT wants host:port, not {target[:80]!r}")
    return "https", target, b""


def _bad_request_line(raw: bytes) -> RemoteProtocolError:
    line = raw.partition(b"\n")[0]
    shown = repr(line[:80])[1:]
    if not line.endswith(b"\r"):
        return RemoteProtocolError(f"the request line ends in a bare LF: {shown}")
    parts = line.removesuffix(b"\r").split(b" ")
    if len(parts) == 3 and _OTHER_VERSION.fullmatch(parts[2]):
        if not parts[2].startswith(b"HTTP/1."):
            return RemoteProtocolError(f"HTTP version not supported: {shown}", 505)
        if parts[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
            return RemoteProtocolError(f"HTTP version not supported: {shown}", 505)
        if not _TOKEN_ONLY.fullmatch(parts[0]):
            return RemoteProtocolError(f"the method is not a token: {shown}")
        return RemoteProtocolError(f"a character in the request target that must not be: {shown}")
    return RemoteProtocolError(f"not a request line: {shown}")


def parse_response_head(raw: bytes, request_method: bytes, max_count: int) -> ResponseReceived:
    """Read a response's head, closing empty line included.

    `request_method` decides with the status whether a body follows (RFC 9112, section 6.3).
    Raises RemoteProtocolError.
    """
    line = _STATUS_LINE.match(raw)
    if line is None:
        first = raw.partition(b"\n")[0]
        shown = repr(first[:80])[1:]
        if not first.endswith(b"\r"):
            raise RemoteProtocolError(f"the status line ends in a bare LF: {shown}", 502)
        raise RemoteProtocolError(f"not an HTTP/1 status line: {shown}", 502)
    first_line_end = line.end()
    fields = _fields_of(raw, first_line_end, max_count)
    framing = _Framing(fields)
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
