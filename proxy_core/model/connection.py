"""Facts about the two connections a flow travelled on."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy_core.model.ids import ConnectionId

Address = tuple[str, int]
"""IP address (or host name where none is known) and port."""


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What a TLS handshake settled; times in seconds since the epoch."""

    version: str
    """As OpenSSL names it: `TLSv1.2`, `TLSv1.3`; empty where a client's TLS was passed through, or
    failed."""
    cipher: str
    alpn: str | None
    sni: str | None
    certificate: bytes | None = None
    """The peer's certificate, DER."""
    verified: bool = False
    ja3: str | None = None
    ja4: str | None = None
    offered_alpn: tuple[str, ...] = ()
    """Of a client: what its ClientHello offers, in its order."""
    offered_versions: tuple[str, ...] = ()
    """Of a client: the TLS versions that it offers, the best first."""


@dataclass(slots=True)
class ClientConnection:
    """One accepted connection, or the TLS session inside a CONNECT tunnel of it."""

    id: ConnectionId
    peer: Address
    local: Address
    mode: str
    """The mode the listener runs in, as given: `regular`, `reverse:https://host:443`."""
    opened: float
    tls: TlsFacts | None = None
    closed: float | None = None
    authenticated: bool = False
    """It has begun to authenticate itself to an origin as a connection (NTLM, Negotiate)."""


@dataclass(slots=True)
class ServerConnection:
    """One connection to an origin."""

    id: ConnectionId
    host: str
    port: int
    peer: Address | None = None
    """The address that was dialled, once it is known."""
    tls: TlsFacts | None = None
    opened: float = 0.0
    connected: float | None = None
    secured: float | None = None
    """When the TLS handshake was done."""
    closed: float | None = None
    exchanges: int = field(default=0)
    """How many exchanges it has carried, the present one included."""
    owner: int = 0
    """The client connection that it is kept for, because that has authenticated it; or 0."""
