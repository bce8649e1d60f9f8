"""Answers that come from the proxy itself."""

from __future__ import annotations

import time

from proxy_core.exchange.ports import ClientStream
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Headers
from proxy_core.model.message import ResponseHead


def respond(client: ClientStream, flow: Flow, head: ResponseHead, body: bytes) -> None:
    """Answer a request whose response has not begun; an origin's answer is kept beside ours."""
    if flow.response is not None and flow.response_received is None:
        flow.response_received = flow.response
    flow.response = head
    flow.first_byte = flow.first_byte or time.time()
    client.send_head(head, len(body))
    if body and flow.request.method != b"HEAD":  # which no edit brings in or takes out
        flow.response_body.feed(body)
        client.send_data(body)
    client.send_end(None)


def text_response(status: int, text: str) -> tuple[ResponseHead, bytes]:
    """Return a plain-text response of our own; `text` may hold anything but is for people."""
    body = f"int3rceptor: {text}\n".encode(errors="replace")
    headers = Headers(
        [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Length", b"%d" % len(body)),
            (b"Cache-Control", b"no-store"),
        ]
    )
    return ResponseHead(status, b"", headers), body
