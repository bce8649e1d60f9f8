"""What the API says of flows.

What came from the network need not be text. A header's `value` is its text, and where the bytes
are not UTF-8, `value_base64` is what they really were. A body is `text` where it is UTF-8, else
`base64`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import msgspec

from proxy_core.api.documents import encode
from proxy_core.control.views import (
    BodyView,
    ChangeView,
    ConnectionView,
    FlowDetail,
    FlowSummary,
    HeadView,
    WebSocketMessageView,
    WebSocketView,
)
from proxy_core.model.headers import Field, text_of
from proxy_core.model.message import parse_fields

_AT_ONCE = 256
"""Messages of a WebSocket that are encoded at once."""


class FlowList(msgspec.Struct, frozen=True):
    """The newest flows, oldest first; `total` counts all that are kept."""

    flows: list[FlowSummary]
    total: int


class FieldDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One header line; the base64 forms are there where the bytes are not UTF-8."""

    name: str
    value: str
    name_base64: bytes | None = None
    value_base64: bytes | None = None


class HeadDocument(msgspec.Struct, frozen=True):
    """A head: for people, and every byte of it in `raw_base64`."""

    start_line: str
    headers: list[FieldDocument]
    raw_base64: bytes


class BodyDocument(msgspec.Struct, frozen=True):
    """The first `kept` of a body's `size` bytes; either `text` or `base64` has them."""

    size: int
    kept: int
    truncated: bool
    content_type: str | None
    encoding: str | None
    text: str | None
    base64: bytes | None
    trailers: list[FieldDocument]


class ChangeDocument(msgspec.Struct, frozen=True):
    """One edit of a message on its way; bodies are null where the body was left as it was."""

    by: str
    """`plugin NAME`, `rule NAME`."""
    message: str
    """`request` or `response`."""
    before: HeadDocument
    after: HeadDocument
    body_before: BodyDocument | None
    body_after: BodyDocument | None
    in_pieces: bool
    """Whether the body was edited on its way, piece by piece; what it was is not kept."""


class MessageDocument(msgspec.Struct, frozen=True):
    """One message of a WebSocket; either `text` or `base64` has the first of `size` bytes."""

    from_client: bool
    opcode: int
    at: float
    size: int
    compressed: bool
    edited: bool
    dropped: bool
    injected: bool
    cut: bool
    held: bool
    by: tuple[str, ...]
    """Who edited or dropped it, in order."""
    text: str | None
    base64: bytes | None


class WebSocketDocument(msgspec.Struct, frozen=True):
    """A WebSocket's newest messages, oldest first; `forgotten` were before them."""

    messages: list[MessageDocument]
    forgotten: int
    ended_by: str | None
    close_code: int | None
    close_reason: str


class FlowDocument(msgspec.Struct, frozen=True):
    """Everything there is to say of one flow. Times in seconds since the epoch."""

    summary: FlowSummary
    url: str
    request: HeadDocument
    request_body: BodyDocument
    request_received: HeadDocument | None
    response: HeadDocument | None
    response_body: BodyDocument | None
    response_received: HeadDocument | None
    client: ConnectionView
    server: ConnectionView | None
    request_sent: float | None
    first_byte: float | None
    ended: float | None
    edited_by: tuple[str, ...]
    changes: list[ChangeDocument]
    """What each of them did to a head or a whole body, in order."""
    notes: tuple[str, ...]
    annotations: dict[str, str]
    web_socket: WebSocketDocument | None


def flow_document(flow: FlowDetail) -> FlowDocument:
    """Return a flow as the API tells it."""
    return FlowDocument(
        summary=flow.summary,
        url=flow.url,
        request=_head(flow.request),
        request_body=_body(flow.request_body),
        request_received=_maybe_head(flow.request_received),
        response=_maybe_head(flow.response),
        response_body=None if flow.response_body is None else _body(flow.response_body),
        response_received=_maybe_head(flow.response_received),
        client=flow.client,
        server=flow.server,
        request_sent=flow.request_sent,
        first_byte=flow.first_byte,
        ended=flow.ended,
        edited_by=flow.edited_by,
        changes=[_change(change) for change in flow.changes],
        notes=flow.notes,
        annotations=flow.annotations,
        web_socket=None if flow.web_socket is None else _web_socket(flow.web_socket),
    )


def _maybe_head(head: HeadView | None) -> HeadDocument | None:
    return None if head is None else _head(head)


def _head(head: HeadView) -> HeadDocument:
    return HeadDocument(head.start_line, _fields(parse_fields(head.raw)), head.raw)


def _fields(fields: Iterable[Field]) -> list[FieldDocument]:
    return [
        FieldDocument(text_of(name), text_of(value), _if_odd(name), _if_odd(value))
        for name, value in fields
    ]


def _if_odd(raw: bytes) -> bytes | None:
    return raw if _text(raw) is None else None


def _body(body: BodyView) -> BodyDocument:
    text = _text(body.kept)
    return BodyDocument(
        size=body.size,
        kept=len(body.kept),
        truncated=body.truncated,
        content_type=body.content_type,
        encoding=body.encoding,
        text=text,
        base64=body.kept if text is None else None,
        trailers=_fields(body.raw_trailers),
    )


def _change(change: ChangeView) -> ChangeDocument:
    return ChangeDocument(
        by=change.by,
        message="response" if change.of_response else "request",
        before=_head(change.before),
        after=_head(change.after),
        body_before=None if change.body_before is None else _body(change.body_before),
        body_after=None if change.body_after is None else _body(change.body_after),
        in_pieces=change.in_pieces,
    )


def _web_socket(view: WebSocketView) -> WebSocketDocument:
    return WebSocketDocument(
        messages=cast("list[MessageDocument]", _encoded_messages(view.messages)),
        forgotten=view.forgotten,
        ended_by=view.ended_by,
        close_code=view.close_code,
        close_reason=view.close_reason,
    )


def _encoded_messages(messages: Sequence[WebSocketMessageView]) -> msgspec.Raw:
    """Return messages as JSON already: to encode all at once keeps other threads for 10 ms."""
    parts = [
        encode([_message(message) for message in messages[start : start + _AT_ONCE]])[1:-1]
        for start in range(0, len(messages), _AT_ONCE)
    ]
    return msgspec.Raw(b"[" + b",".join(parts) + b"]")


def _message(message: WebSocketMessageView) -> MessageDocument:
    text = _text(message.payload)
    return MessageDocument(
        from_client=message.from_client,
        opcode=message.opcode,
        at=message.at,
        size=message.size,
        compressed=message.compressed,
        edited=message.edited,
        dropped=message.dropped,
        injected=message.injected,
        cut=message.cut,
        held=message.held,
        by=message.by,
        text=text,
        base64=message.payload if text is None else None,
    )


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None
