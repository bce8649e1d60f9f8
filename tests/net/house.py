"""A listener with a real exchange behind it, whose origins are in the test's hands."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl

from proxy_core.bus.bus import Bus
from proxy_core.bus.flow_ring import FlowRing
from proxy_core.config import Limits, Mode, RegularMode
from proxy_core.exchange.capture import CaptureQueue
from proxy_core.exchange.connections import Connections
from proxy_core.exchange.exchange import Exchange
from proxy_core.exchange.held import HeldFlows
from proxy_core.exchange.hooks import Hooks
from proxy_core.exchange.ledger import Ledger
from proxy_core.model.counters import Counters
from proxy_core.model.flow import Flow
from proxy_core.net.buffers import Buffers
from proxy_core.net.client_parts import ClientParts
from proxy_core.net.guard import ClientGuard
from proxy_core.net.listener import Listener
from proxy_core.net.passthrough import Passthrough
from proxy_core.net.pool import UpstreamPool
from tests.net.origins import HandDialer
from tests.net.wires import Peer, TlsPeer, Wires
from tests.waiting import until


class OneContext:
    """Every client sees the same certificate."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.asked: list[str] = []

    def for_host(self, host: str) -> ssl.SSLContext:
        self.asked.append(host)
        return self._context


class House:
    """A proxy without a process, a CA, plugins or a console."""

    def __init__(
        self,
        wires: Wires,
        context: ssl.SSLContext,
        limits: Limits,
        mode: Mode | None = None,
        passthrough: Passthrough | None = None,
    ) -> None:
        self.wires = wires
        self.counters = Counters()
        self.faults: list[BaseException] = []
        self.refused: list[str] = []
        self.hooks = Hooks()
        self.dialer = HandDialer(wires)
        self.pool = UpstreamPool(self.dialer, wires.clock, limits)
        self.contexts = OneContext(context)
        self._flows = FlowRing(limits.captured_total)
        ledger = Ledger(
            flows=self._flows,
            bus=Bus(),
            counters=self.counters,
            captures=CaptureQueue(self.hooks),
            body_limit=limits.captured_body,
            growing_limit=limits.captured_growing,
        )
        exchange = Exchange(ledger=ledger, hooks=self.hooks, upstreams=self.pool, held=HeldFlows())
        parts = ClientParts(
            mode=mode or RegularMode(),
            exchange=exchange,
            connections=Connections(ledger=ledger, hooks=self.hooks, upstreams=self.pool),
            upstreams=self.pool,
            contexts=self.contexts,
            clock=wires.clock,
            limits=limits,
            buffers=Buffers.within(limits),
            ids=itertools.count(1),
            on_fault=self.faults.append,
            passthrough=passthrough or Passthrough(),
        )
        self.listener = Listener(
            parts, self.counters, self.faults.append, ClientGuard(), self.refused.append
        )
        self.port = 0

    async def open(self) -> None:
        where = await self.listener.start("127.0.0.1", 0)
        self.port = int(where.rpartition(":")[2])

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port))
        self.wires.own(sock)
        return sock

    def client(self) -> Peer:
        return Peer(self.connect())

    async def tls_client(self, context: ssl.SSLContext, host: str, *, tunnel: bool) -> TlsPeer:
        """Connect, through a tunnel to `host`:443 if asked, and speak TLS."""
        sock = self.connect()
        if tunnel:
            peer = Peer(sock)
            await peer.send(b"CONNECT %b:443 HTTP/1.1\r\nHost: x\r\n\r\n" % host.encode())
            assert (await peer.read_head()).startswith(b"HTTP/1.1 200 ")
        client = TlsPeer(sock, context, host)
        await client.handshake()
        return client

    async def origin(self, number: int = 0) -> Peer:
        """Wait for a connection to an origin and be that origin."""
        await until(lambda: len(self.dialer.peers) > number)
        return self.dialer.peers[number]

    def flows(self) -> list[Flow]:
        return self._flows.snapshot()

    async def close(self) -> None:
        await self.listener.stop()
        await self.pool.close()
        await asyncio.sleep(0)
