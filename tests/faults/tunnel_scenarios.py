"""Connections of bytes, and what is found out before one carries anything."""

from __future__ import annotations

import asyncio
import ssl

from proxy_core.exchange.hooks import TunnelFilter
from proxy_core.model.flow import Flow
from tests.ca.certificates import client_hello
from tests.faults.openings import GET, serve
from tests.faults.world import ORIGIN, ORIGIN_ADDRESS, Scenario, World, certificates
from tests.net.wires import Peer, TlsPeer


async def talk(world: World, client: Peer, origin: Peer) -> None:
    """Say something both ways, each side once while the other does not read; then end both."""
    await client.send(b"\x01up")
    assert await origin.read_exactly(3) == b"\x01up"
    world.slow(world.clients())
    await origin.send(b"\x02down")
    await world.speed(world.clients())
    assert await client.read_exactly(5) == b"\x02down"
    world.slow(world.origins())
    await client.send(b"\x01up")
    await world.speed(world.origins())
    assert await origin.read_exactly(3) == b"\x01up"
    if not isinstance(client, TlsPeer):
        client.end()
        assert await origin.read_some() == b""
        origin.end()
        assert await client.read_some() == b""
        world.answered += 1
    else:
        await client.say_goodbye()
        assert await origin.read_some() == b""
        await origin.say_goodbye() if isinstance(origin, TlsPeer) else origin.end()
        world.answered += 1


async def _open(world: World) -> tuple[Peer, Peer]:
    """Say something in a tunnel."""
    client = await world.tunnel()
    await client.send(b"\x01first")
    origin = await world.accept()
    await origin.read_exactly(6)
    return client, origin


async def tunnel(world: World) -> None:
    await talk(world, *await _open(world))


async def _greet(world: World, client: Peer, origin: Peer) -> None:
    """Let the server say something, and the client."""
    await origin.send(b"220 hello\r\n")
    assert await client.read_exactly(11) == b"220 hello\r\n"
    await talk(world, client, origin)


async def server_first(world: World) -> None:
    """The client is silent, and the server is not."""
    client = await world.tunnel()
    await _greet(world, client, await world.skip_to_end(world.accept()))


async def _both_silent(world: World) -> Peer:
    """Let nobody say anything for a while."""
    client = await world.tunnel()
    await world.skip_to_end(world.accept())
    await world.until(lambda: any("server_speaks_first" in one for one in world.waiting()))
    return client


async def nobody_first(world: World) -> None:
    client = await _both_silent(world)
    await client.send(GET)
    await serve(world, client)


async def half_a_word(world: World) -> None:
    """What comes at last is half of what tells the protocol."""
    client = await _both_silent(world)
    await client.send(GET[:2])
    await asyncio.sleep(0.01)
    await client.send(GET[2:])
    await serve(world, client)


async def silent_in_tls(world: World) -> None:
    """A client without ALPN says nothing, and the server is not to be had: it may be told so."""
    client = await world.secure(await world.tunnel())
    where = ORIGIN_ADDRESS, world.origin.port
    world.loop.ports[where] = 1  # where nobody listens
    try:
        await world.skip_to_end(asyncio.sleep(1))
        await client.send(GET)
        assert (await client.read_head()).startswith(b"HTTP/1.1 502 ")
        world.answered += 1
    finally:
        del world.loop.ports[where]


async def silent_in_tls_with_a_server(world: World) -> None:
    client = await world.secure(await world.tunnel())
    await _greet(world, client, await world.skip_to_end(world.accept_tls()))


async def foreign_tls(world: World) -> None:
    """By its own word it is no HTTP."""
    plain = await world.tunnel()
    securing = world.start(world.secure(plain, "acme/1"))
    origin = await world.accept_tls("acme/1")
    await talk(world, await securing, origin)


async def slow_hello(world: World) -> None:
    """A ClientHello that comes in two parts."""
    client = await world.tunnel()
    hello = client_hello(world.client_context(), ORIGIN)
    await client.send(hello[:9])
    await asyncio.sleep(0.01)
    await client.send(hello[9:])
    assert (await client.read_some())[0] == 22
    client.close()


async def passed_through(world: World) -> None:
    plain = await world.tunnel()
    client = TlsPeer(plain.sock, _origins_client_context(), ORIGIN)
    shaking = world.start(client.handshake())
    origin = await world.accept_tls()
    await shaking
    await client.send(b"hello")
    assert await origin.read_exactly(5) == b"hello"
    await client.say_goodbye()
    assert await origin.read_some() == b""
    await origin.say_goodbye()
    client.end()
    origin.end()
    world.answered += 1


def _origins_client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates()[0])
    return context


def _filtered(world: World) -> None:
    def through(flow: Flow) -> TunnelFilter:
        async def each(from_client: bool, data: bytes, ended: bool) -> bytes:
            await asyncio.sleep(0)
            return data

        return each

    world.core.hooks.tunnel = through


async def silence(world: World) -> None:
    """Nothing comes through a tunnel, for longer than it may stand still."""
    client, _ = await _open(world)
    ended = world.start(client.read_some())
    await world.skip(ended.done)


SCENARIOS = [
    Scenario("a tunnel", tunnel),
    Scenario("a tunnel with a filter", tunnel, prepare=_filtered),
    Scenario("a server that speaks first", server_first),
    Scenario("nobody speaks first", nobody_first),
    Scenario("half a word", half_a_word),
    Scenario("silence in TLS without a server", silent_in_tls),
    Scenario("silence in TLS", silent_in_tls_with_a_server),
    Scenario("TLS that is no HTTP", foreign_tls),
    Scenario("TLS that begins slowly", slow_hello),
    Scenario("TLS that is passed through", passed_through, settings={"ignore_hosts": (ORIGIN,)}),
    Scenario("silence in a tunnel", silence),
]
