"""A dialer whose connections lead to peers in the test's hands."""

from __future__ import annotations

import asyncio
import itertools

from proxy_core.errors import UpstreamError
from proxy_core.exchange.ports import Route
from proxy_core.model.connection import ServerConnection, TlsFacts
from proxy_core.model.ids import ConnectionId
from proxy_core.net.channel import Channel
from proxy_core.net.dial import Dialer
from tests.net.wires import Peer, Wires


class HandDialer(Dialer):
    """Dials without a network; TLS is a note of what the origin chose, the bytes stay in clear."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._ids = itertools.count(1)
        self.alpn: str | None = None
        """What the next handshakes choose."""
        self.failure: UpstreamError | None = None
        self.dialled: list[Route] = []
        self.peers: list[Peer] = []
        self.channels: list[Channel] = []
        self._gate = asyncio.Event()
        self._gate.set()

    def hold(self) -> None:
        """Let dials wait until `go`."""
        self._gate.clear()

    def go(self) -> None:
        self._gate.set()

    async def connect(self, route: Route) -> tuple[ServerConnection, Channel]:
        self.dialled.append(route)
        await self._gate.wait()
        if self.failure is not None:
            raise self.failure
        channel, peer = await self._wires.open()
        self.channels.append(channel)
        self.peers.append(peer)
        return ServerConnection(ConnectionId(next(self._ids)), route.host, route.port), channel

    async def secure(self, route: Route, server: ServerConnection, channel: Channel) -> None:
        alpn = "http/1.1" if route.http1_only and self.alpn else self.alpn
        server.tls = TlsFacts("TLSv1.3", "a cipher", alpn, route.sni or route.host)

    def close(self) -> None:
        for channel in self.channels:
            channel.abort()
