"""New connections to origins: name, TCP, another proxy in between, TLS, never to ourselves."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import time

from proxy_core.config import Limits, join_host_port
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
from proxy_core.net.buffers import Buffers
from proxy_core.net.channel import Channel
from proxy_core.net.clock import Clock
from proxy_core.net.descriptors import EXHAUSTED, Descriptors
from proxy_core.net.guard import OwnAddresses, parse_address
from proxy_core.net.happy_eyeballs import addresses_of, connect_first, reason_of
from proxy_core.net.parent import ask_for_tunnel
from proxy_core.net.tls_session import TlsBuffers, TlsSession
from proxy_core.net.upstream_tls import UpstreamTls, describe_tls_error

_ALPN_BOTH = ("h2", "http/1.1")
_ALPN_HTTP1 = ("http/1.1",)
_MAX_FINISHED = 256  # about 14 kB each


class Dialer:
    """Dials origins for one core."""

    def __init__(
        self,
        clock: Clock,
        tls: UpstreamTls,
        limits: Limits,
        counters: Counters,
        ids: itertools.count[int],
        own: OwnAddresses,
        descriptors: Descriptors | None = None,
        tls_buffers: TlsBuffers | None = None,
        buffers: Buffers | None = None,
    ) -> None:
        self._own = own
        self._descriptors = descriptors or Descriptors()
        self._tls_buffers = tls_buffers or TlsBuffers()
        self._buffers = buffers or Buffers.within(limits)
        self._clock = clock
        self._tls = tls
        self._limits = limits
        self._counters = counters
        self._ids = ids
        self._open: set[Channel] = set()
        self._finished: dict[tuple[str, int, int], ssl.SSLObject] = {}
        """TLS of connections that are over, by server name, port and context.

        OpenSSL takes 0.1 ms to copy a session out, and most are never resumed. A ticket serves
        once.
        """

    def prepare(self) -> None:
        """Load what the first TLS connection would wait for, 20 ms and more; fit for a thread."""
        for alpn in (_ALPN_BOTH, _ALPN_HTTP1):
            self._tls.context(alpn)

    async def connect(self, route: Route) -> tuple[ServerConnection, Channel]:
        """Return a connection to the route's address, without TLS, through its proxy if it has one.

        Raises UpstreamError (502, 504, or 508 where the address is our own).
        """
        server = ServerConnection(
            ConnectionId(next(self._ids)), route.host, route.port, opened=time.time()
        )
        via = route.via
        if via is None:
            host, port = route.address or (route.host, route.port)
            return server, await self._connect_tcp(server, host, port)
        try:
            channel = await self._connect_tcp(server, via.host, via.port)
            if via.scheme == "https":
                await self._handshake(via.host, via.port, _ALPN_HTTP1, channel)
        except UpstreamError as error:
            raise UpstreamError(
                f"on the way to the upstream proxy: {error}", error.status
            ) from error
        if route.scheme != "http" or route.asks_proxy:
            await ask_for_tunnel(channel, via, _ascii_host(route.host), route.port, self._limits)
        return server, channel

    async def _connect_tcp(self, server: ServerConnection, host: str, port: int) -> Channel:
        channel = Channel(asyncio.get_running_loop(), self._clock, self._buffers)
        where = join_host_port(host, port)
        tried: dict[str, str] = {}
        try:
            async with asyncio.timeout(self._limits.connect_timeout):
                await self._reach(channel, host, port, tried)
        except TimeoutError as error:
            raise UpstreamError(
                f"could not connect to {where} within {self._limits.connect_timeout:g} s"
                f"{_told(tried)}",
                504,
            ) from error
        except socket.gaierror as error:
            if self._descriptors.exhausted():  # asking for a name takes one too
                raise UpstreamError(self._descriptors.refusal, 503) from error
            raise UpstreamError(f"the name {host!r} has no address: {error.strerror}") from error
        except (OSError, ValueError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno in EXHAUSTED:
                raise UpstreamError(self._descriptors.refusal, 503) from error
            raise UpstreamError(
                f"could not connect to {where}: {reason_of(error)}{_told(tried)}"
            ) from error
        sock = channel.socket
        if sock is not None and not self._descriptors.admit_server(sock.fileno()):
            channel.abort()
            raise UpstreamError(self._descriptors.refusal, 503)
        ends = channel.local_address(), channel.peer_address()
        server.peer = ends[1]
        self._own.dials(*ends)
        server.connected = time.time()
        self._open.add(channel)
        self._counters.server_connections += 1

        def lost() -> None:
            channel.on_lost = None  # or channel and closure would keep each other alive
            server.closed = time.time()
            self._open.discard(channel)
            self._counters.server_connections -= 1
            self._own.dials_no_more(*ends)
            self._remember(server, channel)

        channel.on_lost = lost
        return channel

    async def _reach(self, channel: Channel, host: str, port: int, tried: dict[str, str]) -> None:
        """Connect a channel to whichever address of `host` answers first; `tried` learns of all.

        Raises UpstreamError (508) where one is our own. What was looked at is dialled: a name may
        have another address the next time.
        """
        loop = asyncio.get_running_loop()
        name = _ascii_host(host)
        if parse_address(name) is None or self._own.listens_at(port):
            addresses = await addresses_of(name, port)
            if any(self._own.is_own(str(address), port) for address in addresses):
                raise UpstreamError(
                    f"{join_host_port(host, port)} is this proxy itself; ask for another address",
                    508,
                )
            if len(addresses) > 1:
                sock = await connect_first(addresses, tried)
                await loop.create_connection(lambda: channel, sock=sock)
                return
            name = str(addresses[0])
            if name != host:
                tried[name] = ""
        await loop.create_connection(lambda: channel, name, port)

    async def leads_back(self, host: str, port: int) -> bool:
        """Tell whether a connection to there would be one to our own listeners, as far as is known.

        A name that has no address at the moment leads nowhere.
        """
        if not self._own.listens_at(port):
            return False
        try:
            async with asyncio.timeout(self._limits.connect_timeout):
                addresses = await addresses_of(to_a_labels(host), port)
        except (OSError, ValueError):
            return False
        return any(self._own.is_own(str(address), port) for address in addresses)

    async def secure(self, route: Route, server: ServerConnection, channel: Channel) -> None:
        """Speak TLS on a connection. Raises UpstreamError with what to do about it."""
        name = route.sni or route.host
        alpn: tuple[str, ...] = _ALPN_HTTP1 if route.http1_only else _ALPN_BOTH
        if route.scheme == "tls":
            alpn = route.alpn
        session, verified = await self._handshake(name, route.port, alpn, channel)
        server.secured = time.time()
        server.tls = _facts(session, name, verified)

    async def _handshake(
        self, name: str, port: int, alpn: tuple[str, ...], channel: Channel
    ) -> tuple[TlsSession, bool]:
        channel.allow(self._limits.connect_timeout, "did not finish the TLS handshake in time")
        context = self._tls.context(alpn, name, port)
        try:
            host = _ascii_host(name)
            finished = self._finished.pop((name, port, id(context)), None)
            session = TlsSession(
                context,
                server_side=False,
                server_hostname=host,
                session=None if finished is None else finished.session,
                buffers=self._tls_buffers,
            )
            await channel.start_tls(session)
        except ConnectionTimeout as error:
            channel.abort()
            raise UpstreamError(describe_tls_error(error, name, context), 504) from error
        except (TlsError, ConnectionLost) as error:
            channel.abort()
            raise UpstreamError(describe_tls_error(error, name, context)) from error
        except BaseException:
            channel.abort()
            raise
        channel.allow_for_ever()
        return session, context.verify_mode is not ssl.CERT_NONE

    def _remember(self, server: ServerConnection, channel: Channel) -> None:
        """Keep a finished connection's TLS, to resume its session with the next one."""
        if channel.tls is None or server.tls is None or channel.error is not None:
            return
        tls = channel.tls.object
        if len(self._finished) >= _MAX_FINISHED:
            del self._finished[next(iter(self._finished))]
        self._finished[server.tls.sni or "", server.port, id(tls.context)] = tls

    def close(self) -> None:
        """Close every connection that is still open."""
        for channel in list(self._open):
            channel.abort()


def _told(tried: dict[str, str]) -> str:
    """Say which addresses of a name were tried, and what became of each where they differ."""
    if not tried:
        return ""
    if len(set(tried.values())) == 1:
        return f" ({', '.join(tried)})"
    return f" ({', '.join(f'{address}: {reason}' for address, reason in tried.items())})"


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
