"""Connections of bytes, and the ways in and out: tunnels, SOCKS, reverse modes, other proxies."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from unittest import mock

from proxy_core.config import (
    Mode,
    ModeSpec,
    RegularMode,
    ReverseMode,
    SocksMode,
    TransparentMode,
    UpstreamMode,
)
from proxy_core.core import Core
from proxy_core.errors import ListenError
from proxy_core.exchange.hooks import ConnectAttempt, TunnelFilter
from proxy_core.model.flow import Flow
from proxy_core.model.verdict import CONTINUE, Block, Verdict
from proxy_core.net import client as client_module
from tests.ca.certificates import client_hello
from tests.faults.http1_scenarios import OK, ask, hashed_passwords
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


async def tunnel(world: World) -> None:
    client = await world.tunnel()
    await client.send(b"\x01first")
    origin = await world.accept()
    await origin.read_exactly(6)
    await talk(world, client, origin)


async def server_first(world: World) -> None:
    """The client is silent, and the server is not."""
    client = await world.tunnel()
    accepting = world.start(world.accept())
    await world.skip(accepting.done)
    origin = await accepting
    await origin.send(b"220 hello\r\n")
    assert await client.read_exactly(11) == b"220 hello\r\n"
    await talk(world, client, origin)


async def nobody_first(world: World) -> None:
    """Both are silent for a while, and then the client speaks."""
    client = await world.tunnel()
    accepting = world.start(world.accept())
    await world.skip(accepting.done)
    await world.until(lambda: any("server_speaks_first" in one for one in world.waiting()))
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    origin = await world.accept()
    await origin.read_head()
    await origin.send(OK)
    await client.read_until(b"ok")
    world.answered += 1


async def half_a_word(world: World) -> None:
    """Both are silent for a while, and then half of what tells the protocol comes."""
    client = await world.tunnel()
    accepting = world.start(world.accept())
    await world.skip(accepting.done)
    await world.until(lambda: any("server_speaks_first" in one for one in world.waiting()))
    await client.send(b"GE")
    await asyncio.sleep(0.01)
    await client.send(b"T / HTTP/1.1\r\nHost: a\r\n\r\n")
    origin = await world.accept()
    await origin.read_head()
    await origin.send(OK)
    await client.read_until(b"ok")
    world.answered += 1


async def silent_in_tls(world: World) -> None:
    """A client without ALPN says nothing, and the server is not to be had: it may be told so."""
    client = await world.secure(await world.tunnel())
    where = ORIGIN_ADDRESS, world.origin.port
    world.loop.ports[where] = 1  # where nobody listens
    try:
        waiting = world.start(asyncio.sleep(1))
        await world.skip(waiting.done)
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.read_head()).startswith(b"HTTP/1.1 502 ")
        world.answered += 1
    finally:
        del world.loop.ports[where]


async def silent_in_tls_with_a_server(world: World) -> None:
    client = await world.secure(await world.tunnel())
    accepting = world.start(world.accept_tls())
    await world.skip(accepting.done)
    origin = await accepting
    await origin.send(b"220 hello\r\n")
    assert await client.read_exactly(11) == b"220 hello\r\n"
    await talk(world, client, origin)


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
    return ssl.create_default_context(cafile=str(certificates()[0]))


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
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    origin = await world.accept_tls("http/1.1")
    await origin.read_head()
    await origin.send(OK)
    await client.read_until(b"ok")
    world.answered += 1


async def transparent(world: World) -> None:
    where = ORIGIN_ADDRESS, world.origin.port
    with mock.patch.object(client_module, "original_destination", return_value=where):
        client = world.client(1)
        await client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % ORIGIN.encode())
        origin = await world.accept()
        await origin.read_head()
        await origin.send(OK)
        await client.read_until(b"ok")
        world.answered += 1


async def loop(world: World) -> None:
    """The firewall turns the proxy's own connection back to it."""
    client = world.client(1)
    where = ORIGIN_ADDRESS, 9
    world.dialer._own.dials(client.sock.getsockname(), where)
    with mock.patch.object(client_module, "original_destination", return_value=where):
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.read_to_end()).startswith(b"HTTP/1.1 508 ")
    world.dialer._own.dials_no_more(client.sock.getsockname(), where)


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
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    origin = await world.accept()
    await origin.read_head()
    await origin.send(OK)
    await client.read_until(b"ok")
    world.answered += 1


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


def _through_a_parent(secure: bool, tls_inside: bool) -> Callable[[World], Awaitable[None]]:
    async def play(world: World) -> None:
        client = world.client(1)
        name = b"elsewhere.test:443" if not tls_inside else b"%b:443" % ORIGIN.encode()
        if tls_inside:
            await client.send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (name, name))
            await client.read_head()
            client = await world.secure(client, "http/1.1")
            await client.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % name)
        else:
            await client.send(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        parent: Peer = await (world.accept_tls("http/1.1") if secure else world.accept())
        asked = await parent.read_head()
        assert b"Proxy-Authorization: Basic " in asked
        if tls_inside:
            await parent.send(b"HTTP/1.1 200 OK\r\n\r\n")
            context = certificates()[1]
            context.set_alpn_protocols(["http/1.1"])
            origin = _inside(parent, context)
            await origin.handshake()
            parent = origin
            await parent.read_head()
        await parent.send(OK)
        await client.read_until(b"ok")
        world.answered += 1

    return play


class _InnerTls(TlsPeer):
    """TLS in TLS."""

    def __init__(self, outer: Peer, context: object) -> None:
        super().__init__(outer.sock, context)  # type: ignore[arg-type]
        self._outer = outer

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._outer.send(self._outgoing.read())

    async def _fill(self) -> None:
        data = await self._outer.read_some()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()


def _inside(outer: Peer, context: object) -> TlsPeer:
    return _InnerTls(outer, context)


def _filtered(world: World) -> None:
    def through(flow: Flow) -> TunnelFilter:
        async def each(from_client: bool, data: bytes, ended: bool) -> bytes:
            await asyncio.sleep(0)
            return data

        return each

    world.core.hooks.tunnel = through


async def silence(world: World) -> None:
    """Nothing comes through a tunnel, for longer than it may stand still."""
    client = await world.tunnel()
    await client.send(b"\x01first")
    origin = await world.accept()
    await origin.read_exactly(6)
    ended = world.start(client.read_some())
    await world.skip(ended.done)


def no_connections(world: World) -> None:
    async def refuse(attempt: ConnectAttempt) -> Verdict:
        await asyncio.sleep(0)
        return CONTINUE if attempt.authority is None else Block("a test")

    world.core.hooks.connect = refuse


async def refused_tunnel(world: World) -> None:
    client = world.client()
    await client.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
    assert (await client.read_to_end()).startswith(b"HTTP/1.1 403 ")


async def connect_where_none_is_taken(world: World) -> None:
    client = world.client(1)
    await client.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
    assert (await client.read_to_end()).startswith(b"HTTP/1.1 405 ")


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


async def other_addresses_with_our_port(world: World) -> None:
    """Names are asked for before they are dialled; the second address answers."""
    port = world.port()
    world.loop.names["two.test"] = ["192.0.2.2", "192.0.2.3"]
    world.loop.ports["192.0.2.2", port] = 1  # where nobody listens
    world.loop.ports["192.0.2.3", port] = world.origin.port
    client = world.client()
    await client.send(b"GET http://two.test:%d/ HTTP/1.1\r\nHost: two.test\r\n\r\n" % port)
    origin = await world.accept()
    await origin.read_head()
    await origin.send(OK)
    await client.read_until(b"ok")
    world.answered += 1


async def no_descriptors(world: World) -> None:
    """There is no room for one more connection until those that are kept have been closed."""
    client, origin = await ask(world)
    await origin.send(OK)
    await client.read_until(b"ok")
    world.answered += 1
    await world.until(lambda: world.pool._idle_count)
    descriptors = world.dialer._descriptors
    answers = itertools.chain([False], itertools.repeat(True))
    with mock.patch.object(descriptors, "admit_server", side_effect=answers):
        other = b"GET http://192.0.2.1:%d/ HTTP/1.1\r\nHost: h\r\n\r\n" % world.origin.port
        await client.send(other)
        await world.accept()  # which was one too many
        again = await world.accept()
        await again.read_head()
        await again.send(OK)
        await client.read_until(b"ok")
        world.answered += 1


def _reverse(scheme: str) -> Callable[[int], Mode]:
    return lambda port: ReverseMode(scheme, ORIGIN, port)


def _upstream(scheme: str) -> Callable[[int], Mode]:
    return lambda port: UpstreamMode(scheme, ORIGIN, port, "user:pass")


def _socks(port: int) -> Mode:
    return SocksMode()


def _transparent(port: int) -> Mode:
    return TransparentMode()


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
    Scenario("reverse:tcp", reverse_bytes, (_reverse("tcp"),)),
    Scenario("reverse:tls", reverse_tls_bytes, (_reverse("tls"),)),
    Scenario("reverse:https", reverse_https, (_reverse("https"),)),
    Scenario("transparent", transparent, (_transparent,)),
    Scenario("a loop", loop, (_transparent,)),
    Scenario("socks5", socks, (_socks,), hashed_passwords()),
    Scenario("socks5 that is none", socks_that_is_none, (_socks,)),
    Scenario("socks5 that is blocked", socks_that_is_blocked, (_socks,), prepare=no_connections),
    Scenario("upstream:http", _through_a_parent(False, False), (_upstream("http"),)),
    Scenario("upstream:https", _through_a_parent(True, False), (_upstream("https"),)),
    Scenario("CONNECT through upstream:http", _through_a_parent(False, True), (_upstream("http"),)),
    Scenario(
        "CONNECT through upstream:https", _through_a_parent(True, True), (_upstream("https"),)
    ),
    Scenario("a refused tunnel", refused_tunnel, prepare=no_connections),
    Scenario("CONNECT where none is taken", connect_where_none_is_taken, (_reverse("http"),)),
    Scenario("another core that starts", starting),
    Scenario("other addresses with our port", other_addresses_with_our_port),
    Scenario("no descriptors", no_descriptors),
    Scenario("silence in a tunnel", silence),
]
