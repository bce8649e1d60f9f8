"""What a client speaks, told from its first bytes.

TLS is told by its record header (RFC 8446, section 5.1), HTTP/2 with prior knowledge by its preface
(RFC 9113, section 3.4), HTTP/1 by a whole request line (RFC 9112, section 3): whether its parts are
any good is for the parser to say. Everything else is other people's bytes.
"""

from __future__ import annotations

import enum
import re

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LINE_LIMIT = 64 * 1024
"""A request line that has no end within so many bytes is taken for HTTP/1."""

_METHOD_LIMIT = 32
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_VERSION = re.compile(rb" HTTP/[0-9]\.[0-9][ \t]*\r?\Z")


class Protocol(enum.Enum):
    """What the first bytes of a connection belong to."""

    TLS = "tls"
    HTTP1 = "http/1"
    HTTP2 = "http/2"
    OTHER = "other"


def sniff(data: bytes) -> Protocol | None:
    """Tell the protocol of a connection that began with `data`, or None while undecidable.

    Once decided, more bytes never change the answer. A client that lets the server speak first
    stays undecidable: it is for the caller to stop waiting.
    """
    if data[:1] == b"\x16":
        return _record(data)
    if HTTP2_PREFACE.startswith(data[: len(HTTP2_PREFACE)]):
        return Protocol.HTTP2 if len(data) >= len(HTTP2_PREFACE) else None
    return _request_line(data)


def _record(data: bytes) -> Protocol | None:
    if len(data) > 1 and data[1] != 3:
        return Protocol.OTHER
    if len(data) > 2:
        return Protocol.TLS if data[2] <= 4 else Protocol.OTHER
    return None


def _request_line(data: bytes) -> Protocol | None:
    start = 0
    while start < 4 and data[start : start + 2] == b"\r\n":  # RFC 9112, section 2.2
        start += 2
    window = data[start : start + LINE_LIMIT]
    method = _METHOD.match(window)
    if method is None:
        return None if window in (b"", b"\r") else Protocol.OTHER
    if method.end() > _METHOD_LIMIT:
        return Protocol.OTHER
    rest = window[method.end() :]
    if not rest.startswith(b" "):
        return Protocol.OTHER if rest else None
    line, newline, _ = rest.partition(b"\n")
    if _CONTROL.search(line.removesuffix(b"\r")):
        return Protocol.OTHER
    if newline:
        return Protocol.HTTP1 if _VERSION.search(line) else Protocol.OTHER
    return Protocol.HTTP1 if len(window) == LINE_LIMIT else None
