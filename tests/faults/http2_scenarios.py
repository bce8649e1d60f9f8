"""Exchanges with HTTP/2 on either side, or both, in TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import h2.events

from proxy_core.net.channel import Channel
from tests.faults.openings import OK, PASSWORD, hashed_passwords, where
from tests.faults.world import Scenario, World
from tests.net.h2_peer import H2Peer
from tests.net.pair_ends import End, Http2End


def _exchange(client_version: str, origin_version: str) -> Scenario:
    async def play(world: World) -> None:
        """An upload in two pieces, a download in two, trailers and early hints."""
        client = await world.client_of(client_version)
        for turn in range(2):
            await client.ask(b"POST")
            if not turn:
                origin = await world.origin_of(origin_version)
            await origin.head()
            for word in (b"one", b"two"):
                await client.send(word)
                assert await origin.some() == word
            await client.end([(b"x-up", b"1")])
            await origin.rest()
            await origin.answer(103, (b"link", b"</a>"))
            await client.head()
            await origin.answer(200)
            await client.head()
            for word in (b"one", b"two"):
                await origin.send(word)
                assert await client.some() == word
            await origin.end([(b"x-down", b"1")])
            await client.rest()
            world.answered += 1
            if "h1" in (client_version, origin_version):
                return  # h11 would have to be told of the next one

    return Scenario(f"{client_version} to {origin_version}", play)


async def _ask(world: World, method: bytes = b"GET") -> tuple[Http2End, Http2End]:
    """Send a request's head, without the end where a body is to follow; return both ends."""
    client = await world.http2_client()
    await client.ask(method, bare=method == b"GET")
    origin = await world.http2_origin()
    await origin.head()
    return client, origin


async def _answer(world: World, client: End, origin: End, status: int = 200) -> None:
    """Answer without a body, and be read."""
    await origin.answer(status)
    await origin.end()
    await client.head()
    await client.rest()
    world.answered += 1


async def _hold_up(
    world: World, sender: Http2End, reader: Http2End, channels: Callable[[], list[Channel]]
) -> None:
    """Send to one whose windows, of four bytes, are shut, and whose connection then is not read."""
    await sender.send(b"shut")
    await reader.some()
    for word in (b"window", b"behind"):
        await sender.send(word)
        await asyncio.sleep(0.005)
    await _open_window(world, reader)
    for _ in range(2):
        await reader.some()
    world.slow(channels())
    await sender.send(b"pipe")
    await world.speed(channels())


async def _open_window(world: World, reader: Http2End) -> None:
    """Let more come than four bytes, once somebody waits for it."""
    await world.until(lambda: any("drain" in line for line in world.waiting()))
    reader.peer.h2.increment_flow_control_window(1000, reader.id)
    await reader.peer.flush()


async def slow_origin(world: World) -> None:
    client = await world.http2_client()
    await client.ask(b"POST")
    origin = await world.http2_origin(initial_window_size=4)
    await origin.head()
    await _hold_up(world, client, origin, world.origins)
    await client.end()
    await origin.rest()
    await _answer(world, client, origin)


async def slow_client(world: World) -> None:
    client = await world.http2_client(initial_window_size=4)
    await client.ask(b"GET", bare=True)
    origin = await world.http2_origin()
    await origin.head()
    await origin.answer(200)
    await client.head()
    await _hold_up(world, origin, client, world.clients)
    await origin.end()
    await client.rest()
    world.answered += 1


async def client_slow_from_the_start(world: World) -> None:
    """Its windows are shut for the first piece already, which comes with the head."""
    client = await world.http2_client(initial_window_size=4)
    await client.ask(b"GET", bare=True)
    origin = await world.accept_tls("http/1.1")
    await origin.read_head()
    await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nwindow")
    await _open_window(world, client)
    await client.head()
    await origin.send(b"pipe")
    assert await client.rest() == (b"windowpipe", [])
    world.answered += 1


async def two_at_once(world: World) -> None:
    """Two requests that need one connection, which is only being made, and a refused one."""
    client = await world.http2_client()
    for _ in range(2):
        await client.ask(b"GET", bare=True)
    origin = await world.http2_origin()
    first = await origin.peer.next_id()
    second = await origin.peer.next_id()
    for stream_id in (first, second):
        await origin.peer.answer(stream_id, b"ok")
    for stream_id in (1, 3):
        await client.peer.body(stream_id)
        world.answered += 1
    await client.ask(b"GET", bare=True)
    third = await origin.peer.next_id()
    origin.peer.h2.reset_stream(third, 7)  # REFUSED_STREAM: not looked at
    await origin.peer.flush()
    origin = await world.http2_origin()
    await origin.peer.answer(await origin.peer.next_id(), b"ok")
    await client.peer.body(5)
    world.answered += 1


async def early_answer(world: World) -> None:
    client, origin = await _ask(world, b"POST")
    await client.send(b"one")
    await origin.some()
    await _answer(world, client, origin, 413)
    await client.send(b"two")
    await client.end()


async def many_frames(world: World) -> None:
    """More frames than are read at once."""
    client, origin = await _ask(world, b"POST")
    for _ in range(200):
        client.peer.h2.send_data(client.id, bytes(16))
    await client.peer.flush()
    await client.end()
    await origin.rest()
    await _answer(world, client, origin)


async def broken_protocol(world: World) -> None:
    """The client breaks its connection while an exchange is under way."""
    client, _ = await _ask(world)
    await client.peer.peer.send(b"\x00\x00\x04\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00")
    await client.peer.next(h2.events.ConnectionTerminated)


async def password(world: World) -> None:
    """In the clear, with prior knowledge."""
    peer = H2Peer(world.client(), client_side=True)
    await peer.begin()
    peer.h2.send_headers(
        1,
        [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", where(world)),
            (b":path", b"/"),
            (b"proxy-authorization", PASSWORD),
        ],
        end_stream=True,
    )
    await peer.flush()
    origin = await world.accept()
    await origin.read_head()
    await origin.send(OK)
    assert await peer.body(1) == b"ok"
    world.answered += 1


async def client_that_resets_its_stream(world: World) -> None:
    client, origin = await _ask(world, b"POST")
    await client.send(b"one")
    await origin.some()
    await client.break_off()
    await asyncio.sleep(0.01)


async def _stop(world: World) -> tuple[End, End, asyncio.Task[None]]:
    """Stop the core while an exchange is under way; return both ends, and when it has."""
    client = await world.client_of("h1")
    await client.ask(b"GET", bare=True)
    origin = await world.http2_origin()
    await origin.head()
    return client, origin, world.stop()


async def stopping(world: World) -> None:
    """The exchange has time to come to its end."""
    client, origin, stopping = await _stop(world)
    await asyncio.sleep(0.005)
    await origin.answer(200)
    await client.head()
    await origin.end()
    await client.rest()
    world.answered += 1
    await asyncio.wait([stopping])


async def stopping_at_once(world: World) -> None:
    """The exchange does not end by itself."""
    *_, stopping = await _stop(world)
    await world.skip(stopping.done)


SLOW_FROM_THE_START = Scenario("a client in h2 slow from the start", client_slow_from_the_start)
SCENARIOS = [
    _exchange("h1", "h1"),
    _exchange("h2", "h2"),
    _exchange("h1", "h2"),
    _exchange("h2", "h1"),
    Scenario("a slow origin in h2", slow_origin),
    Scenario("a slow client in h2", slow_client),
    SLOW_FROM_THE_START,
    Scenario("two at once", two_at_once),
    Scenario("an early answer in h2", early_answer),
    Scenario("many frames", many_frames),
    Scenario("a broken protocol", broken_protocol),
    Scenario("a password in h2", password, settings=hashed_passwords()),
    Scenario("a client that resets its stream", client_that_resets_its_stream),
    Scenario("a core that stops", stopping),
    Scenario("a core that stops at once", stopping_at_once),
]
