"""A client that speaks HTTP/2, and the connection that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from h2.settings import SettingCodes

from proxy_core.config import Limits
from proxy_core.errors import RemoteProtocolError
from proxy_core.model.connection import ClientConnection
from proxy_core.model.ids import ConnectionId
from proxy_core.model.message import ResponseHead
from proxy_core.net.channel import Channel
from proxy_core.net.client_http2 import Http2Client
from proxy_core.net.client_http2_stream import Http2ClientStream
from proxy_core.net.clock import Clock
from proxy_core.net.routing import Router
from proxy_core.wire.events import RequestReceived
from proxy_core.wire.http2_folded import Folded
from tests.net.h2_peer import REQUEST, Fields, H2Peer
from tests.net.wires import Wires

LIMITS = Limits(
    idle_timeout=300.0, body_timeout=200.0, stream_buffer=100_000, streams=3, unwanted_body=500_000
)

Run = Callable[[Http2ClientStream, RequestReceived], Awaitable[None]]


async def read_body(stream: Http2ClientStream) -> bytes:
    data = b""
    while piece := await stream.read():
        data += piece
    return data


async def echo(stream: Http2ClientStream, received: RequestReceived) -> None:
    """Answer with the path and the body."""
    body = received.head.path + b"|" + await read_body(stream)
    stream.send_head(ResponseHead(200), len(body))
    stream.send_data(body)
    stream.send_end(None)


@dataclass
class Side:
    """The client, and our side of its connection."""

    channel: Channel
    client: H2Peer
    wires: Wires
    clock: Clock
    refused: list[RemoteProtocolError] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    run: Run = echo

    async def _run(self, stream: Http2ClientStream, received: RequestReceived) -> None:
        await self.run(stream, received)

    def serve(
        self, folded: Folded | None = None
    ) -> tuple[Http2Client, asyncio.Task[Folded | None]]:
        facts = ClientConnection(
            ConnectionId(1), ("192.0.2.1", 1), ("192.0.2.2", 2), "regular", 0.0
        )
        http = Http2Client(
            self.channel,
            facts,
            Router(),
            self.clock,
            LIMITS,
            self._run,
            self.refused.append,
            self.faults.append,
            folded,
        )
        return http, self.wires.start(http.serve())

    async def ask(self, path: bytes = b"/", end: bool = True, fields: Fields = REQUEST) -> int:
        stream_id = self.client.h2.get_next_available_stream_id()
        fields = [(name, path if name == b":path" else value) for name, value in fields]
        self.client.h2.send_headers(stream_id, fields, end_stream=end)
        await self.client.flush()
        return stream_id

    async def widen(self) -> None:
        """Let the proxy send as much as it likes."""
        self.client.h2.increment_flow_control_window(2**30)
        self.client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**30})
        await self.client.flush()


@asynccontextmanager
async def open_side(wires: Wires, clock: Clock) -> AsyncIterator[Side]:
    """Open a connection; in the end there must have been no faults."""
    channel, peer = await wires.open(limit=100_000)
    made = Side(channel, H2Peer(peer, client_side=True), wires, clock)
    await made.client.begin()
    yield made
    assert made.faults == []
