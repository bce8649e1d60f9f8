"""HTTP/1 field lines: one strict pass from bytes to fields, and what their names mean to a proxy.

One expression finds all lines; that their number equals the number of line ends proves that nothing
else was in between: no bare CR or LF, no NUL, no folding, no space before a colon (RFC 9112,
section 5). What is refused is looked at a second time, slowly, to say why.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
"""An expression for a token (RFC 9110, section 5.6.2)."""
TOKEN_ONLY = re.compile(TOKEN)
_FIELD_LINE = re.compile(rb"\n(" + TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)\r(?=\n)")


class FieldKind:
    """Fields that mean something to a proxy; ORDINARY ones just pass.

    Plain numbers: members of an enumeration are slow to get at, and slower to compare.
    """

    ORDINARY: Final = 0
    HOST: Final = 1
    CONTENT_LENGTH: Final = 2
    TRANSFER_ENCODING: Final = 3
    CONNECTION: Final = 4
    UPGRADE: Final = 5
    TE: Final = 6
    EXPECT: Final = 7
    HOP_BY_HOP: Final = 8


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


def shown(raw: bytes, most: int = 60) -> str:
    """Return the beginning of what a peer sent, quoted, for people; of a line without its end."""
    return repr(raw.removesuffix(b"\r")[:most])[1:]


@lru_cache(maxsize=4096)
def field_kind(name: bytes) -> int:
    """Return the FieldKind of a field name in any spelling, (0 is ordinary)."""
    return _KINDS.get(name.lower(), FieldKind.ORDINARY)


def fields_of(raw: bytes, first_line_end: int, max_count: int) -> list[Field]:
    """Return the fields of a head that ends in its empty line, in order, values trimmed.

    `first_line_end` is where its start line has ended. Raises RemoteProtocolError with the status
    to answer: 400, or 431 where there are more than `max_count`.
    """
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
        what = shown(line)
        if line and not line.endswith(b"\r"):
            return f"a header line ends in a bare LF: {what}"
        line = line.removesuffix(b"\r")
        if not line:
            continue
        if line[:1] in b" \t":
            return f"a folded header line (obs-fold): {what}"
        if b"\r" in line:
            return f"a bare CR in a header line: {what}"
        if b"\0" in line:
            return f"a NUL in a header line: {what}"
        name, colon, _ = line.partition(b":")
        if not colon:
            return f"a header line without a colon: {what}"
        if name != name.rstrip(b" \t"):
            return f"white space before the colon of a header: {what}"
        if not TOKEN_ONLY.fullmatch(name):
            return f"a header name that is not a token: {what}"
        if not _FIELD_LINE.match(b"\n" + line + b"\r\n"):
            return f"a control character in a header value: {what}"
    return "a malformed header block"


def parse_fields_strictly(block: bytes, max_count: int) -> list[Field]:
    """Read trailer lines: `block` is zero or more field lines and the empty line, CRLF each."""
    return fields_of(b"\r\n" + block, 2, max_count)
