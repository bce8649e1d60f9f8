"""WebSockets over HTTP/2 (RFC 8441), at an origin that knows HTTP/1 alone."""

from __future__ import annotations

import asyncio

import h2.config
import h2.connection
import h2.events
import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from tests.e2e.harness import BackgroundOrigin, ProxyProcess
from tests.e2e.wires import Wires


class Client:
    """One HTTP/2 connection with one WebSocket on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        config = h2.config.H2Configuration(validate_outbound_headers=False, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.ws = Connection(ConnectionType.CLIENT)
        self.status = b""
        self.ended = False

    async def fill(self) -> None:
        """Send what there is to send, and take what comes."""
        self._writer.write(self.h2.data_to_send())
        data = await self._reader.read(65536)
        assert data, "the connection ended"
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.status = dict(event.headers or [])[b":status"]
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
        self.h2.send_headers(
            1,
            [
                (b":method", b"CONNECT"),
                (b":protocol", b"websocket"),
                (b":scheme", b"https"),
                (b":authority", authority),
                (b":path", path),
                (b"sec-websocket-version", b"13"),
            ],
        )
        while not self.status:
            await self.fill()

    def say(self, message: TextMessage | BytesMessage | CloseConnection) -> None:
        data = self.ws.send(message)
        for start in range(0, len(data), 16384):
            self.h2.send_data(1, data[start : start + 16384])

    async def hear(self) -> str | bytes:
        """Return the next message, whole."""
        parts: list[str | bytes] = []
        while True:
            for event in self.ws.events():
                if isinstance(event, TextMessage | BytesMessage):
                    parts.append(
                        event.data if isinstance(event, TextMessage) else bytes(event.data)
                    )
                    if event.message_finished:
                        return parts[0][:0].join(parts)  # type: ignore[arg-type]
                assert not isinstance(event, CloseConnection), event
            await self.fill()


@pytest.fixture
async def client(proxy: ProxyProcess, origin: BackgroundOrigin, wires: Wires) -> Client:
    reader, writer = await wires.secure(f"localhost:{origin.https1}", "h2")
    return Client(reader, writer)


async def test_messages_go_both_ways_over_a_stream(
    client: Client, origin: BackgroundOrigin
) -> None:
    await client.open(b"localhost:%d" % origin.https1, b"/ws")
    assert client.status == b"200"
    for number in range(20):
        client.say(TextMessage(f"message {number}"))
        assert await client.hear() == f"message {number}"
    client.say(BytesMessage(b"x" * 60_000))
    assert await client.hear() == b"x" * 60_000
    client.say(CloseConnection(1000))
    client.h2.end_stream(1)
    while not client.ended:
        await client.fill()


async def test_other_streams_go_on_beside_it(client: Client, origin: BackgroundOrigin) -> None:
    authority = b"localhost:%d" % origin.https1
    await client.open(authority, b"/ws")
    client.status = b""
    get = [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", authority),
        (b":path", b"/api/users/7"),
    ]
    client.h2.send_headers(3, get, end_stream=True)
    while not client.status:
        await client.fill()
    assert client.status == b"200"
    client.say(TextMessage("still here"))
    assert await client.hear() == "still here"


async def test_origin_that_turns_it_down_is_passed_on(
    client: Client, origin: BackgroundOrigin
) -> None:
    await client.open(b"localhost:%d" % origin.https1, b"/no-such-socket")
    assert client.status == b"404"
