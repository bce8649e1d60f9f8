from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import pytest

from proxy_core.config import Limits, Mode, RegularMode, SocksMode
from proxy_core.errors import ListenError
from proxy_core.exchange.hooks import ConnectAttempt
from proxy_core.model.flow import FlowState
from proxy_core.model.verdict import Verdict
from proxy_core.net import listener as listener_module
from tests.net.house import House
from tests.net.wires import Peer, Wires
from tests.waiting import until

REQUEST = b"GET http://origin.example/ HTTP/1.1\r\nHost: origin.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def house(wires: Wires) -> AsyncIterator[House]:
    made = House(wires, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Limits(connections=2))
    yield made
    await made.close()


async def test_port_0_becomes_a_real_one(house: House) -> None:
    where = await house.listener.start("127.0.0.1", 0)
    host, _, port = where.rpartition(":")
    assert host == "127.0.0.1"
    socket.create_connection((host, int(port))).close()


async def test_all_of_ipv6_is_all_of_ipv4_too(house: House) -> None:
    where = await house.listener.start("::", 0)
    host, _, port = where.rpartition(":")
    assert host == "[::]"
    house.port = int(port)
    for number, address in enumerate(("127.0.0.1", "::1")):
        client = socket.create_connection((address, house.port))
        house.wires.own(client)
        await Peer(client).send(REQUEST)
        await house.origin(number)
    assert [flow.client.peer[0] for flow in house.flows()] == ["127.0.0.1", "::1"]


async def test_a_name_of_both_families_has_one_port(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[tuple[object, ...]]:
        kind = (socket.SOCK_STREAM, 6, "")
        return [
            (socket.AF_INET, *kind, ("127.0.0.1", 0)),
            (socket.AF_INET6, *kind, ("::1", 0, 0, 0)),
        ]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    where = await house.listener.start("localhost", 0)
    port = int(where.rpartition(":")[2])
    for address in ("127.0.0.1", "::1"):
        socket.create_connection((address, port)).close()


async def test_taken_port_is_told_with_what_to_do(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"port {port} is taken .*; pass --listen or stop"):
            await house.listener.start("127.0.0.1", port)


async def test_address_of_another_machine_is_told_with_what_to_do(house: House) -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1:0 is no address of this machine; pass"):
        await house.listener.start("192.0.2.1", 0)


@pytest.mark.parametrize("host", ["no.such.name.invalid", "a" * 300])
async def test_name_without_an_address_is_told_with_what_to_do(house: House, host: str) -> None:
    with pytest.raises(ListenError, match=f"the name in {host}:0 has no address; pass --listen"):
        await house.listener.start(host, 0)


async def test_connections_are_counted_as_long_as_they_last(house: House) -> None:
    await house.open()
    clients = [house.client() for _ in range(2)]
    await until(lambda: house.counters.client_connections == 2)
    clients[0].close()
    await until(lambda: house.counters.client_connections == 1)
    clients[1].reset()
    await until(lambda: house.counters.client_connections == 0)


async def test_connections_beyond_the_limit_are_turned_away_until_one_leaves(
    house: House,
) -> None:
    await house.open()
    first, _ = house.client(), house.client()
    await until(lambda: house.counters.client_connections == 2)
    house.connect()
    await until(lambda: house.listener.refused == 1)
    assert house.counters.client_connections == 2
    first.close()
    await until(lambda: house.counters.client_connections == 1)
    client = house.client()
    await client.send(REQUEST)
    await (await house.origin()).send(OK)
    assert await client.read_until(b"ok") == OK
    assert house.listener.refused == 1
    assert house.refused == ["2 are connected already; raise [limits] connections"]


@pytest.mark.parametrize(
    ("mode", "told"), [(RegularMode(), b"HTTP/1.1 503 "), (SocksMode(), b"")], ids=str
)
async def test_client_that_speaks_http_is_told_why_there_is_no_room(
    wires: Wires, mode: Mode, told: bytes
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    house = House(wires, context, Limits(connections=1), mode)
    await house.open()
    house.client()
    await until(lambda: house.counters.client_connections == 1)
    assert (await house.client().read_to_end())[:13] == told
    await house.close()


async def test_fault_in_one_connection_is_told_and_the_others_go_on(house: House) -> None:
    async def stumble(attempt: ConnectAttempt) -> Verdict:
        raise RuntimeError("a bug")

    await house.open()
    house.hooks.connect = stumble
    assert await house.client().read_to_end() == b""
    (fault,) = house.faults
    assert isinstance(fault, RuntimeError)
    house.hooks.connect = None
    client = house.client()
    await client.send(REQUEST)
    await (await house.origin()).send(OK)
    assert await client.read_until(b"ok") == OK


async def test_stop_lets_an_exchange_under_way_finish(house: House) -> None:
    await house.open()
    client = house.client()
    await client.send(REQUEST)
    origin = await house.origin()
    await origin.read_head()
    stopping = house.wires.start(house.listener.stop())
    await house.wires.turn()
    assert not stopping.done()
    with pytest.raises(ConnectionRefusedError):
        house.connect()
    await origin.send(OK)
    assert await client.read_to_end() == OK
    await stopping
    assert house.counters.client_connections == 0


async def test_stop_ends_what_does_not_finish(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "_GRACE", 0.0)
    await house.open()
    client, idle = house.client(), house.client()
    await client.send(REQUEST)
    await (await house.origin()).read_head()
    await house.listener.stop()
    assert await client.read_to_end() == b""
    assert await idle.read_to_end() == b""
    (flow,) = house.flows()
    assert flow.state is FlowState.FAILED
    assert house.counters.active == 0


async def test_stop_before_start_and_twice_is_harmless(house: House) -> None:
    await house.listener.stop()
    await house.open()
    await house.listener.stop()
    await house.listener.stop()
