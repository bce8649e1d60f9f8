"""A client of WebSockets over HTTP/2 (RFC 8441): one connection, one WebSocket on stream 1."""

from __future__ import annotations

import asyncio

import h2.config
import h2.connection
import h2.events
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate


class Client:
    """Offers permessage-deflate (RFC 7692) where it is to `compress`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, compress: bool = False
    ) -> None:
        self._reader, self._writer = reader, writer
        self._deflate = PerMessageDeflate() if compress else None
        config = h2.config.H2Configuration(validate_outbound_headers=False, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.ws = Connection(ConnectionType.CLIENT)
        self.status = b""
        self.extensions = b""
        """What the server agreed on."""
        self.pongs: list[bytes] = []
        self.ended = False

    async def fill(self) -> None:
        """Send what there is to send, and take what comes."""
        self._writer.write(self.h2.data_to_send())
        data = await self._reader.read(65536)
        assert data, "the connection ended"
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self._begin(dict(event.headers or []))
            elif isinstance(event, h2.events.DataReceived):
                if event.stream_id == 1:
                    self.ws.receive_data(event.data)
                self.h2.acknowledge_received_data(
                    event.flow_controlled_length or 0, event.stream_id or 0
                )
            elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                self.ended = True
        self._writer.write(self.h2.data_to_send())

    async def open(self, authority: bytes, path: bytes) -> None:
        while not self.h2.remote_settings.enable_connect_protocol:
            await self.fill()
        head = [
            (b":method", b"CONNECT"),
            (b":protocol", b"websocket"),
            (b":scheme", b"https"),
            (b":authority", authority),
            (b":path", path),
            (b"sec-websocket-version", b"13"),
        ]
        if self._deflate is not None:
            offer = f"{self._deflate.name}; {self._deflate.offer()}"
            head.append((b"sec-websocket-extensions", offer.encode()))
        self.h2.send_headers(1, head)
        while not self.status:
            await self.fill()

    def _begin(self, head: dict[bytes, bytes]) -> None:
        self.status = head[b":status"]
        self.extensions = head.get(b"sec-websocket-extensions", b"")
        if self._deflate is not None and self.extensions:
            self._deflate.finalize(self.extensions.decode())
            self.ws = Connection(ConnectionType.CLIENT, [self._deflate])

    def say(self, message: Event) -> None:
        data = self.ws.send(message)
        for start in range(0, len(data), 16384):
            self.h2.send_data(1, data[start : start + 16384])

    async def hear(self) -> str | bytes:
        """Return the next message, whole; pings are answered on the way."""
        parts: list[str | bytes] = []
        while True:
            for event in self.ws.events():
                if isinstance(event, TextMessage | BytesMessage):
                    parts.append(
                        event.data if isinstance(event, TextMessage) else bytes(event.data)
                    )
                    if event.message_finished:
                        return parts[0][:0].join(parts)  # type: ignore[arg-type]
                elif isinstance(event, Ping):
                    self.say(event.response())
                elif isinstance(event, Pong):
                    self.pongs.append(bytes(event.payload))
                assert not isinstance(event, CloseConnection), event
            await self.fill()
