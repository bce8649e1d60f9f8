"""Where a connection leads that names no origin itself, and how its client is told so."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy_core.exchange.ports import Parent, Route
from proxy_core.model.message import RequestHead
from proxy_core.net.last_words import closing_answer
from proxy_core.wire.socks import Reply, encode_reply

_NO_HTTP = frozenset(
    {
        *(21, 22, 23, 25, 43, 53, 110, 119, 143, 389, 587),  # FTP to mail
        *(1433, 1883, 3306, 3389, 4222, 5222, 5432, 5672, 5900, 6379, 6667, 11211, 27017),
    }
)
"""Ports registered for protocols that are no HTTP, nor begin with TLS: mail, shells, databases."""


class Refusal(Protocol):
    """Why a tunnel cannot be: an exception that has a status of HTTP's."""

    status: int
    __cause__: BaseException | None


@dataclass(frozen=True, slots=True)
class Answers:
    """What a client is told that has asked for a tunnel: that it has one, or why not."""

    granted: bytes
    refused: Callable[[Refusal], bytes]


def _as_reply(refusal: Refusal) -> bytes:
    return encode_reply(_reply_to(refusal))


def _reply_to(refusal: Refusal) -> Reply:
    if refusal.status in (403, 508):
        return Reply.NOT_ALLOWED
    cause = refusal.__cause__
    if refusal.status == 504 or isinstance(cause, socket.gaierror):
        return Reply.HOST_UNREACHABLE
    if isinstance(cause, OSError) and cause.errno is not None:
        return _REPLIES.get(cause.errno, Reply.FAILED)
    return Reply.FAILED


_REPLIES = {
    errno.ECONNREFUSED: Reply.REFUSED,
    errno.ENETUNREACH: Reply.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: Reply.HOST_UNREACHABLE,
}

OVER_HTTP = Answers(
    b"HTTP/1.1 200 Connection established\r\n\r\n",
    lambda refusal: closing_answer(refusal.status, str(refusal)),
)
OVER_SOCKS = Answers(encode_reply(Reply.SUCCEEDED), _as_reply)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Where a connection leads, and the head that asked for it.

    `secured` once TLS is spoken in it, with the name `sni`, or none.
    """

    host: str
    port: int
    head: RequestHead
    via: Parent | None = None
    secured: bool = False
    sni: str = ""

    def route(self, alpn: tuple[str, ...] = (), address: tuple[str, int] | None = None) -> Route:
        """Return the way for bytes; `alpn` and `address` are as in `Route`."""
        scheme = "tls" if self.secured else "tcp"
        return Route(
            scheme, self.host, self.port, self.sni, via=self.via, address=address, alpn=alpn
        )

    @property
    def carries_no_http(self) -> bool:
        """Whether the port alone says that there will be nothing to look into."""
        return self.port in _NO_HTTP
