"""Tunnels that are not looked into: their clients are told whether the server was reached."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy_core.config import Limits, SocksMode
from proxy_core.errors import UpstreamError
from proxy_core.model.flow import FlowKind
from proxy_core.net.passthrough import Passthrough
from tests.ca.certificates import client_hello, make, server_context
from tests.net.house import House
from tests.net.wires import Peer, Wires
from tests.waiting import until

IGNORED = [r"^left\.alone:"]
GREETING = b"\x05\x01\x00"


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    return server_context(make("left.alone"), tmp_path)


@pytest.fixture
async def house(wires: Wires, server: ssl.SSLContext) -> AsyncIterator[House]:
    made = House(wires, server, Limits(), passthrough=Passthrough(ignore=IGNORED))
    await made.open()
    yield made
    await made.close()
    assert made.faults == []


@pytest.fixture
async def socks(wires: Wires, server: ssl.SSLContext) -> AsyncIterator[House]:
    made = House(wires, server, Limits(), SocksMode(), Passthrough(ignore=IGNORED))
    await made.open()
    yield made
    await made.close()
    assert made.faults == []


def failing(status: int, cause: BaseException | None) -> UpstreamError:
    failure = UpstreamError("could not connect to left.alone:443: no luck", status)
    failure.__cause__ = cause
    return failure


async def ask(house: House, where: str) -> Peer:
    client = house.client()
    await client.send(f"CONNECT {where} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


async def ask_socks(house: House, host: str, port: int) -> Peer:
    client = house.client()
    name = bytes([len(host)]) + host.encode()
    await client.send(GREETING + b"\x05\x01\x00\x03" + name + port.to_bytes(2, "big"))
    assert await client.read_exactly(2) == b"\x05\x00"
    return client


@pytest.mark.parametrize("where", ["left.alone:443", "origin.example:22", "[2001:db8::1]:5432"])
@pytest.mark.parametrize("status", [502, 503, 504, 508])
async def test_connect_to_what_is_not_reached_is_refused_with_the_reason(
    house: House, where: str, status: int
) -> None:
    house.dialer.failure = failing(status, None)
    client = await ask(house, where)
    answer = await client.read_to_end()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"no luck" in answer
    (flow,) = house.flows()
    assert flow.request.authority == where.encode()
    assert flow.response is not None
    assert flow.response.status == status
    assert "no luck" in (flow.error or "")


@pytest.mark.parametrize(
    ("status", "cause", "reply"),
    [
        (502, ConnectionRefusedError(errno.ECONNREFUSED, "x"), 5),
        (502, OSError(errno.ENETUNREACH, "x"), 3),
        (502, OSError(errno.EHOSTUNREACH, "x"), 4),
        (502, socket.gaierror(socket.EAI_NONAME, "x"), 4),
        (504, TimeoutError(), 4),
        (508, None, 2),
        (503, OSError(errno.EMFILE, "x"), 1),
        (502, None, 1),
    ],
)
async def test_socks_request_for_what_is_not_reached_is_told_why(
    socks: House, status: int, cause: BaseException | None, reply: int
) -> None:
    socks.dialer.failure = failing(status, cause)
    client = await ask_socks(socks, "left.alone", 443)
    assert await client.read_to_end() == bytes([5, reply, 0, 1, 0, 0, 0, 0, 0, 0])
    (flow,) = socks.flows()
    assert "no luck" in (flow.error or "")


@pytest.mark.parametrize("where", ["origin.example:443", "origin.example:80", "alone.left:8443"])
async def test_what_may_be_looked_into_is_not_dialled_before_somebody_asks(
    house: House, where: str
) -> None:
    house.dialer.failure = failing(502, None)
    client = await ask(house, where)
    assert (await client.read_head()).startswith(b"HTTP/1.1 200 ")
    await client.send(b"GET / HTTP/1.1\r\nHost: origin.example\r\n\r\n")
    assert (await client.read_head()).startswith(b"HTTP/1.1 502 ")


async def test_nobody_is_told_anything_before_the_server_is_there(
    house: House,
) -> None:
    house.dialer.hold()
    peer = await ask(house, "left.alone:443")
    await until(lambda: house.dialer.dialled)
    await house.wires.turn()
    assert select.select([peer.sock], [], [], 0)[0] == []
    house.dialer.go()
    assert (await peer.read_head()).startswith(b"HTTP/1.1 200 ")
    hello = client_hello(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "left.alone")
    await peer.send(hello)
    origin = await house.origin()
    assert await origin.read_exactly(len(hello)) == hello
    assert len(house.dialer.dialled) == 1
    await origin.send(b"whatever")
    assert await peer.read_exactly(8) == b"whatever"
    origin.close()
    peer.close()
    await until(lambda: not house.counters.client_connections)
    (flow,) = house.flows()
    assert flow.kind is FlowKind.TUNNEL
    assert flow.client.tls is not None


async def test_the_first_word_of_the_server_comes_at_once(house: House) -> None:
    peer = await ask(house, "origin.example:25")
    origin = await house.origin()
    await origin.send(b"220 speak\r\n")
    assert (await peer.read_head()).startswith(b"HTTP/1.1 200 ")
    assert await peer.read_until(b"\r\n") == b"220 speak\r\n"
    assert len(house.dialer.dialled) == 1
    origin.close()
    peer.close()
    await until(lambda: not house.counters.client_connections)


async def test_http_at_a_port_of_another_protocol_is_looked_into_all_the_same(
    house: House,
) -> None:
    peer = await ask(house, "origin.example:6379")
    await peer.read_head()
    await peer.send(b"GET / HTTP/1.1\r\nHost: origin.example\r\n\r\n")
    for_nothing, origin = await house.origin(0), await house.origin(1)
    assert await for_nothing.read_to_end() == b""
    await origin.read_head()
    await origin.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await peer.read_head()).startswith(b"HTTP/1.1 204")


async def test_client_that_leaves_while_its_server_is_dialled_leaves_nothing_behind(
    house: House,
) -> None:
    house.dialer.hold()
    peer = await ask(house, "left.alone:443")
    await until(lambda: house.dialer.dialled)
    peer.reset()
    await until(lambda: not house.counters.client_connections)
    house.dialer.go()
    await asyncio.sleep(0)
    assert house.dialer.channels == []


async def test_client_that_leaves_before_it_has_spoken_closes_the_servers_connection(
    house: House,
) -> None:
    peer = await ask(house, "left.alone:443")
    await peer.read_head()
    origin = await house.origin()
    peer.reset()
    await origin.read_to_end()
    await until(lambda: not house.counters.client_connections)
