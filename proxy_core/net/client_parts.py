"""What serving a client takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Protocol

from proxy_core.config import Limits, Mode
from proxy_core.exchange.connections import Connections
from proxy_core.exchange.exchange import Exchange
from proxy_core.exchange.ports import Upstreams
from proxy_core.net.buffers import Buffers
from proxy_core.net.clock import Clock
from proxy_core.net.descriptors import Descriptors
from proxy_core.net.guard import OwnAddresses
from proxy_core.net.passthrough import Passthrough
from proxy_core.net.passwords import Passwords
from proxy_core.net.tls_session import TlsBuffers


class ServerContextSource(Protocol):
    """Where certificates for clients come from."""

    def for_host(self, host: str) -> SSLContext:
        """Return a server context whose certificate names `host`. Raises CaError."""


@dataclass(frozen=True, slots=True)
class ClientParts:
    """What serving clients takes; made once per core."""

    mode: Mode
    exchange: Exchange
    connections: Connections
    upstreams: Upstreams
    contexts: ServerContextSource
    clock: Clock
    limits: Limits
    buffers: Buffers
    ids: itertools.count[int]
    on_fault: Callable[[BaseException], None]
    """Told of errors that should not be: bugs."""
    tls_buffers: TlsBuffers = field(default_factory=TlsBuffers)
    descriptors: Descriptors = field(default_factory=Descriptors)
    make_room: Callable[[], object] = lambda: None
    """Called where descriptors run out, to close what nobody needs at the moment."""
    own: OwnAddresses = field(default_factory=OwnAddresses)
    passthrough: Passthrough = field(default_factory=Passthrough)
    passwords: Passwords | None = None
    """What clients must know to be served, where anything."""
    pseudonym: str = ""
    """What the proxies that requests go on through are told of this one, where there are any."""
    upstream_per_client: bool = False
    lenient: bool = False
    keep_host: bool = False
    connect_address: tuple[str, int] | None = None
