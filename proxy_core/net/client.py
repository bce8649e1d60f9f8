"""The story of one client connection: who is there, what it speaks, where it wants to go.

The first bytes decide (`wire/sniff`): HTTP/1, HTTP/2 or TLS, of which the ClientHello is read
before anything is answered. CONNECT, a SOCKS request or a redirecting firewall lead to the same
question once more, inside a tunnel; what is neither HTTP nor TLS is carried as bytes.

Each step of the way returns the next one instead of awaiting it, so that an idle connection keeps
nothing of the steps that led to where it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from proxy_core.config import ReverseMode, SocksMode, TransparentMode
from proxy_core.errors import (
    CaError,
    ConnectionLost,
    ConnectionTimeout,
    RefusedByHook,
    RemoteProtocolError,
    TlsError,
    UpstreamError,
)
from proxy_core.exchange.loops import end_round
from proxy_core.exchange.ports import ByteStream
from proxy_core.model.connection import ClientConnection, ServerConnection, TlsFacts
from proxy_core.model.headers import Headers
from proxy_core.model.ids import ConnectionId
from proxy_core.model.message import RequestHead, join_authority, split_authority
from proxy_core.net.channel import Channel, FellIdle
from proxy_core.net.client_http1 import Http1Client
from proxy_core.net.client_http2 import Http2Client
from proxy_core.net.client_parts import ClientParts
from proxy_core.net.client_tls import certify, facts_of, offer_of, read_hello, speaks_no_http
from proxy_core.net.client_tunnel import OVER_HTTP, OVER_SOCKS, Answers, Tunnel
from proxy_core.net.client_way import Way
from proxy_core.net.destination import original_destination
from proxy_core.net.first_bytes import server_speaks_first, sniff_protocol
from proxy_core.net.last_words import closing_answer
from proxy_core.net.routing import FixedRouter, Router
from proxy_core.net.socks import accept_socks
from proxy_core.net.tls_session import TlsSession
from proxy_core.wire.http2_folded import Folded
from proxy_core.wire.sniff import Protocol
from proxy_core.wire.tls_hello import ClientHello

_SERVER_FIRST_GRACE = 0.25
"""Seconds a client may stay silent in a new tunnel before the server is asked to speak."""

_Step: TypeAlias = "Coroutine[Any, Any, _Step | None]"


class _Rest(NamedTuple):
    """What a connection on which nothing happens needs to go on."""

    router: Router
    inside: bool
    """A tunnel; in HTTP/1."""
    http2: Folded | None


class ClientSession:
    """Serves one accepted connection from the first byte to the last.

    One on which nothing happens for a while rests: `run` returns, and goes on when called again.
    """

    __slots__ = ("_client", "_dialled", "_parts", "_rest", "_way", "channel")

    def __init__(self, parts: ClientParts, way: Way, channel: Channel) -> None:
        self._parts = parts
        self.channel = channel
        self._rest: _Rest | None = None
        self._dialled: tuple[ServerConnection, ByteStream] | None = None
        """A tunnel's way to its server, while nobody knows yet whether its bytes go there as is."""
        self._way = way
        self._client = ClientConnection(
            ConnectionId(next(parts.ids)),
            channel.peer_address(),
            channel.local_address(),
            str(parts.mode),
            time.time(),
        )

    @property
    def rests(self) -> bool:
        """Whether `run` returned for the connection to rest, and not because it ended."""
        return self._rest is not None

    async def run(self) -> None:
        """Serve until the connection ends, or rests; failures of the client end here."""
        step: _Step | None = self._begin() if self._rest is None else self._wake(self._rest)
        try:
            while step is not None:
                step = await step
        except (ConnectionLost, ConnectionTimeout, TlsError):
            self.channel.abort()
        finally:
            if self._rest is None:
                self._drop_dialled()
                self.note_end()

    def note_end(self) -> None:
        """Take note that the connection has ended; `run` does so by itself."""
        self._client.closed = time.time()

    def _wake(self, rest: _Rest) -> _Step:
        self._rest = None
        if rest.http2 is not None:
            return self._speak_http2(rest.router, rest.http2)
        return self._speak_http1(rest.router, rest.inside, rested=True)

    async def _begin(self) -> _Step | None:
        if await self._parts.connections.admit(self._client, None) is not None:
            self.channel.abort()
            return None
        self.channel.allow(self._parts.limits.head_timeout, "the request's head took too long")
        mode = self._parts.mode
        if isinstance(mode, SocksMode):
            return self._speak_socks()
        if isinstance(mode, TransparentMode):
            return self._speak_transparent()
        if isinstance(mode, ReverseMode) and mode.scheme in ("tcp", "tls"):
            return self._carry_bytes(self._way.tunnel_to(mode.host, mode.port))
        protocol, _ = await sniff_protocol(self.channel)
        return self._speak(protocol, None)

    def _refuse_ourselves(self, tunnel: Tunnel, protocol: Protocol | None) -> _Step | None:
        """Return how to be rid of a client that is this proxy itself, or None for all others."""
        if not isinstance(self._parts.mode, TransparentMode):
            return None
        if not self._parts.own.has_dialled(self._client.peer, (tunnel.host, tunnel.port)):
            return None
        return self._end_loop(protocol)

    async def _end_loop(self, protocol: Protocol | None) -> None:
        why = "the firewall turns the proxy's own connections back to it; see docs/transparent.md"
        self._parts.connections.refuse(self._client, _unknown_request("http", ""), why, 508)
        if protocol is Protocol.HTTP1:
            self.channel.write(closing_answer(508, why))
            await self.channel.linger(2.0, 65536)
        else:
            self.channel.close()

    def _speak(self, protocol: Protocol | None, tunnel: Tunnel | None) -> _Step:
        secured = tunnel is not None and tunnel.secured
        if protocol is Protocol.TLS and not secured:
            return self._speak_tls(tunnel)
        if tunnel is not None and protocol not in (Protocol.HTTP1, Protocol.HTTP2):
            return self._carry_bytes(tunnel)
        sni = tunnel.sni if tunnel is not None else ""
        router = self._router("https" if secured else "http", tunnel, sni)
        if protocol is Protocol.HTTP2:
            return self._speak_http2(router)
        # Bytes that are no HTTP get an HTTP/1 error as their answer.
        return self._speak_http1(router, tunnel is not None)

    def _router(self, scheme: str, tunnel: Tunnel | None, sni: str) -> Router:
        owner = self._client.id if self._parts.upstream_per_client else 0
        return self._way.router(scheme, tunnel, sni, owner)

    # --- TLS

    async def _speak_tls(self, tunnel: Tunnel | None) -> _Step | None:
        parts = self._parts
        self.channel.allow(parts.limits.head_timeout, "the TLS handshake took too long")
        host = self._way.default_host(tunnel, self._client.local[0])
        try:
            hello = await read_hello(self.channel)
            offer = offer_of(hello)
            self._client = replace(self._client, tls=offer)
            passed = self._way.passed_through(tunnel, hello.sni)
            if passed is not None:
                return self._carry_bytes(passed)
            self._drop_dialled()
            if tunnel is not None and speaks_no_http(hello):
                return self._speak_foreign_tls(tunnel, hello, offer)
            context, sni = certify(parts.contexts, hello.sni, host)
            context.set_alpn_protocols(self._way.protocols(tunnel))
            host = sni or host
            session = TlsSession(context, server_side=True, buffers=parts.tls_buffers)
            await self.channel.start_tls(session)
        except (TlsError, RemoteProtocolError, CaError, ConnectionTimeout) as error:
            self._refuse_tls(tunnel, host, error)
            return None
        self._note_tls(session, offer, host)
        protocol = session.object.selected_alpn_protocol()
        if protocol == "h2":
            return self._speak_http2(self._router("https", tunnel, sni))
        if protocol is None and tunnel is not None:
            return self._enter(replace(tunnel, secured=True, sni=sni))
        return self._speak_http1(self._router("https", tunnel, sni), tunnel is not None)

    async def _speak_foreign_tls(
        self, tunnel: Tunnel, hello: ClientHello, offer: TlsFacts
    ) -> _Step | None:
        """Carry what is no HTTP by its own word: whether it is taken is for the server to say."""
        parts = self._parts
        host = self._way.default_host(tunnel, self._client.local[0])
        try:
            context, sni = certify(parts.contexts, hello.sni, host)
            host = sni or host
            tunnel = replace(tunnel, secured=True, sni=sni)
            server, connection = await parts.upstreams.connect(tunnel.route(hello.alpn))
        except (CaError, UpstreamError) as error:
            self._refuse_tls(tunnel, host, error)
            return None
        try:
            context, _ = certify(parts.contexts, hello.sni, host)  # as it was then, it may not be
            chosen = None if server.tls is None else server.tls.alpn
            context.set_alpn_protocols([] if chosen is None else [chosen])
            session = TlsSession(context, server_side=True, buffers=parts.tls_buffers)
            await self.channel.start_tls(session)
        except (TlsError, CaError, ConnectionTimeout) as error:
            connection.close()
            self._refuse_tls(tunnel, host, error)
            return None
        except BaseException:
            connection.close()
            raise
        self._note_tls(session, offer, host)
        self._dialled = server, connection
        return self._carry_bytes(tunnel)

    def _note_tls(self, session: TlsSession, offer: TlsFacts, host: str) -> None:
        """Take the client for another one: what is inside is a connection of its own."""
        self._parts.passthrough.accepted(host)
        self._client = replace(
            self._client,
            id=ConnectionId(next(self._parts.ids)),
            tls=facts_of(session, offer),
            opened=time.time(),
        )

    def _refuse_tls(self, tunnel: Tunnel | None, host: str, error: Exception) -> None:
        if isinstance(error, TlsError):
            self._parts.passthrough.refused(host)
        head = tunnel.head if tunnel is not None else _unknown_request("https", host)
        who = "" if isinstance(error, UpstreamError) else f"TLS with the client failed for {host}: "
        self._parts.connections.refuse(self._client, head, f"{who}{error}")
        self.channel.close()

    # --- HTTP

    async def _speak_http1(
        self, router: Router, inside: bool, rested: bool = False
    ) -> _Step | None:
        """Serve requests; `inside` a tunnel a CONNECT is for the proxy that it leads to."""
        self._drop_dialled()
        parts = self._parts
        http = Http1Client(
            self.channel,
            self._client,
            router,
            parts.limits,
            parts.exchange.run,
            self._refuse,
            parts.lenient,
        )
        try:
            connect = await http.run(rested)
        except FellIdle:
            self._rest = _Rest(router, inside, None)
            return None
        if connect is None:
            return None
        http.release_channel()
        if inside and isinstance(router, FixedRouter):
            return self._pass_connect_on(router.tunnel(connect.head))
        return self._connect(connect.head)

    async def _speak_http2(self, router: Router, folded: Folded | None = None) -> None:
        self._drop_dialled()
        parts = self._parts
        folded = await Http2Client(
            self.channel,
            self._client,
            router,
            parts.clock,
            parts.limits,
            parts.exchange.run,
            self._refuse,
            parts.on_fault,
            folded,
        ).serve()
        if folded is not None:
            self._rest = _Rest(router, False, folded)

    def _refuse(self, error: RemoteProtocolError) -> None:
        head = _unknown_request("http", "")
        self._parts.connections.refuse(
            self._client, head, f"the client sent what is no request: {error}", error.status
        )

    # --- CONNECT

    async def _connect(self, head: RequestHead) -> _Step | None:
        host, port = split_authority(head.authority, "https")
        via = self._way.via
        if via is not None:
            via = replace(via, passed=head.headers.joined(b"via") or b"")
        tunnel = Tunnel(host.lower(), port, head, via)
        return await self._open(tunnel, OVER_HTTP, self._way.takes_connect)

    async def _pass_connect_on(self, tunnel: Tunnel) -> _Step | None:
        """Carry a CONNECT for another proxy, and all behind it, as bytes.

        That proxy may ask who wants it, and who is asked is the client.
        """
        try:
            await self._ask_plugins(tunnel)
            self.channel.allow_for_ever()
            self._dialled = await self._parts.upstreams.connect(tunnel.route())
        except (RefusedByHook, UpstreamError) as error:
            await self._turn_away(tunnel, OVER_HTTP, error)
            return None
        self.channel.unread(tunnel.head.raw)
        return self._carry_bytes(tunnel)

    async def _open(self, tunnel: Tunnel, answers: Answers, taken: bool = True) -> _Step | None:
        """Tell a client that it may speak to the server it asked for, or why not."""
        try:
            await self._admit(tunnel, taken)
        except (RefusedByHook, RemoteProtocolError, UpstreamError) as error:
            await self._turn_away(tunnel, answers, error)
            return None
        self.channel.write(answers.granted)
        return self._enter(tunnel)

    async def _turn_away(
        self,
        tunnel: Tunnel,
        answers: Answers,
        error: RefusedByHook | RemoteProtocolError | UpstreamError,
    ) -> None:
        self._parts.connections.refuse(self._client, tunnel.head, str(error), error.status)
        self.channel.write(answers.refused(error))
        await self.channel.linger(2.0, 65536)

    async def _admit(self, tunnel: Tunnel, taken: bool) -> None:
        """Ask whether a tunnel may be; raises RefusedByHook, RemoteProtocolError, UpstreamError.

        Its server is dialled only where bytes will go on as they are: whoever is looked into may be
        answered by a plugin or over a connection that is there already, and hears of failures in
        HTTP.
        """
        parts = self._parts
        await self._ask_plugins(tunnel)
        if not taken:
            raise RemoteProtocolError("CONNECT is not taken here", 405)
        if parts.pseudonym:
            end_round(tunnel.head, parts.pseudonym)
        if self._way.carries_bytes_only(tunnel):
            self.channel.allow_for_ever()
            self._dialled = await parts.upstreams.connect(tunnel.route())

    async def _ask_plugins(self, tunnel: Tunnel) -> None:
        blocked = await self._parts.connections.admit(self._client, tunnel.head.authority)
        if blocked is not None:
            raise RefusedByHook(f"blocked by {blocked.by}")

    def _drop_dialled(self) -> None:
        """Close a connection that was dialled for bytes, which are looked into after all."""
        if self._dialled is not None:
            self._dialled[1].close()
            self._dialled = None

    async def _enter(self, tunnel: Tunnel) -> _Step | None:
        """Find out what is spoken in a tunnel, and speak it."""
        if self._dialled is not None:
            return self._await_first_word(tunnel, self._dialled[1])
        self.channel.allow(self._parts.limits.head_timeout, "nothing came through the tunnel")
        try:
            async with asyncio.timeout(_SERVER_FIRST_GRACE):
                protocol, data = await sniff_protocol(self.channel)
        except TimeoutError:
            return self._refuse_ourselves(tunnel, None) or self._ask_server_first(tunnel)
        if data:
            return self._refuse_ourselves(tunnel, protocol) or self._speak(protocol, tunnel)
        self.channel.close()
        return None

    async def _speak_socks(self) -> _Step | None:
        parts = self._parts
        try:
            wanted = await accept_socks(self.channel, parts.passwords)
        except RemoteProtocolError as error:
            parts.connections.refuse(self._client, _unknown_request("http", ""), str(error))
            await self.channel.linger(2.0, 65536)
            return None
        if wanted is None:
            self.channel.close()
            return None
        return await self._open(self._way.tunnel_to(wanted.host.lower(), wanted.port), OVER_SOCKS)

    async def _speak_transparent(self) -> _Step | None:
        sock = self.channel.socket
        wanted = None if sock is None else original_destination(sock)
        if wanted is None or self._parts.own.is_own(*wanted):
            self._parts.connections.refuse(
                self._client,
                _unknown_request("http", ""),
                "the firewall has not turned this connection here; see docs/transparent.md",
            )
            self.channel.close()
            return None
        return self._enter(self._way.tunnel_to(*wanted))

    async def _ask_server_first(self, tunnel: Tunnel) -> _Step | None:
        """Dial while the client is silent: in some protocols the server has the first word."""
        parts = self._parts
        try:
            self._dialled = await parts.upstreams.connect(tunnel.route())
        except UpstreamError as error:
            if tunnel.secured:  # somebody may type a request, and is told why there is no answer
                protocol, _ = await sniff_protocol(self.channel)
                if protocol in (Protocol.HTTP1, Protocol.HTTP2):
                    return self._speak(protocol, tunnel)
            parts.connections.refuse(self._client, tunnel.head, str(error))
            self.channel.close()
            return None
        return self._await_first_word(tunnel, self._dialled[1])

    async def _await_first_word(self, tunnel: Tunnel, server: ByteStream) -> _Step | None:
        self.channel.allow(self._parts.limits.idle_timeout, "nothing came through the tunnel")
        if await server_speaks_first(self.channel, server):
            return self._carry_bytes(tunnel)
        protocol, data = await sniff_protocol(self.channel)
        if data:
            return self._speak(protocol, tunnel)
        self.channel.close()
        return None

    async def _carry_bytes(self, tunnel: Tunnel) -> None:
        self.channel.allow_for_ever()
        route = self._way.bytes_route(tunnel)
        dialled, self._dialled = self._dialled, None
        await self._parts.connections.tunnel(
            self._client, tunnel.head, self.channel, route, dialled
        )


def _unknown_request(scheme: str, host: str) -> RequestHead:
    return RequestHead(b"-", scheme, join_authority(host, 443, scheme), b"", Headers())
