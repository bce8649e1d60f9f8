"""Flows to match and rules to try on them."""

from __future__ import annotations

from proxy_core.model.connection import ClientConnection, ServerConnection
from proxy_core.model.flow import Flow, FlowKind
from proxy_core.model.headers import Field, Headers
from proxy_core.model.ids import ConnectionId, FlowId
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.model.websocket import WebSocketLog, WebSocketMessage

BODY_LIMIT = 4 * 1024 * 1024


def request_flow(
    *fields: Field,
    method: bytes = b"GET",
    scheme: str = "https",
    authority: bytes = b"www.example.com:8443",
    path: bytes = b"/index.html?id=7",
    body: bytes = b"",
    kind: FlowKind = FlowKind.HTTP,
) -> Flow:
    """A flow that has got its request only."""
    client = ClientConnection(
        ConnectionId(1), ("127.0.0.1", 50123), ("127.0.0.1", 8080), "regular", 1000.0
    )
    head = RequestHead(method, scheme, authority, path, Headers(fields))
    flow = Flow(FlowId(17), client, head, 1000.0, BODY_LIMIT, kind)
    if body:
        flow.request_body.feed(body)
    return flow


def answered(
    *fields: Field, status: int = 200, body: bytes = b"", flow: Flow | None = None
) -> Flow:
    """A flow that has got its response too, after 1.5 s, from 192.0.2.7."""
    flow = flow or request_flow()
    flow.server = ServerConnection(ConnectionId(2), "www.example.com", 8443, ("192.0.2.7", 8443))
    flow.response = ResponseHead(status, b"", Headers(fields))
    if body:
        flow.response_body.feed(body)
    flow.ended = flow.started + 1.5
    return flow


def web_socket(*messages: tuple[bool, bytes]) -> Flow:
    """A WebSocket with messages: (whether the client sent it, payload)."""
    flow = answered(status=101, flow=request_flow(kind=FlowKind.WEBSOCKET))
    flow.web_socket = WebSocketLog(1_000_000)
    for from_client, payload in messages:
        flow.web_socket.add(WebSocketMessage(from_client, 1, 1001.0, payload, len(payload)))
    return flow


def annotated(**notes: str) -> Flow:
    """A flow with annotations."""
    flow = answered()
    flow.annotations = notes
    return flow
