"""The ways in: listeners of every mode, what they take and what they turn away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

from proxy_core.config import (
    Mode,
    ModeSpec,
    RegularMode,
    ReverseMode,
    SocksMode,
    TransparentMode,
)
from proxy_core.core import Core
from proxy_core.errors import ListenError
from proxy_core.exchange.hooks import ConnectAttempt
from proxy_core.model.verdict import CONTINUE, Block, Verdict
from proxy_core.net import client as client_module
from tests.faults.openings import GET, be_turned_away, hashed_passwords, serve
from tests.faults.tunnel_scenarios import talk
from tests.faults.world import ORIGIN, ORIGIN_ADDRESS, Scenario, World


async def reverse_bytes(world: World) -> None:
    client = world.client(1)
    origin = await world.accept()
    await talk(world, client, origin)


async def reverse_tls_bytes(world: World) -> None:
    client = world.client(1)
    origin = await world.accept_tls()
    await client.send(b"\x01up")
    assert await origin.read_exactly(3) == b"\x01up"
    await origin.send(b"\x02down")
    assert await client.read_exactly(5) == b"\x02down"
    client.end()
    assert await origin.read_some() == b""
    await origin.say_goodbye()
    assert await client.read_some() == b""
    world.answered += 1


async def reverse_https(world: World) -> None:
    client = await world.secure(world.client(1), "http/1.1")
    await client.send(GET)
    await serve(world, client, await world.accept_tls("http/1.1"))


async def transparent(world: World) -> None:
    where = ORIGIN_ADDRESS, world.origin.port
    with mock.patch.object(client_module, "original_destination", return_value=where):
        client = world.client(1)
        await client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % ORIGIN.encode())
        await serve(world, client)


async def loop(world: World) -> None:
    """The firewall turns the proxy's own connection back to it."""
    client = world.client(1)
    where = ORIGIN_ADDRESS, 9
    ends = client.sock.getsockname(), where
    world.dialer._own.dials(*ends)
    try:
        with mock.patch.object(client_module, "original_destination", return_value=where):
            await be_turned_away(client, GET, 508)
    finally:
        world.dialer._own.dials_no_more(*ends)


_CONNECT = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"
_METHODS = b"\x05\x01\x02"
_PASSWORD = b"\x01\x04user\x04pass"


def _connect(world: World) -> bytes:
    name = ORIGIN.encode()
    port = world.origin.port.to_bytes(2, "big")
    return b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port


async def socks(world: World) -> None:
    client = world.client(1)
    await client.send(_METHODS)
    assert await client.read_exactly(2) == b"\x05\x02"
    await client.send(_PASSWORD)
    assert await client.read_exactly(2) == b"\x01\x00"
    await client.send(_connect(world))
    await client.read_exactly(10)
    await client.send(GET)
    await serve(world, client)


async def socks_that_is_none(world: World) -> None:
    client = world.client(1)
    await client.send(b"GET / HTTP/1.1\r\n\r\n")
    await client.read_to_end()


async def socks_that_is_blocked(world: World) -> None:
    client = world.client(1)
    await client.send(b"\x05\x01\x00")
    await client.read_exactly(2)
    await client.send(_connect(world))
    assert (await client.read_to_end())[1] == 2


def no_connections(world: World) -> None:
    async def refuse(attempt: ConnectAttempt) -> Verdict:
        await asyncio.sleep(0)
        return CONTINUE if attempt.authority is None else Block("a test")

    world.core.hooks.connect = refuse


async def refused_tunnel(world: World) -> None:
    await be_turned_away(world.client(), _CONNECT, 403)


async def connect_where_none_is_taken(world: World) -> None:
    await be_turned_away(world.client(1), _CONNECT, 405)


async def connect_to_another_proxy(world: World) -> None:
    client = await world.tunnel()
    await client.send(_CONNECT)
    origin = await world.accept()
    assert await origin.read_head() == _CONNECT
    await origin.send(b"HTTP/1.1 200 OK\r\n\r\n")
    await client.read_head()
    await talk(world, client, origin)


def nothing_to_a(world: World) -> None:
    async def refuse(attempt: ConnectAttempt) -> Verdict:
        await asyncio.sleep(0)
        return Block("a test") if attempt.authority == b"a:1" else CONTINUE

    world.core.hooks.connect = refuse


async def refused_connect_to_another_proxy(world: World) -> None:
    await be_turned_away(await world.tunnel(), _CONNECT, 403)


async def starting(world: World) -> None:
    """Another core begins to listen, for clients and for its console, at addresses with names."""
    world.loop.names["listen.test"] = ["127.0.0.1"]
    settings = replace(
        world.core.settings,
        mode=(ModeSpec(RegularMode(), "listen.test", 0),),
        api=("listen.test", 0),
    )
    other = Core(settings)
    starting = world.start(other.start())
    try:
        await asyncio.wait([starting])
    finally:
        await asyncio.wait([world.start(other.stop())])
    if not starting.cancelled():
        assert isinstance(starting.exception(), ListenError | None)


def _reverse(scheme: str) -> Callable[[int], Mode]:
    return lambda port: ReverseMode(scheme, ORIGIN, port)


def _socks(port: int) -> Mode:
    return SocksMode()


def _transparent(port: int) -> Mode:
    return TransparentMode()


SCENARIOS = [
    Scenario("reverse:tcp", reverse_bytes, (_reverse("tcp"),)),
    Scenario("reverse:tls", reverse_tls_bytes, (_reverse("tls"),)),
    Scenario("reverse:https", reverse_https, (_reverse("https"),)),
    Scenario("transparent", transparent, (_transparent,)),
    Scenario("a loop", loop, (_transparent,)),
    Scenario("socks5", socks, (_socks,), hashed_passwords()),
    Scenario("socks5 that is none", socks_that_is_none, (_socks,)),
    Scenario("socks5 that is blocked", socks_that_is_blocked, (_socks,), prepare=no_connections),
    Scenario("a refused tunnel", refused_tunnel, prepare=no_connections),
    Scenario("CONNECT where none is taken", connect_where_none_is_taken, (_reverse("http"),)),
    Scenario("CONNECT to another proxy", connect_to_another_proxy),
    Scenario(
        "a refused CONNECT to another proxy",
        refused_connect_to_another_proxy,
        prepare=nothing_to_a,
    ),
    Scenario("another core that starts", starting),
]
