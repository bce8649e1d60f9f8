"""Extended CONNECT, which is how HTTP/2 asks for a WebSocket, and HTTP/1's Upgrade (RFC 8441).

What HTTP/2 leaves out is made up on the way to HTTP/1, the key and what proves that the other side
has understood it, and taken away on the way back.
"""

from __future__ import annotations

import base64
import hashlib
import secrets

from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.wire.events import RequestReceived, ResponseReceived
from proxy_core.wire.http2_fields import request_fields

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
    return (answer.headers.get(_ACCEPT) or b"").strip() == _proof(asked)


def _proof(asked: RequestHead) -> bytes:
    key = asked.headers.get(_KEY) or b""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def connect_fields(asked: RequestHead) -> list[Field]:
    """Return the fields that ask an HTTP/2 origin for the WebSocket that a GET asks for."""
    head = asked.replace(
        headers=Headers([field for field in asked.headers.fields if field[0].lower() != _KEY])
    )
    (_, *fields) = request_fields(head, 0, False)
    return [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *fields]


def as_switch(asked: RequestHead, received: ResponseReceived) -> ResponseReceived:
    """Return an HTTP/2 origin's answer as HTTP/1 gives it: 101, with the proof, for a 2xx."""
    head = received.head
    if not 200 <= head.status < 300:
        return received
    fields = [*head.headers.fields, (_ACCEPT, _proof(asked)), (b"upgrade", b"websocket")]
    made = head.replace(status=101, headers=Headers(fields))
    return ResponseReceived(made, 0, upgrade=b"websocket")


def as_answer(head: ResponseHead) -> ResponseHead:
    """Return what answers an extended CONNECT: 200 for 101, and never a 2xx for anything else."""
    if head.status == 101:
        fields = [field for field in head.headers.fields if field[0].lower() != _ACCEPT]
        return head.replace(status=200, reason=b"", headers=Headers(fields))
    if 200 <= head.status < 300:
        # To the client it would mean that the WebSocket is open.
        return head.replace(status=502, reason=b"")
    return head
