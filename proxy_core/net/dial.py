"""New connections to origins: name, TCP, TLS, and which HTTP version the origin wants."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import time

from proxy_core.config import Limits
from proxy_core.errors import (
    ConnectionLost,
    ConnectionTimeout,
    TlsError,
    UpstreamError,
)
from proxy_core.exchange.ports import Route
from proxy_core.model.connection import ServerConnection, TlsFacts
from proxy_core.model.counters import Counters
from proxy_core.model.host_names import to_a_labels
from proxy_core.model.ids import ConnectionId
from proxy_core.net.channel import Channel
from proxy_core.net.clock import Clock
from proxy_core.net.tls_session import TlsSession
from proxy_core.net.upstream_tls import UpstreamTls, describe_tls_error

_ALPN_BOTH = ("h2", "http/1.1")
_ALPN_HTTP1 = ("http/1.1",)


class Dialer:
    """Dials origins for one core."""

    def __init__(
        self,
        clock: Clock,
        tls: UpstreamTls,
        limits: Limits,
        counters: Counters,
        ids: itertools.count[int],
    ) -> None:
        self._clock = clock
        self._tls = tls
        self._limits = limits
        self._counters = counters
        self._ids = ids
        self._open: set[Channel] = set()

    def prepare(self) -> None:
        """Load what the first TLS connection would wait for, 20 ms and more; fit for a thread."""
        for alpn in (_ALPN_BOTH, _ALPN_HTTP1):
            self._tls.context(alpn)

    async def connect(self, route: Route) -> tuple[ServerConnection, Channel]:
        """Return a TCP connection to the route's address. Raises UpstreamError (502 or 504)."""
        loop = asyncio.get_running_loop()
        server = ServerConnection(
            ConnectionId(next(self._ids)), route.host, route.port, opened=time.time()
        )
        channel = Channel(loop, self._clock, self._limits.stream_buffer)
        where = f"{route.host}:{route.port}"
        try:
            async with asyncio.timeout(self._limits.connect_timeout):
                await loop.create_connection(lambda: channel, _ascii_host(route.host), route.port)
        except TimeoutError as error:
            raise UpstreamError(
                f"could not connect to {where} within {self._limits.connect_timeout:g} s", 504
            ) from error
        except socket.gaierror as error:
            raise UpstreamError(
                f"the name {route.host!r} has no address: {error.strerror}"
            ) from error
        except (OSError, ValueError, OverflowError) as error:
            raise UpstreamError(f"could not connect to {where}: {_reason(error)}") from error
        server.peer = channel.peer_address()
        server.connected = time.time()
        self._open.add(channel)
        self._counters.server_connections += 1

        def lost() -> None:
            channel.on_lost = None  # or channel and closure would keep each other alive
            server.closed = time.time()
            self._open.discard(channel)
            self._counters.server_connections -= 1

        channel.on_lost = lost
        return server, channel

    async def secure(self, route: Route, server: ServerConnection, channel: Channel) -> None:
        """Speak TLS on a connection. Raises UpstreamError with what to do about it."""
        name = route.sni or route.host
        alpn = _ALPN_HTTP1 if route.http1_only else _ALPN_BOTH
        channel.allow(self._limits.connect_timeout, "did not finish the TLS handshake in time")
        try:
            session = TlsSession(
                self._tls.context(alpn), server_side=False, server_hostname=_ascii_host(name)
            )
            await channel.start_tls(session)
        except ConnectionTimeout as error:
            channel.abort()
            raise UpstreamError(describe_tls_error(error, name), 504) from error
        except (TlsError, ConnectionLost) as error:
            channel.abort()
            raise UpstreamError(describe_tls_error(error, name)) from error
        except BaseException:
            channel.abort()
            raise
        channel.allow_for_ever()
        server.secured = time.time()
        server.tls = _facts(session, name, self._tls.verifies)

    def close(self) -> None:
        """Close every connection that is still open."""
        for channel in list(self._open):
            channel.abort()


def _ascii_host(host: str) -> str:
    try:
        return to_a_labels(host)
    except ValueError as error:
        raise UpstreamError(f"{host!r} is no name that DNS can have: {error}") from error


def _facts(session: TlsSession, name: str, verified: bool) -> TlsFacts:
    tls = session.object
    cipher = tls.cipher()
    return TlsFacts(
        version=tls.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=tls.selected_alpn_protocol(),
        sni=name,
        certificate=tls.getpeercert(binary_form=True),
        verified=verified,
    )


def _reason(error: Exception) -> str:
    # The loop puts addresses into strerror; the bare words are what people know.
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error)
