"""Views of flows: the row a list shows and the detail a pane shows.

Safe on any thread while the core goes on changing the flow. Heads are read through `raw`, never
through `headers`: that would parse and keep the fields which a finished flow has just let go of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import overload

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from proxy_core.control.views import (
    BodyView,
    CertificateView,
    ChangeView,
    ConnectionView,
    FlowDetail,
    FlowSummary,
    HeadView,
    TlsView,
    WebSocketMessageView,
    WebSocketView,
)
from proxy_core.model.connection import Address, ClientConnection, ServerConnection, TlsFacts
from proxy_core.model.edits import Change
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field, text_of
from proxy_core.model.message import (
    HTTP_2,
    Body,
    RequestHead,
    ResponseHead,
    parse_fields,
    split_authority,
)
from proxy_core.model.websocket import WebSocketLog, WebSocketMessage

_CONTENT_TYPE = re.compile(rb"\ncontent-type:[ \t]*([^\r\n]*)", re.IGNORECASE)
_CONTENT_ENCODING = re.compile(rb"\ncontent-encoding:[ \t]*([^\r\n]*)", re.IGNORECASE)

_NO_BODY = BodyView(b"", 0)
"""A WebSocket's: what its two bodies count are the bytes of its messages."""


def summarize(flow: Flow) -> FlowSummary:
    """Return the flow's row. Sizes are those of bodies and tunnels, as on the wire."""
    request = flow.request
    response = flow.response
    host, port = split_authority(request.authority, request.scheme)
    ended = flow.ended
    return FlowSummary(
        id=flow.id,
        kind=flow.kind,
        state=flow.state,
        started=flow.started,
        method=text_of(request.method),
        scheme=request.scheme,
        host=host,
        port=port,
        path=text_of(request.path),
        protocol=(flow.request_received or request).version,
        status=None if response is None else response.status,
        content_type=None if response is None else media_type(response.raw),
        request_size=flow.request_body.size,
        response_size=flow.response_body.size,
        duration=None if ended is None else max(0.0, ended - flow.started),
        error=flow.error,
    )


def media_type(raw_head: bytes) -> str | None:
    """Return a head's media type in lower case, without parameters (RFC 9110, section 8.3)."""
    value = _first(_CONTENT_TYPE, raw_head)
    if value is None:
        return None
    return value.partition(";")[0].strip().lower() or None


def detail(flow: Flow) -> FlowDetail:
    """Return everything there is to show of a flow."""
    request = flow.request
    response = flow.response
    request_received = flow.request_received
    response_received = flow.response_received
    server = flow.server
    web_socket = flow.web_socket
    shows_response_body = response is not None or flow.response_body.size > 0
    return FlowDetail(
        summary=summarize(flow),
        url=request.url,
        request=_head(request),
        request_body=_NO_BODY if web_socket is not None else _body(flow.request_body, request),
        client=_client(flow.client),
        response=None if response is None else _head(response),
        response_body=(
            _body(flow.response_body, response)
            if shows_response_body and web_socket is None
            else None
        ),
        request_received=None if request_received is None else _head(request_received),
        response_received=None if response_received is None else _head(response_received),
        server=None if server is None else _server(server),
        request_sent=flow.request_sent,
        first_byte=flow.first_byte,
        ended=flow.ended,
        edited_by=flow.edited_by,
        changes=_changes(flow),
        notes=flow.notes,
        annotations=dict(flow.annotations or {}),
        web_socket=None if web_socket is None else _web_socket(web_socket),
    )


def _first(pattern: re.Pattern[bytes], raw: bytes) -> str | None:
    found = pattern.search(raw)
    return None if found is None else text_of(found[1]).strip()


def _head(head: RequestHead | ResponseHead) -> HeadView:
    raw = head.raw
    return HeadView(start_line=_start_line(head, raw), fields=_texts(parse_fields(raw)), raw=raw)


def _start_line(head: RequestHead | ResponseHead, raw: bytes) -> str:
    """HTTP/1's own start line; for HTTP/2, which has none, one in its manner."""
    if head.version != HTTP_2:
        return text_of(raw.partition(b"\r\n")[0])
    if isinstance(head, ResponseHead):
        return f"{HTTP_2} {head.status}"
    target = head.path or head.authority
    return f"{text_of(head.method)} {text_of(target)} {HTTP_2}"


def _texts(fields: list[Field]) -> tuple[tuple[str, str], ...]:
    return tuple((text_of(name), text_of(value)) for name, value in fields)


def _body(body: Body, head: RequestHead | ResponseHead | None) -> BodyView:
    raw = b"" if head is None else head.raw
    kept = body.kept
    return BodyView(
        kept=kept,
        size=max(body.size, len(kept)) if body.truncated else len(kept),
        content_type=_first(_CONTENT_TYPE, raw),
        encoding=_first(_CONTENT_ENCODING, raw),
        trailers=_texts(body.trailers or []),
        raw_trailers=tuple(body.trailers or ()),
    )


def _changes(flow: Flow) -> tuple[ChangeView, ...]:
    """Put beside each change what came after it: the next one's `before`, or how it ended."""
    changes, request, response = flow.changes, flow.request, flow.response
    heads: dict[bool, RequestHead | ResponseHead | None] = {False: request, True: response}
    bodies = {False: _body(flow.request_body, request), True: _body(flow.response_body, response)}
    shown: list[ChangeView] = []
    for change in reversed(changes):
        side, before = change.of_response, change.before
        head, body = heads[side] or before, None
        if change.body is not None:
            body = _body_before(change, change.body)
        shown.append(
            ChangeView(
                by=change.by,
                of_response=side,
                before=_with_url(_head(before), before),
                after=_with_url(_head(head), head),
                body_before=body,
                body_after=None if body is None else bodies[side],
                in_pieces=change.in_pieces,
            )
        )
        heads[side] = before
        if body is not None:
            bodies[side] = body
    return tuple(reversed(shown))


def _with_url(view: HeadView, head: RequestHead | ResponseHead) -> HeadView:
    """Tell a request's whole URL, which HTTP/1 may or may not: an edit can be about any of it."""
    if isinstance(head, ResponseHead):
        return view
    line = f"{text_of(head.method)} {head.url} {head.version}"
    return msgspec.structs.replace(view, start_line=line)


def _body_before(change: Change, kept: bytes) -> BodyView:
    raw = change.before.raw
    return BodyView(
        kept=kept,
        size=len(kept),
        content_type=_first(_CONTENT_TYPE, raw),
        encoding=_first(_CONTENT_ENCODING, raw),
    )


def _web_socket(log: WebSocketLog) -> WebSocketView:
    messages = log.snapshot()  # first, so that what is held then is not among them
    held, end = log.held, log.end
    return WebSocketView(
        messages=_Messages(messages, held),
        # Counted against the snapshot: more may have gone since.
        forgotten=max(0, log.count - len(messages)),
        ended_by=None if end is None else end.by,
        close_code=None if end is None else end.code,
        close_reason="" if end is None else end.reason,
    )


class _Messages(Sequence[WebSocketMessageView]):
    """Views of messages, each made when it is looked at: all at once are 10 ms of somebody's loop.

    An open WebSocket is shown anew four times a second.
    """

    __slots__ = ("_held", "_messages")

    def __init__(self, messages: list[WebSocketMessage], held: WebSocketMessage | None) -> None:
        self._messages = messages
        self._held = held
        """What waits for the user, behind the others."""

    def __len__(self) -> int:
        return len(self._messages) + (self._held is not None)

    @overload
    def __getitem__(self, index: int) -> WebSocketMessageView: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[WebSocketMessageView]: ...
    def __getitem__(
        self, index: int | slice
    ) -> WebSocketMessageView | Sequence[WebSocketMessageView]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if at == len(self._messages) and self._held is not None:
            return _web_socket_message(self._held, held=True)
        if at < 0:
            raise IndexError(index)
        return _web_socket_message(self._messages[at])


def _web_socket_message(message: WebSocketMessage, held: bool = False) -> WebSocketMessageView:
    return WebSocketMessageView(
        message.from_client,
        message.opcode,
        message.at,
        message.size,
        message.payload,
        message.compressed,
        message.edited,
        message.dropped,
        message.injected,
        message.cut,
        message.by,
        held,
    )


def _address(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _client(connection: ClientConnection) -> ConnectionView:
    return ConnectionView(
        id=connection.id,
        address=_address(connection.peer),
        opened=connection.opened,
        tls=_tls(connection.tls),
        mode=connection.mode,
    )


def _server(connection: ServerConnection) -> ConnectionView:
    return ConnectionView(
        id=connection.id,
        address=_address(connection.peer or (connection.host, connection.port)),
        opened=connection.opened,
        connected=connection.connected,
        secured=connection.secured,
        tls=_tls(connection.tls),
    )


def _tls(facts: TlsFacts | None) -> TlsView | None:
    if facts is None:
        return None
    return TlsView(
        version=facts.version,
        cipher=facts.cipher,
        alpn=facts.alpn,
        sni=facts.sni,
        verified=facts.verified,
        ja3=facts.ja3,
        ja4=facts.ja4,
        offered_alpn=facts.offered_alpn,
        offered_versions=facts.offered_versions,
        certificate=None if facts.certificate is None else _certificate(facts.certificate),
    )


def _certificate(der: bytes) -> CertificateView | None:
    """Return a peer's certificate for people, or None where it cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = _names(certificate)
        return CertificateView(
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            names=names,
            begins=certificate.not_valid_before_utc.timestamp(),
            ends=certificate.not_valid_after_utc.timestamp(),
            sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        )
    except ValueError:
        return None


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(str(name.value) for name in found.value)
