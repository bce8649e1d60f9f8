"""The ways out: other proxies, names with several addresses, no room for one more."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Awaitable, Callable
from unittest import mock

from proxy_core.config import (
    Mode,
    UpstreamMode,
)
from tests.faults.openings import answer, keep_one, serve
from tests.faults.world import ORIGIN, Scenario, World, certificates
from tests.net.wires import Peer, TlsPeer


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
            origin = _InnerTls(parent, context)
            await origin.handshake()
            parent = origin
            await parent.read_head()
        await answer(world, client, parent)

    return play


class _InnerTls(TlsPeer):
    """TLS in TLS."""

    def __init__(self, outer: Peer, context: ssl.SSLContext) -> None:
        super().__init__(outer.sock, context)
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


async def other_addresses_with_our_port(world: World) -> None:
    """Names are asked for before they are dialled; the second address answers."""
    port = world.port()
    world.loop.names["two.test"] = ["192.0.2.2", "192.0.2.3"]
    world.loop.ports["192.0.2.2", port] = 1  # where nobody listens
    world.loop.ports["192.0.2.3", port] = world.origin.port
    client = world.client()
    await client.send(b"GET http://two.test:%d/ HTTP/1.1\r\nHost: two.test\r\n\r\n" % port)
    await serve(world, client)


async def no_descriptors(world: World) -> None:
    """There is no room for one more connection until those that are kept have been closed."""
    client, _ = await keep_one(world)
    descriptors = world.dialer._descriptors
    answers = itertools.chain([False], itertools.repeat(True))
    with mock.patch.object(descriptors, "admit_server", side_effect=answers):
        other = b"GET http://192.0.2.1:%d/ HTTP/1.1\r\nHost: h\r\n\r\n" % world.origin.port
        await client.send(other)
        await world.accept()  # which was one too many
        await serve(world, client)


def _upstream(scheme: str) -> Callable[[int], Mode]:
    return lambda port: UpstreamMode(scheme, ORIGIN, port, "user:pass")


SCENARIOS = [
    Scenario("upstream:http", _through_a_parent(False, False), (_upstream("http"),)),
    Scenario("upstream:https", _through_a_parent(True, False), (_upstream("https"),)),
    Scenario("CONNECT through upstream:http", _through_a_parent(False, True), (_upstream("http"),)),
    Scenario(
        "CONNECT through upstream:https", _through_a_parent(True, True), (_upstream("https"),)
    ),
    Scenario("other addresses with our port", other_addresses_with_our_port),
    Scenario("no descriptors", no_descriptors),
]
