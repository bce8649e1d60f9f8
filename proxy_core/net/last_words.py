"""What an HTTP/1 client is told before its connection is closed, where nobody serves it."""

from __future__ import annotations

from proxy_core.exchange.answers import text_response
from proxy_core.wire.http1_encode import encode_response_head


def closing_answer(status: int, text: str) -> bytes:
    """Return a whole answer that says why, for people, and that nothing comes behind it."""
    head, body = text_response(status, text)
    return encode_response_head(head, len(body), connection=b"close") + body
