"""WebSockets over HTTP/2 (RFC 8441), at an origin that knows HTTP/1 alone."""

from __future__ import annotations

import pytest
from wsproto.events import BytesMessage, CloseConnection, TextMessage

from tests.e2e.harness import BackgroundOrigin, ProxyProcess
from tests.e2e.http2_websocket import Client
from tests.e2e.wires import Wires


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
