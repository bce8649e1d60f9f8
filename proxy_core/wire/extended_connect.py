"""Extended CONNECT, which is how HTTP/2 asks for a WebSocket, and HTTP/1's Upgrade (RFC 8441).

What HTTP/2 leaves out is made up on the way to HTTP/1, the key and what proves that the other side
has understood it, and taken away on the way back.
"""

from __future__ import annotations

import base64
import hashlib
import secrets

from proxy_core.model.headers import Headers
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.wire.events import RequestReceived

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = b"sec-websocket-key"
_ACCEPT = b"sec-websocket-accept"


def as_upgrade(received: RequestReceived) -> RequestReceived:
    """Return an extended CONNECT for a WebSocket as the GET it is in HTTP/1; others unchanged."""
    if (received.upgrade or b"").lower() != b"websocket":
        return received
    head = received.head
    fields = [field for field in head.headers.fields if field[0] != _KEY]
    fields.append((_KEY, base64.b64encode(secrets.token_bytes(16))))
    made = head.replace(method=b"GET", headers=Headers(fields))
    return RequestReceived(made, 0, upgrade=b"websocket")


def accepts(asked: RequestHead, answer: ResponseHead) -> bool:
    """Whether a 101 shows that the other side has understood the request."""
    key = asked.headers.get(_KEY) or b""
    proof = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return (answer.headers.get(_ACCEPT) or b"").strip() == proof


def as_answer(head: ResponseHead) -> ResponseHead:
    """Return what answers an extended CONNECT: 200 for 101, and never a 2xx for anything else."""
    if head.status == 101:
        fields = [field for field in head.headers.fields if field[0].lower() != _ACCEPT]
        return head.replace(status=200, reason=b"", headers=Headers(fields))
    if 200 <= head.status < 300:
        # To the client it would mean that the WebSocket is open.
        return head.replace(status=502, reason=b"")
    return head
