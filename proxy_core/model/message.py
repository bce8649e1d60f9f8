"""Heads of requests and responses, and what was captured of a body.

A head keeps the bytes it came as (`raw`) and its fields; `compact` drops the fields of a finished
flow, which are read again from `raw` when somebody looks. That makes a stored flow half as large.
For HTTP/2, where the wire carries HPACK, `raw` is the same head written as lines, pseudo-header
fields first (RFC 9113, section 8.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from proxy_core.model.headers import Field, Headers, text_of

_FIELD_LINE = re.compile(rb"\n(:?[^:\r\n]+):[ \t]*([^\r\n]*)")

HTTP_10 = "HTTP/1.0"
HTTP_11 = "HTTP/1.1"
HTTP_2 = "HTTP/2"


def parse_fields(raw: bytes) -> list[Field]:
    """Read the field lines back from a head that was accepted before; pseudo-headers left out."""
    return [
        (name, value.rstrip(b" \t"))
        for name, value in _FIELD_LINE.findall(raw)
        if not name.startswith(b":")
    ]


def lines_of(fields: Iterable[Field]) -> bytes:
    """Render fields as the lines of a head."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


class _Head:
    """What request and response heads share: the raw bytes and the lazily parsed fields."""

    __slots__ = ("_headers", "_raw", "version")

    _headers: Headers | None
    _raw: bytes | None
    version: str

    @property
    def headers(self) -> Headers:
        """The fields in wire order. Treat them as read-only: edits go through `replace`."""
        if self._headers is None:
            self._headers = Headers(parse_fields(self.raw))
        return self._headers

    @property
    def fields(self) -> list[Field]:
        """The fields, read-only; of a compacted head they are read again and not kept."""
        return parse_fields(self.raw) if self._headers is None else self._headers.fields

    @property
    def raw(self) -> bytes:
        """The head as on the wire, closing empty line included; rendered where it was edited."""
        if self._raw is None:
            self._raw = self._start_line() + lines_of(self._headers or ()) + b"\r\n"
        return self._raw

    @property
    def raw_size(self) -> int:
        """How many bytes `raw` has."""
        raw = self._raw
        return len(self.raw if raw is None else raw)

    def compact(self) -> None:
        """Keep only `raw`; `headers` is parsed again on demand."""
        if self._raw is None:
            self._raw = self.raw
        self._headers = None

    def gained_over(self, old: _Head) -> tuple[list[Field], bytes] | None:
        """Return what stands behind the fields of `old`, as fields and as lines.

        None where this head was not made of `old` by `gaining` alone.
        """
        return None

    def _start_line(self) -> bytes:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.raw!r})"


class RequestHead(_Head):
    """The head of a request.

    `method`, `authority` (host, and port where it is not the scheme's) and `path` (origin-form
    target with query, or `*`) are raw bytes; `scheme` is `http` or `https`; `version` is one of
    HTTP_10, HTTP_11 and HTTP_2. For CONNECT, `path` is empty (RFC 9110, section 7.1).
    """

    __slots__ = ("authority", "method", "path", "scheme")

    def __init__(
        self,
        method: bytes,
        scheme: str,
        authority: bytes,
        path: bytes,
        headers: Headers | None = None,
        version: str = HTTP_11,
        raw: bytes | None = None,
    ) -> None:
        """Give `headers`, `raw` or both; the one left out is derived from the other."""
        self.method = method
        self.scheme = scheme
        self.authority = authority
        self.path = path
        self.version = version
        self._raw = raw
        self._headers = Headers() if headers is None and raw is None else headers

    @property
    def url(self) -> str:
        """The absolute URL, decoded for people."""
        return f"{self.scheme}://{text_of(self.authority)}{text_of(self.path)}"

    @property
    def host(self) -> str:
        """The authority's host without port and without brackets."""
        return split_authority(self.authority, self.scheme)[0]

    @property
    def port(self) -> int:
        """The authority's port; the scheme's default where it names none."""
        return split_authority(self.authority, self.scheme)[1]

    def replace(
        self,
        *,
        method: bytes | None = None,
        scheme: str | None = None,
        authority: bytes | None = None,
        path: bytes | None = None,
        headers: Headers | None = None,
    ) -> RequestHead:
        """Return a new head with some parts changed; `raw` is rendered anew."""
        return RequestHead(
            self.method if method is None else method,
            self.scheme if scheme is None else scheme,
            self.authority if authority is None else authority,
            self.path if path is None else path,
            self.headers.copy() if headers is None else headers,
            self.version,
        )

    def gaining(self, added: list[Field], lines: bytes | None = None) -> RequestHead:
        """Return the head with `added`, which are `lines` of it, behind its fields."""
        return _GainedRequest(self, added, lines_of(added) if lines is None else lines)

    def _start_line(self) -> bytes:
        if self.version == HTTP_2:
            return b":method: %b\r\n:scheme: %b\r\n:authority: %b\r\n:path: %b\r\n" % (
                self.method,
                self.scheme.encode(),
                self.authority,
                self.path,
            )
        target = self.authority if self.method == b"CONNECT" else self.path
        return b"%b %b %b\r\n" % (self.method, target, self.version.encode())


class ResponseHead(_Head):
    """The head of a response: `status`, `reason` (may be empty) and the fields.

    `status` is 100-999: what is above 599 has no meaning, but is sent (RFC 9110, section 15).
    """

    __slots__ = ("reason", "status")

    def __init__(
        self,
        status: int,
        reason: bytes = b"",
        headers: Headers | None = None,
        version: str = HTTP_11,
        raw: bytes | None = None,
    ) -> None:
        """Give `headers`, `raw` or both; the one left out is derived from the other."""
        self.status = status
        self.reason = reason
        self.version = version
        self._raw = raw
        self._headers = Headers() if headers is None and raw is None else headers

    def replace(
        self,
        *,
        status: int | None = None,
        reason: bytes | None = None,
        headers: Headers | None = None,
    ) -> ResponseHead:
        """Return a new head with some parts changed; `raw` is rendered anew."""
        return ResponseHead(
            self.status if status is None else status,
            self.reason if reason is None else reason,
            self.headers.copy() if headers is None else headers,
            self.version,
        )

    def gaining(self, added: list[Field], lines: bytes | None = None) -> ResponseHead:
        """Return the head with `added`, which are `lines` of it, behind its fields."""
        return _GainedResponse(self, added, lines_of(added) if lines is None else lines)

    def _start_line(self) -> bytes:
        if self.version == HTTP_2:
            return b":status: %d\r\n" % self.status
        return b"%b %d %b\r\n" % (self.version.encode(), self.status, self.reason)


class _Gained(_Head):
    """A head that has fields behind those of another: what they share is kept once."""

    __slots__ = ()

    _base: _Head
    _added: list[Field]
    _lines: bytes

    @property
    def headers(self) -> Headers:
        """See `_Head.headers`."""
        if self._headers is None:
            known = self._base._headers
            if known is None:
                self._headers = Headers(parse_fields(self.raw))
            else:
                self._headers = known.gaining(self._added)
        return self._headers

    @property
    def raw(self) -> bytes:
        """See `_Head.raw`; put together anew each time."""
        return b"%b%b\r\n" % (self._base.raw[:-2], self._lines)

    @property
    def raw_size(self) -> int:
        """See `_Head.raw_size`."""
        return self._base.raw_size + len(self._lines)

    def compact(self) -> None:
        """See `_Head.compact`."""
        self._base.compact()
        self._headers = None

    def gained_over(self, old: _Head) -> tuple[list[Field], bytes] | None:
        """See `_Head.gained_over`."""
        if self._base is old:
            return self._added, self._lines
        before = self._base.gained_over(old)
        return None if before is None else (before[0] + self._added, before[1] + self._lines)


class _GainedRequest(_Gained, RequestHead):
    __slots__ = ("_added", "_base", "_lines")

    def __init__(self, base: RequestHead, added: list[Field], lines: bytes) -> None:
        self.method = base.method
        self.scheme = base.scheme
        self.authority = base.authority
        self.path = base.path
        self.version = base.version
        self._headers = None
        self._base, self._added, self._lines = base, added, lines


class _GainedResponse(_Gained, ResponseHead):
    __slots__ = ("_added", "_base", "_lines")

    def __init__(self, base: ResponseHead, added: list[Field], lines: bytes) -> None:
        self.status = base.status
        self.reason = base.reason
        self.version = base.version
        self._headers = None
        self._base, self._added, self._lines = base, added, lines


def split_authority(authority: bytes, scheme: str) -> tuple[str, int]:
    """Split `host[:port]` into a host without brackets and a port.

    The port defaults to 443 for `https` and 80 otherwise. An authority that is malformed comes
    back whole with the default port: the wire refuses those before they get here.
    """
    default = 443 if scheme == "https" else 80
    text = text_of(authority)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if bracket and rest.startswith(":") and rest[1:].isdecimal():
            return host, int(rest[1:])
        return (host, default) if bracket else (text, default)
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal():
        return host, int(port)
    return (host if colon and not port else text), default


def join_authority(host: str, port: int, scheme: str) -> bytes:
    """The inverse of `split_authority`: brackets round IPv6, no port where it is the default."""
    name = f"[{host}]" if ":" in host else host
    default = 443 if scheme == "https" else 80
    return name.encode() if port == default else f"{name}:{port}".encode()


PREVIEW = 64 * 1024
"""Bytes kept of a body that is larger than its limit."""

_CUT = -1
_REWRITTEN = -2
_MANY_PIECES = 256
"""Pieces kept before they are joined: a piece of one byte takes forty in memory."""


class Body(msgspec.Struct, gc=False, eq=False):
    """What was captured of one body: all of it up to a limit in bytes, else only a beginning.

    Half a download is of no more use than its first 64 KiB, and a few large ones must not push
    everything else out of memory. The collector need not look at it: it refers to nothing that
    could refer back.
    """

    _room: int
    """The limit to begin with; what is left of it."""
    _kept: bytes | list[bytes] = b""
    size: int = 0
    """Bytes that passed, as on the wire, without chunk or frame headers."""
    trailers: list[Field] | None = None

    def feed(self, data: bytes) -> None:
        """Count a piece that passed and keep it while everything so far fits."""
        length = len(data)
        self.size += length
        if length <= self._room:
            self._room -= length
            if not self._kept:
                self._kept = data
            elif isinstance(self._kept, list):
                self._kept.append(data)
                if len(self._kept) > _MANY_PIECES:
                    self._kept = [b"".join(self._kept)]
            else:
                self._kept = [self._kept, data]
        elif self._room >= 0:
            limit = self._room + self.size - length
            kept = self.kept if len(self.kept) >= PREVIEW else self.kept + data[:PREVIEW]
            self._kept = kept[: min(limit, PREVIEW)]
            self._room = _CUT

    @property
    def kept(self) -> bytes:
        """The bytes kept, content-encoding untouched."""
        kept = self._kept
        # `feed` may add a piece on the core's thread meanwhile: it shows next time.
        return b"".join(list(kept)) if isinstance(kept, list) else kept

    @property
    def kept_size(self) -> int:
        """How many bytes are kept."""
        return self.size if self._room >= 0 else len(self._kept)

    @property
    def truncated(self) -> bool:
        """Whether more passed than was kept."""
        return self._room != _REWRITTEN and self.size > self.kept_size

    def rewrite(self, data: bytes) -> None:
        """Keep `data` in place of what was kept; `size` stays what has passed.

        Only once all has passed.
        """
        self._room = _CUT if self.truncated else _REWRITTEN
        self._kept = data

    def shed(self, beginning: int = PREVIEW) -> None:
        """Keep a beginning only, and nothing of what is still to come, to save memory."""
        if self._room >= 0 or (self._room == _CUT and len(self._kept) > beginning):
            self._kept = self.kept[:beginning]
            self._room = _CUT

    def compact(self) -> None:
        """Join the pieces kept so far into one."""
        if isinstance(self._kept, list):
            self._kept = b"".join(self._kept)
