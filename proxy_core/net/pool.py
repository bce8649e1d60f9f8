"""The connections to origins: kept while they may be used again, shared where HTTP/2 allows.

An HTTP/1 connection is either lent to one exchange or lies in `_idle`, newest last, where any byte
it delivers unasked closes it. HTTP/2 connections are shared while they have room. Several
requests for an origin whose HTTP version is not known yet wait for the first one's handshake, and
share its failure.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

from proxy_core.config import Limits
from proxy_core.errors import UpstreamError
from proxy_core.exchange.ports import ByteStream, Route, UpstreamStream
from proxy_core.model.connection import ServerConnection
from proxy_core.net.channel import Channel
from proxy_core.net.clock import Clock
from proxy_core.net.dial import Dialer
from proxy_core.net.upstream_http1 import Http1Upstream
from proxy_core.net.upstream_http2 import Http2Upstream

_MAX_KNOWN = 4096
_EXHAUSTED = 503


class UpstreamPool:
    """Implements `Upstreams`."""

    def __init__(self, dialer: Dialer, clock: Clock, limits: Limits, lenient: bool = False) -> None:
        self._lenient = lenient
        self._dialer = dialer
        self._clock = clock
        self._limits = limits
        self._idle: dict[Route, list[Http1Upstream]] = {}
        self._shared: dict[Route, list[Http2Upstream]] = {}
        self._dialling: dict[Route, asyncio.Future[UpstreamError | None]] = {}
        self._idle_count = 0
        self._http1: dict[Route, None] = {}
        """Origins that chose HTTP/1 when asked last, newest last."""
        self._not_http2: dict[Route, None] = {}
        """Origins that chose HTTP/2 and then asked for HTTP/1.1 all the same."""

    def acquire(self, route: Route) -> UpstreamStream | None:
        """See `Upstreams.acquire`."""
        if route.websocket:
            other = replace(route, websocket=False, http1_only=False)
            for connection in self._shared.get(other, ()):
                mine = connection.server.owner in (0, route.owner)
                if mine and connection.has_room and connection.takes_websockets:
                    return connection.open_stream()
            route = replace(route, websocket=False)
        if self._not_http2:
            route = self._spoken(route)
        shared = self._shared.get(route)
        if shared is not None:
            for connection in shared:
                if connection.has_room and connection.server.owner in (0, route.owner):
                    return connection.open_stream()
        idle = self._idle.get(route)
        while idle:
            upstream = idle.pop()
            self._idle_count -= 1
            if not idle:
                del self._idle[route]
            upstream.channel.on_activity = None
            if not upstream.channel.ended:
                upstream.begin()
                return upstream
            upstream.channel.close()
        return None

    async def open(self, route: Route, fresh: bool = False) -> UpstreamStream:
        """See `Upstreams.open`."""
        if route.websocket:
            route = replace(route, websocket=False)
        if self._not_http2:
            route = self._spoken(route)
        while not fresh and self._may_be_http2(route):
            dialling = self._dialling.get(route)
            if dialling is None:
                return await self._open_first(route)
            await asyncio.wait([dialling])
            failure = dialling.result()
            if failure is not None:
                # To dial in turn would make the last wait for everybody's time limits.
                raise UpstreamError(str(failure), failure.status)
            stream = self.acquire(route)
            if stream is not None:
                return stream
        return await self._dial(route)

    def _spoken(self, route: Route) -> Route:
        """Return the route as its origin wants to be spoken to."""
        return replace(route, http1_only=True) if route in self._not_http2 else route

    def _may_be_http2(self, route: Route) -> bool:
        return route.scheme == "https" and not route.http1_only and route not in self._http1

    async def _open_first(self, route: Route) -> UpstreamStream:
        done: asyncio.Future[UpstreamError | None] = asyncio.get_running_loop().create_future()
        self._dialling[route] = done
        failure: UpstreamError | None = None
        try:
            return await self._dial(route)
        except UpstreamError as error:
            failure = error
            raise
        finally:
            del self._dialling[route]
            done.set_result(failure)

    async def _dial(self, route: Route) -> UpstreamStream:
        server, channel = await self._connect(route)
        if route.scheme == "https":
            await self._dialer.secure(route, server, channel)
            if server.tls is not None and server.tls.alpn == "h2":
                shared = Http2Upstream(
                    channel, server, route, self._clock, self._limits, self._drop_shared
                )
                self._shared.setdefault(route, []).append(shared)
                self._http1.pop(route, None)
                shared.start()
                return shared.open_stream()
            _note(self._http1, route)
        upstream = Http1Upstream(channel, server, route, self._limits, self._keep, self._lenient)
        upstream.begin()
        return upstream

    async def _connect(self, route: Route) -> tuple[ServerConnection, Channel]:
        """Dial; where that takes more than there is, once more without the connections kept."""
        try:
            return await self._dialer.connect(route)
        except UpstreamError as error:
            if error.status != _EXHAUSTED or not self.drop_idle():
                raise
        await asyncio.sleep(0)  # the sockets are closed on the loop's next turn
        return await self._dialer.connect(route)

    async def connect(self, route: Route) -> tuple[ServerConnection, ByteStream]:
        """See `Upstreams.connect`."""
        server, channel = await self._connect(route)
        if route.scheme == "tls":
            await self._dialer.secure(route, server, channel)
        return server, channel

    def _keep(self, upstream: Http1Upstream) -> None:
        limits = self._limits
        if upstream.server.owner:
            upstream.route = replace(upstream.route, owner=upstream.server.owner)
        idle = self._idle.get(upstream.route, [])
        if len(idle) >= limits.upstream_idle_per_origin or not limits.upstream_idle_total:
            upstream.channel.close()
            return
        if self._idle_count >= limits.upstream_idle_total:
            self._drop_idle(next(iter(self._idle.values()))[0])
        self._idle.setdefault(upstream.route, []).append(upstream)
        self._idle_count += 1
        channel = upstream.channel
        channel.on_activity = lambda _: self._drop_idle(upstream)
        channel.allow(self._limits.upstream_idle, "nothing to do")

    def _drop_idle(self, upstream: Http1Upstream) -> None:
        idle = self._idle.get(upstream.route)
        if idle is not None:
            with contextlib.suppress(ValueError):
                idle.remove(upstream)
                self._idle_count -= 1
            if not idle:
                del self._idle[upstream.route]
        upstream.channel.on_activity = None
        upstream.channel.close()

    def drop_idle(self) -> bool:
        """Close every kept connection that carries nothing; return whether there was any."""
        dropped = [upstream for idle in self._idle.values() for upstream in idle]
        for upstream in dropped:
            self._drop_idle(upstream)
        return bool(dropped)

    def _drop_shared(self, upstream: Http2Upstream) -> None:
        if upstream.wants_http1:
            _note(self._not_http2, upstream.route)
        shared = self._shared.get(upstream.route)
        if shared is not None:
            with contextlib.suppress(ValueError):
                shared.remove(upstream)
            if not shared:
                del self._shared[upstream.route]

    async def close(self) -> None:
        """Close every connection, kept or lent."""
        shared = [connection for group in self._shared.values() for connection in group]
        self._shared.clear()
        self._idle.clear()
        self._idle_count = 0
        for connection in shared:
            await connection.close()
        self._dialer.close()


def _note(known: dict[Route, None], route: Route) -> None:
    """Put a route last, and forget the first of too many."""
    known.pop(route, None)
    if len(known) >= _MAX_KNOWN:
        del known[next(iter(known))]
    known[route] = None
