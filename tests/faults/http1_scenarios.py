"""Exchanges in HTTP/1, in the clear."""

from __future__ import annotations

import asyncio

from tests.faults.openings import (
    OK,
    PASSWORD,
    answer,
    ask,
    be_turned_away,
    hashed_passwords,
    head,
    serve,
)
from tests.faults.world import Scenario, World
from tests.net.wires import Peer

TINY = b"1\r\na\r\n" * 1500
"""More chunks than are read at once."""


async def two_requests(world: World) -> None:
    """A dial by name, a body in two pieces, and the same two connections once more."""
    client, origin = await ask(world)
    for last in (False, True):
        await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        await client.read_head()
        await origin.send(b"on")
        assert await client.read_exactly(2) == b"on"
        await origin.send(b"ce")
        assert await client.read_exactly(2) == b"ce"
        world.answered += 1
        if not last:
            await client.send(head(world))
            await origin.read_head()


async def pipelined(world: World) -> None:
    client = world.client()
    await client.send(head(world) * 2 + b"GET http")
    origin = await world.accept()
    for _ in range(2):
        await serve(world, client, origin)
    await client.send(head(world)[8:])
    await serve(world, client, origin)


async def upload(world: World) -> None:
    """100-continue, chunks and trailers, both ways."""
    client, origin = await ask(
        world,
        b"POST",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"TE: trailers",
        b"Connection: TE",
    )
    await origin.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await client.read_head()
    for word in (b"one", b"two"):
        await client.send(b"3\r\n%b\r\n" % word)
        await origin.read_until(word)
    await client.send(b"0\r\nX-Up: 1\r\n\r\n")
    await origin.read_until(b"X-Up: 1\r\n\r\n")
    await origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await client.read_head()
    for word in (b"one", b"two"):
        await origin.send(b"3\r\n%b\r\n" % word)
        await client.read_until(word)
    await origin.send(b"0\r\nX-Down: 1\r\n\r\n")
    await client.read_until(b"X-Down: 1\r\n\r\n")
    world.answered += 1


async def tiny_chunks(world: World) -> None:
    """So many chunks that others have their turn between them, both ways."""
    client, origin = await ask(world, b"POST", b"Transfer-Encoding: chunked")
    await client.send(TINY + b"0\r\n\r\n")
    await origin.read_until(b"0\r\n\r\n")
    await origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await client.read_head()
    await origin.send(TINY + b"0\r\n\r\n")
    await client.read_until(b"0\r\n\r\n")
    world.answered += 1


async def slow_origin(world: World) -> None:
    """An origin that does not read the request for a while, before its answer and behind it."""
    client, origin = await ask(world, b"POST", b"Content-Length: 6")
    for _ in range(2):
        world.slow(world.origins())
        await client.send(b"abc")
        await world.speed(world.origins())
        await origin.read_exactly(3)
    await answer(world, client, origin)


async def slow_client(world: World) -> None:
    """A client that does not read its answer for a while: neither head nor body."""
    client, origin = await ask(world)
    world.slow(world.clients())
    await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
    await world.speed(world.clients())
    await client.read_head()
    world.slow(world.clients())
    await origin.send(b"on")
    await world.speed(world.clients())
    await origin.send(b"ce")
    await client.read_until(b"ce")
    world.answered += 1


async def client_slow_with_a_short_answer(world: World) -> None:
    client, origin = await ask(world)
    world.slow(world.clients())
    await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\non")
    await world.speed(world.clients())
    await origin.send(b"ce")
    await client.read_until(b"ce")
    world.answered += 1


async def _begin_upload(world: World, *lines: bytes) -> tuple[Peer, Peer]:
    """Send a request's head, and of its body the first chunk."""
    client, origin = await ask(world, b"POST", b"Transfer-Encoding: chunked", *lines)
    await client.send(b"3\r\none\r\n")
    await origin.read_until(b"one")
    return client, origin


async def early_answer(world: World) -> None:
    """The answer comes first; what is left of the request is read over."""
    client, origin = await _begin_upload(world)
    await answer(world, client, origin)
    await client.send(TINY)
    await asyncio.sleep(0.01)
    await client.send(b"0\r\n\r\n" + head(world))
    await serve(world, client)


async def early_answer_and_a_bad_rest(world: World) -> None:
    client, origin = await _begin_upload(world)
    await answer(world, client, origin)
    await client.send(b"no chunk\r\n")
    assert await client.read_some() == b""


async def early_answer_and_the_end(world: World) -> None:
    client, origin = await _begin_upload(world, b"Connection: close")
    await origin.send(OK)
    assert (await client.read_to_end()).endswith(b"ok")
    world.answered += 1


async def kept_connection_that_has_died(world: World) -> None:
    """It takes the next request and ends; a request with a body, and one without, go again."""
    client, origin = await ask(world)
    await answer(world, client, origin)
    for last in (False, True):
        if last:
            await client.send(head(world, b"PUT", b"Content-Length: 6") + b"abc")
            await origin.read_until(b"abc")
        else:
            await client.send(head(world))
            await origin.read_head()
        origin.close()
        origin = await world.accept()
        if last:
            await origin.read_until(b"abc")
            await client.send(b"def")
            await origin.read_until(b"def")
        else:
            await origin.read_head()
        await origin.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await client.read_head()
        await answer(world, client, origin)


async def no_request(world: World) -> None:
    await be_turned_away(world.client(), b"GET http://a b/ HTTP/1.1\r\n\r\n", 400)


async def half_a_head(world: World) -> None:
    client = world.client()
    await client.send(b"GET http://a/ HTTP/1.1\r\nA")
    told = await world.skip_to_end(client.read_to_end())
    assert told.startswith(b"HTTP/1.1 408 ")


async def nothing(world: World) -> None:
    assert await world.skip_to_end(world.client().read_to_end()) == b""


async def no_password(world: World) -> None:
    request = head(world, b"POST", b"Content-Length: 9") + b"begun"
    await be_turned_away(world.client(), request, 407)


async def password(world: World) -> None:
    """What is hashed is looked at on a thread."""
    client, origin = await ask(world, b"GET", b"Proxy-Authorization: " + PASSWORD)
    await answer(world, client, origin)


async def upgrade(world: World) -> None:
    """HTTP is left for a protocol that nobody knows."""
    client, origin = await ask(world, b"GET", b"Connection: upgrade", b"Upgrade: other")
    await origin.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n"
    )
    assert (await client.read_head()).startswith(b"HTTP/1.1 101 ")
    await client.send(b"up")
    assert await origin.read_exactly(2) == b"up"
    client.end()
    assert await origin.read_some() == b""
    origin.end()
    assert await client.read_some() == b""
    world.answered += 1


SCENARIOS = [
    Scenario("two requests", two_requests),
    Scenario("an upload", upload),
    Scenario("pipelined requests", pipelined),
    Scenario("an upgrade", upgrade),
    Scenario("tiny chunks", tiny_chunks),
    Scenario("a slow origin", slow_origin),
    Scenario("a slow client", slow_client),
    Scenario("a slow client with a short answer", client_slow_with_a_short_answer),
    Scenario("an early answer", early_answer),
    Scenario("an early answer and a bad rest", early_answer_and_a_bad_rest),
    Scenario("an early answer and the end", early_answer_and_the_end),
    Scenario("a kept connection that has died", kept_connection_that_has_died),
    Scenario("no request", no_request),
    Scenario("half a head", half_a_head),
    Scenario("nothing", nothing),
    Scenario("no password", no_password, settings=hashed_passwords()),
    Scenario("a password", password, settings=hashed_passwords()),
]
