"""WebSockets whatever the two sides speak: by Upgrade in HTTP/1, by CONNECT in HTTP/2."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import h2.events
import pytest
from h2.settings import SettingCodes

from proxy_core.config import Limits
from proxy_core.model.flow import FlowKind, FlowState
from tests.ca.certificates import make, server_context
from tests.net.h2_peer import H2Peer
from tests.net.house import House
from tests.net.pair_ends import Http2End, client_of
from tests.net.wires import Peer, Wires
from tests.waiting import until
from tests.wire.websocket_frames import frame

LEAF = make("origin.example", issuer=make("The CA", ca=True))
MASK = b"\x01\x02\x03\x04"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Pipe(Protocol):
    """Bytes both ways, once the handshake is over."""

    async def send(self, data: bytes) -> None: ...

    async def read_exactly(self, count: int) -> bytes: ...

    def close(self) -> None: ...


class Stream:
    """An HTTP/2 stream as a pipe."""

    def __init__(self, peer: H2Peer, stream_id: int) -> None:
        self.peer, self.id, self._buffer = peer, stream_id, b""

    async def send(self, data: bytes) -> None:
        self.peer.h2.send_data(self.id, data)
        await self.peer.flush()

    async def read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            event = await self.peer.next(h2.events.DataReceived, self.id)
            self._buffer += event.data or b""
            self.peer.h2.acknowledge_received_data(event.flow_controlled_length or 0, self.id)
            await self.peer.flush()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def close(self) -> None:
        self.peer.peer.close()


def proof(head: bytes) -> bytes:
    (key,) = [
        line.partition(b":")[2].strip()
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    ]
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


@pytest.fixture(params=["h1-h1", "h2-h1", "h2-h2"])
async def pair(
    request: pytest.FixtureRequest, wires: Wires, tmp_path: Path
) -> AsyncIterator[tuple[House, Pipe, Pipe]]:
    """A WebSocket that is open at both ends."""
    client_version, origin_version = request.param.split("-")
    house = House(wires, server_context(LEAF, tmp_path), Limits())
    await house.open()
    shared = None
    if origin_version == "h2":
        shared = await http2_connection_that_takes_websockets(house)
    client: Pipe
    origin: Pipe
    if client_version == "h1":
        raw = house.client()
        await raw.send(
            b"GET https://origin.example/chat HTTP/1.1\r\nHost: origin.example\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: " + KEY + b"\r\n\r\n"
        )
        origin = await accept(house, shared)
        head = await raw.read_head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        client = raw
    else:
        end = await client_of(house, "h2")
        assert isinstance(end, Http2End)
        await end.peer.next(h2.events.RemoteSettingsChanged)
        assert end.peer.h2.remote_settings.enable_connect_protocol == 1
        end.peer.h2.send_headers(
            1,
            [
                (b":method", b"CONNECT"),
                (b":protocol", b"websocket"),
                (b":scheme", b"https"),
                (b":authority", b"origin.example"),
                (b":path", b"/chat"),
                (b"sec-websocket-version", b"13"),
            ],
        )
        await end.peer.flush()
        origin = await accept(house, shared)
        answer = await end.peer.next(h2.events.ResponseReceived, 1)
        assert (b":status", b"200") in (answer.headers or [])
        client = Stream(end.peer, 1)
    yield house, client, origin
    for side in (client, origin):  # or the listener waits for them
        side.close()
    await house.close()
    assert house.faults == []


async def http2_connection_that_takes_websockets(house: House) -> H2Peer:
    """Have the pool keep a connection whose origin offers RFC 8441."""
    house.dialer.alpn = "h2"
    first = await client_of(house, "h1")
    await first.ask(b"GET", bare=True)
    origin = H2Peer(await house.origin(), client_side=False)
    await origin.begin()
    origin.h2.update_settings({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
    await origin.answer(await origin.next_id())
    await first.head()
    await until(lambda: all(group[0].takes_websockets for group in house.pool._shared.values()))
    return origin


async def accept(house: House, shared: H2Peer | None) -> Pipe:
    """Say yes, as the origin."""
    if shared is not None:
        event = await shared.next(h2.events.RequestReceived)
        assert event.stream_id is not None
        assert (b":protocol", b"websocket") in (event.headers or [])
        shared.h2.send_headers(event.stream_id, [(b":status", b"200")])
        await shared.flush()
        return Stream(shared, event.stream_id)
    peer: Peer = await house.origin()
    head = await peer.read_head()
    assert b"\r\nUpgrade: websocket\r\n" in head
    await peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + proof(head) + b"\r\n\r\n"
    )
    return peer


async def test_messages_go_both_ways_and_are_captured(pair: tuple[House, Pipe, Pipe]) -> None:
    house, client, origin = pair
    up = [
        frame(TEXT, "hällo".encode(), mask=MASK),
        frame(BINARY, b"part ", fin=False, mask=MASK),
        frame(PING, b"there?", mask=MASK),
        frame(0, b"two", mask=MASK),
    ]
    down = [frame(PONG, b"there?"), frame(TEXT, b"x" * 70_000), frame(BINARY, b"")]
    for data in up:
        await client.send(data)
        assert await origin.read_exactly(len(data)) == data
    for data in down:
        for start in range(0, len(data), 16_000):
            await origin.send(data[start : start + 16_000])
        assert await client.read_exactly(len(data)) == data
    flow = house.flows()[-1]
    assert flow.kind is FlowKind.WEBSOCKET
    assert flow.web_socket is not None
    seen = [(m.from_client, m.opcode, m.size) for m in flow.web_socket.snapshot()]
    assert seen == [
        (True, TEXT, 6),
        (True, PING, 6),
        (True, BINARY, 8),
        (False, PONG, 6),
        (False, TEXT, 70_000),
        (False, BINARY, 0),
    ]


async def test_the_closing_handshake_passes_and_ends_both_sides(
    pair: tuple[House, Pipe, Pipe],
) -> None:
    house, client, origin = pair
    bye = frame(CLOSE, b"\x03\xe8bye", mask=MASK)
    await client.send(bye)
    assert await origin.read_exactly(len(bye)) == bye
    answer = frame(CLOSE, b"\x03\xe8bye")
    await origin.send(answer)
    assert await client.read_exactly(len(answer)) == answer
    for side in (client, origin):
        if isinstance(side, Peer):
            side.end()
        elif isinstance(side, Stream):
            side.peer.h2.end_stream(side.id)
            await side.peer.flush()
    await until(lambda: house.flows()[-1].state is FlowState.DONE)
    end = house.flows()[-1].web_socket
    assert end is not None
    assert end.end is not None
    assert (end.end.by, end.end.code, end.end.reason) == ("client", 1000, "bye")


async def test_text_that_is_none_is_told_to_who_sent_it_and_kept_from_the_other(
    pair: tuple[House, Pipe, Pipe],
) -> None:
    house, client, origin = pair
    await client.send(frame(TEXT, b"\xff", mask=MASK))
    told = await client.read_exactly(4)
    assert told[0] == 0x80 | CLOSE
    assert told[2:4] == (1007).to_bytes(2, "big")
    told = await origin.read_exactly(2)
    assert told[0] == 0x80 | CLOSE
    await until(lambda: "UTF-8" in (house.flows()[-1].error or ""))
