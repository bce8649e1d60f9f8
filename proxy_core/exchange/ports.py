"""What the exchange needs of the world, as small protocols that the net room fulfils.

Both sides of an exchange look the same for HTTP/1 and HTTP/2. A body is read with `read` until it
returns `b""`; it is sent with `send_data`, and `drain` is awaited where `blocked` says so, which
is how a slow reader slows the sender down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from proxy_core.model.connection import ClientConnection, ServerConnection
from proxy_core.model.headers import Field
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.wire.events import BodyLength, ResponseReceived


@dataclass(frozen=True, slots=True)
class Parent:
    """Another proxy that requests go through; `credentials` are `user:password`, or empty.

    It is told `pseudonym` in Via, where there is one, behind `passed`: whom the CONNECT had come
    through that a client's tunnel began with, for what goes on of that tunnel is not a head of its
    own.
    """

    scheme: str
    host: str
    port: int
    credentials: str = ""
    pseudonym: str = ""
    passed: bytes = b""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: the origin's address, and how to speak to it.

    `scheme` is `http` or `https`; `tcp` or `tls` for connections of bytes. `sni` is the name to
    ask for and to verify, where TLS is spoken (the host, where it is empty). `http1_only` keeps
    HTTP/2 out, for what only HTTP/1 can do; `websocket` lets those connections in again that offer
    WebSockets over HTTP/2 (RFC 8441). `via` is the proxy in between, `address` what to dial
    instead of host and port. Connections are shared among requests of equal routes: `owner` keeps
    one client connection's for itself. `alpn` are the protocols to offer with the scheme `tls`.
    With `asks_proxy` the route leads to a proxy that the client itself goes through: it is asked
    for whole URLs (RFC 9112, section 3.2.2), with the client's credentials for it.
    """

    scheme: str
    host: str
    port: int
    sni: str = ""
    http1_only: bool = False
    via: Parent | None = None
    address: tuple[str, int] | None = None
    owner: int = 0
    websocket: bool = False
    alpn: tuple[str, ...] = ()
    asks_proxy: bool = False


OWN_NAME = b"int3rceptor.internal"
"""The host that is the proxy itself: its pages offer the CA certificate."""


@lru_cache(maxsize=1024)
def is_own_name(authority: bytes) -> bool:
    """Tell whether this is the proxy's own name, in any spelling, at any port."""
    return authority.lower().partition(b":")[0].rstrip(b".") == OWN_NAME


class OwnPages(Protocol):
    """What the proxy says of itself."""

    def answer(self, method: bytes, target: bytes) -> tuple[ResponseHead, bytes]:
        """Return the answer to a request for the proxy itself."""


class ByteStream(Protocol):
    """A connection of bytes, once HTTP has been left behind."""

    async def receive(self) -> bytes:
        """Return what arrived; `b""` at the end. Raises ConnectionLost or ConnectionTimeout."""

    def unread(self, data: bytes) -> None:
        """Put bytes back in front of what arrives."""

    def write(self, data: bytes) -> None:
        """Send."""

    @property
    def write_blocked(self) -> bool:
        """Whether to `drain` first."""

    async def drain(self) -> None:
        """Wait until the peer has read enough."""

    def write_eof(self) -> None:
        """End our direction."""

    def close(self) -> None:
        """Close after what is queued."""

    def abort(self) -> None:
        """Close at once."""


class BodySource(Protocol):
    """Where a body comes from."""

    trailers: list[Field] | None
    """Set when `read` has returned `b""`."""

    async def read(self) -> bytes:
        """Return the next piece, or `b""` at the end.

        Raises ClientDisconnected or UpstreamError, or RemoteProtocolError for bad framing.
        """

    def read_nowait(self) -> bytes | None:
        """Return what `read` would return at once, or None where it would wait."""


class BodySink(Protocol):
    """Where a body goes."""

    @property
    def blocked(self) -> bool:
        """Whether to `drain` before sending more."""

    def send_data(self, data: bytes) -> None:
        """Send a piece (not empty)."""

    async def drain(self) -> None:
        """Wait until the peer has read enough. Raises as `read` does."""

    def send_end(self, trailers: list[Field] | None) -> None:
        """End the body."""


class ClientStream(BodySource, BodySink, Protocol):
    """The client's side of one exchange."""

    client: ClientConnection
    head_sent: bool
    """Whether the final response's head went out: then an error can only cut it short."""

    def route(self, head: RequestHead) -> Route:
        """Return where a request with this head goes, on this connection."""

    def send_informational(self, head: ResponseHead) -> None:
        """Send a 1xx head."""

    def send_head(self, head: ResponseHead, length: BodyLength, clean: bytes | None = None) -> None:
        """Send the final head; `clean` as in ResponseReceived, where nothing changed."""

    def abort(self, reason: str, reset_code: int | None = None) -> None:
        """End the response before its end, so that the client can tell.

        `reset_code` is the origin's reason where it gave one (RFC 9113, section 7).
        """

    def become_bytes(self) -> ByteStream:
        """Hand the connection over after a 101, with what was read from it already."""


class UpstreamStream(BodySource, BodySink, Protocol):
    """The origin's side of one exchange."""

    server: ServerConnection
    reused: bool
    """Whether the connection had carried an exchange before, and so may have died meanwhile."""

    def send_head(
        self,
        head: RequestHead,
        length: BodyLength,
        clean: bytes | None = None,
        upgrade: bytes | None = None,
    ) -> None:
        """Send the request's head; `clean` and `upgrade` as in RequestReceived."""

    async def read_head(self) -> ResponseReceived:
        """Return the next head, informational ones included. Raises UpstreamError."""

    def release(self) -> str | None:
        """Give the connection back after a whole exchange; it is kept if it can be.

        Returns what was odd about the answer's end, for people.
        """

    def abort(self) -> None:
        """Give the exchange up; the connection is not used again, or the stream is reset."""

    def become_bytes(self) -> ByteStream:
        """Hand the connection over after a 101, with what was read from it already."""


class Upstreams(Protocol):
    """The connections to origins."""

    def acquire(self, route: Route) -> UpstreamStream | None:
        """Return a stream on a connection that is there already, or None."""

    async def open(self, route: Route, fresh: bool = False) -> UpstreamStream:
        """Return a stream, on a new connection where needed, or (`fresh`) in any case.

        Raises UpstreamError with the reason for people.
        """

    async def connect(self, route: Route) -> tuple[ServerConnection, ByteStream]:
        """Return a new connection of bytes: TLS for a route of scheme `tls` only.

        Raises UpstreamError.
        """
