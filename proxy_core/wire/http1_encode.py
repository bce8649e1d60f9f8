"""HTTP/1 as it goes: heads that something has changed, to bytes (RFC 9112).

The framing fields say what the body will be, whatever the fields said; hop-by-hop fields stay here.
"""

from __future__ import annotations

from http import HTTPStatus

from proxy_core.model.headers import Field
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.wire.events import CHUNKED, UNTIL_CLOSE, BodyLength
from proxy_core.wire.http1_fields import FieldKind, field_kind

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


def reason_of(status: int) -> bytes:
    """Return the standard reason phrase, or nothing."""
    return _REASONS.get(status, b"")


def end_to_end(fields: list[Field]) -> list[Field]:
    """Return the fields that may go on: no hop-by-hop ones (RFC 9110, section 7.6.1).

    Fields named by Connection go too, except those that a message cannot do without.
    """
    named: set[bytes] = set()
    kept: list[Field] = []
    for field in fields:
        kind = field_kind(field[0])
        if kind in _PASSING:
            kept.append(field)
        elif kind == FieldKind.CONNECTION:
            named.update(part.strip(b" \t").lower() for part in field[1].split(b","))
    if named - _HARMLESS_OPTIONS:
        kept = [
            field
            for field in kept
            if field[0].lower() not in named - _ESSENTIAL or field_kind(field[0])
        ]
    return kept


_PASSING = frozenset(
    {FieldKind.ORDINARY, FieldKind.HOST, FieldKind.CONTENT_LENGTH, FieldKind.EXPECT}
)
_HARMLESS_OPTIONS = {b"keep-alive", b"close", b"upgrade", b"te", b"http2-settings"}
_ESSENTIAL = {b"authorization", b"cookie", b"content-type", b"content-encoding"}


def encode_request_head(
    head: RequestHead, length: BodyLength, upgrade: bytes | None = None, trailers_ok: bool = False
) -> bytes:
    """Return the head as an HTTP/1.1 client sends it to an origin.

    `length` frames the body, whatever the fields say; `upgrade` asks to switch protocols;
    `trailers_ok` passes on that the client takes trailers.
    """
    fields = _framed(end_to_end(head.headers.fields), length, request=True)
    lines = [b"%b %b HTTP/1.1\r\n" % (head.method, head.path)]
    if not _has_host(fields, head.authority):
        lines.append(b"Host: %b\r\n" % head.authority)
        fields = [field for field in fields if field_kind(field[0]) != FieldKind.HOST]
    lines += [b"%b: %b\r\n" % field for field in fields]
    if upgrade is not None:
        lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade)
    elif trailers_ok:
        lines.append(b"Connection: TE\r\nTE: trailers\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def _has_host(fields: list[Field], authority: bytes) -> bool:
    hosts = [value for name, value in fields if field_kind(name) == FieldKind.HOST]
    return len(hosts) == 1 and hosts[0].lower() == authority.lower()


def encode_response_head(
    head: ResponseHead,
    length: BodyLength,
    connection: bytes | None = None,
    upgrade: bytes | None = None,
    to_head: bool = False,
) -> bytes:
    """Return the head as an HTTP/1.1 server sends it to a client.

    `connection` is an option to send (`close`, `keep-alive`); `upgrade` answers with 101;
    `to_head` says that HEAD is answered: the length it tells stays as it is (as for 304).
    `length` UNTIL_CLOSE sends neither length nor chunks.
    """
    fields = end_to_end(head.headers.fields)
    if head.status < 200 or head.status == 204:
        fields = [field for field in fields if field_kind(field[0]) != FieldKind.CONTENT_LENGTH]
    elif not to_head and head.status != 304:
        fields = _framed(fields, length, request=False)
    reason = head.reason or reason_of(head.status)
    lines = [b"HTTP/1.1 %d %b\r\n" % (head.status, reason)]
    lines += [b"%b: %b\r\n" % field for field in fields]
    if upgrade is not None:
        lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade)
    elif connection is not None:
        lines.append(b"Connection: %b\r\n" % connection)
    lines.append(b"\r\n")
    return b"".join(lines)


def _framed(fields: list[Field], length: BodyLength, request: bool) -> list[Field]:
    """Make the framing fields say what `length` says."""
    lengths = [field for field in fields if field_kind(field[0]) == FieldKind.CONTENT_LENGTH]
    if length >= 0 and len(lengths) == 1 and lengths[0][1] == b"%d" % length:
        return fields
    if length == 0 and not lengths and request:
        return fields
    if lengths:
        fields = [field for field in fields if field_kind(field[0]) != FieldKind.CONTENT_LENGTH]
    if length == CHUNKED:
        return [*fields, (b"Transfer-Encoding", b"chunked")]
    if length == UNTIL_CLOSE:
        return fields
    return [*fields, (b"Content-Length", b"%d" % length)]
