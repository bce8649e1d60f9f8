"""WebSockets, over HTTP/1 and HTTP/2, read along, held, and made to wait."""

from __future__ import annotations

import asyncio
import zlib

import h2.events
from h2.settings import SettingCodes

from proxy_core.config import Replacement
from proxy_core.exchange.held import Decision
from proxy_core.exchange.hooks import RuleMatch
from proxy_core.exchange.long_text import AT_ONCE
from proxy_core.model.flow import Flow
from proxy_core.model.verdict import CONTINUE, Hold, Verdict
from proxy_core.model.websocket import WebSocketMessage
from tests.faults.world import Scenario, World
from tests.net.h2_peer import H2Peer
from tests.net.test_websocket_pairs import KEY, Pipe, Stream, proof
from tests.net.wires import Peer
from tests.wire.websocket_frames import frame

MASK = b"\x01\x02\x03\x04"
TEXT, CLOSE = 1, 8
HELLO = frame(TEXT, b"hello")
HELLO_MASKED = frame(TEXT, b"hello", mask=MASK)


async def open_http1(world: World, extensions: bytes = b"") -> tuple[Peer, Peer]:
    client: Peer = await world.secure(await world.tunnel(), "http/1.1")
    await client.send(
        b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n" + extensions + b"\r\n"
    )
    origin = await world.accept_tls("http/1.1")
    await accept(origin, extensions)
    await client.read_head()
    return client, origin


async def accept(origin: Peer, extensions: bytes = b"") -> None:
    head = await origin.read_head()
    await origin.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + proof(head) + b"\r\n" + extensions + b"\r\n"
    )


async def open_http2(world: World, shared: H2Peer | None = None) -> tuple[Pipe, Pipe]:
    """Over HTTP/2 from the client, and to the origin as well where there is a connection."""
    end = await world.http2_client()
    await end.peer.next(h2.events.RemoteSettingsChanged)
    end.peer.h2.send_headers(
        1,
        [
            (b":method", b"CONNECT"),
            (b":protocol", b"websocket"),
            (b":scheme", b"https"),
            (b":authority", b"a"),
            (b":path", b"/chat"),
            (b"sec-websocket-version", b"13"),
        ],
    )
    await end.peer.flush()
    origin: Pipe
    if shared is None:
        origin = peer = await world.accept_tls("http/1.1")
        await accept(peer)
    else:
        stream_id = await shared.next_id()
        shared.h2.send_headers(stream_id, [(b":status", b"200")])
        await shared.flush()
        origin = Stream(shared, stream_id)
    await end.peer.next(h2.events.ResponseReceived, 1)
    return Stream(end.peer, 1), origin


async def talk(world: World, client: Pipe, origin: Pipe) -> None:
    """A message each way, each side once while the other does not read."""
    await client.send(HELLO_MASKED)
    await origin.read_exactly(len(HELLO_MASKED))
    await origin.send(HELLO)
    await client.read_exactly(len(HELLO))
    world.slow(world.clients())
    await origin.send(HELLO)
    await world.speed(world.clients())
    await client.read_exactly(len(HELLO))
    world.slow(world.origins())
    await client.send(HELLO_MASKED)
    await world.speed(world.origins())
    await origin.read_exactly(len(HELLO_MASKED))


async def say_goodbye(world: World, client: Pipe, origin: Pipe) -> None:
    bye = frame(CLOSE, b"\x03\xe8", mask=MASK)
    await client.send(bye)
    await origin.read_exactly(len(bye))
    bye = frame(CLOSE, b"\x03\xe8")
    await origin.send(bye)
    await client.read_exactly(len(bye))
    world.answered += 1


async def http1(world: World) -> None:
    client, origin = await open_http1(world)
    await talk(world, client, origin)
    await say_goodbye(world, client, origin)


async def http2_to_http1(world: World) -> None:
    client, origin = await open_http2(world)
    await talk(world, client, origin)
    await say_goodbye(world, client, origin)


async def http2(world: World) -> None:
    first = await world.client_of("h1")
    await first.ask(b"GET", bare=True)
    shared = (await world.http2_origin()).peer
    shared.h2.update_settings({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
    await shared.answer(await shared.next_id())
    await first.head()
    world.answered += 1
    await world.until(lambda: all(g[0].takes_websockets for g in world.pool._shared.values()))
    client, origin = await open_http2(world, shared)
    await talk(world, client, origin)
    await say_goodbye(world, client, origin)


async def injected(world: World) -> None:
    """A long message of the user's own."""
    client, origin = await open_http1(world)
    text = "é".encode() * (AT_ONCE // 2 + 1)
    (flow,) = [one for one in world.core.flows.snapshot() if one.web_socket is not None]
    sending = world.start(world.core.web_sockets.inject(flow.id, False, TEXT, text))
    await client.read_exactly(len(frame(TEXT, text)))
    assert await sending
    await say_goodbye(world, client, origin)


async def silence(world: World) -> None:
    client, _ = await open_http1(world)
    ended = world.start(client.read_some())
    await world.skip(ended.done)


async def compressed(world: World) -> None:
    """More to be decompressed than is at once."""
    extension = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
    client, origin = await open_http1(world, extension)
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(bytes(3 * 1024 * 1024)) + packer.flush(zlib.Z_SYNC_FLUSH)
    message = frame(TEXT, packed[:-4], reserved=4, mask=MASK)
    await client.send(message)
    await origin.read_exactly(len(message))
    await say_goodbye(world, client, origin)


def held(world: World) -> None:
    """Every message waits for the user, both directions' at a time."""

    async def hold(flow: Flow, message: WebSocketMessage) -> Verdict:
        await asyncio.sleep(0)
        return Hold("a test")

    world.core.hooks.websocket_message = hold


async def both_held(world: World) -> None:
    client, origin = await open_http1(world)
    await client.send(HELLO_MASKED)
    await origin.send(HELLO)
    for _ in range(2):
        await world.until(world.core.held.ids)
        await asyncio.sleep(0.005)
        for flow_id in world.core.held.ids():
            world.core.held.decide(flow_id, Decision.RESUME)
        await asyncio.sleep(0)
    await origin.read_exactly(len(HELLO_MASKED))
    await client.read_exactly(len(HELLO))
    await say_goodbye(world, client, origin)


def ruled(world: World) -> None:
    """A rule fires on every message; somebody is told, and a hook comes behind it."""

    async def told(match: RuleMatch) -> Verdict:
        await asyncio.sleep(0)
        return CONTINUE

    async def see(flow: Flow, message: WebSocketMessage) -> Verdict:
        await asyncio.sleep(0)
        return CONTINUE

    world.core.hooks.rule_match = told
    world.core.hooks.websocket_message = see


async def one_message(world: World) -> None:
    client, origin = await open_http1(world)
    await client.send(HELLO_MASKED)
    await origin.read_exactly(len(HELLO_MASKED))
    await say_goodbye(world, client, origin)


LONG = 1024 * 1024 + 1
LONG_ON_THE_WIRE = LONG + 16 * (2 + 8 + 4) + (2 + 4)
"""In frames of 64 KiB and one of a byte, masked."""


def lengthened(world: World) -> None:
    """A hook makes a message so long that others have their turn while it is looked at and sent."""

    async def edit(flow: Flow, message: WebSocketMessage) -> Verdict:
        if message.payload == b"hello":
            message.payload = bytes(LONG)
            message.by = ("a test",)
        return CONTINUE

    world.core.hooks.websocket_message = edit


async def long_message(world: World) -> None:
    client, origin = await open_http1(world)
    await client.send(HELLO_MASKED)
    await origin.read_exactly(LONG_ON_THE_WIRE)
    await say_goodbye(world, client, origin)


RULE = {"modify_messages": (Replacement("hello", b"howdy"),)}
SCENARIOS = [
    Scenario("a WebSocket", http1),
    Scenario("a WebSocket from h2 to h1", http2_to_http1),
    Scenario("a WebSocket in h2", http2),
    Scenario("a WebSocket with a message of our own", injected),
    Scenario("a WebSocket in which nothing is said", silence),
    Scenario("a compressed message", compressed),
    Scenario("messages of a WebSocket that are held", both_held, prepare=held),
    Scenario("a message that becomes long", long_message, prepare=lengthened),
    Scenario("a rule for messages", one_message, settings=RULE, prepare=ruled),
]
