"""Clients on which nothing happens: they cost no task, and notice nothing of that."""

from __future__ import annotations

import gc
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import h2.events
import pytest

from proxy_core.config import Limits
from proxy_core.net import clock as clock_module
from proxy_core.net.client_http1 import Http1Client
from proxy_core.wire.http2 import Http2Engine
from proxy_core.wire.http2_budget import GOAWAY
from tests.ca.certificates import make, server_context
from tests.net.h2_peer import REQUEST, Fields, H2Peer
from tests.net.house import House
from tests.net.wires import Peer, Wires
from tests.waiting import until

CA = make("The CA", ca=True)
LEAF = make("origin.example", issuer=CA)
IDLE = 300.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ABSOLUTE = b"GET http://origin.example/ HTTP/1.1\r\nHost: origin.example\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: origin.example\r\n\r\n"
SECURE: Fields = [
    (b":scheme", b"https") if name == b":scheme" else (name, value) for name, value in REQUEST
]


@pytest.fixture
def client(tmp_path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=CA.pem.decode())
    return context


@pytest.fixture
async def house(wires: Wires, tmp_path: Path) -> AsyncIterator[House]:
    context = server_context(LEAF, tmp_path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    made = House(wires, context, Limits(idle_timeout=IDLE))
    await made.open()
    yield made
    await made.close()
    assert made.faults == []


async def rest(house: House, count: int = 1) -> None:
    """Let so much time pass that clients rest, and wait until `count` of them do."""
    await until(lambda: not house.counters.active)
    clock = house.wires.clock
    for _ in range(20):
        clock.sweep(clock.now + 1.1)
        await house.wires.turn()
        if house.listener.resting == count:
            return
    pytest.fail(f"{house.listener.resting} of {count} clients rest")


async def ask(house: House, client: Peer, request: bytes = ABSOLUTE) -> None:
    origin_number = len(house.dialer.peers)
    await client.send(request)
    origin = await house.origin(origin_number)
    await origin.read_head()
    await origin.send(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
    assert (await client.read_until(b"ok")).startswith(b"HTTP/1.1 200 ")


async def ask_http2(house: House, client: H2Peer, fields: Fields) -> None:
    origin_number = len(house.dialer.peers)
    stream_id = client.h2.get_next_available_stream_id()
    client.h2.send_headers(stream_id, fields, end_stream=True)
    await client.flush()
    origin = await house.origin(origin_number)
    await origin.read_head()
    await origin.send(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
    assert await client.body(stream_id) == b"ok"


async def connect(house: House, context: ssl.SSLContext | None, alpn: str) -> Peer:
    """Return a client, in TLS and a tunnel where there is a context for it."""
    if context is None:
        return house.client()
    context.set_alpn_protocols([alpn])
    return await house.tls_client(context, "origin.example", tunnel=True)


async def greeted(peer: Peer) -> H2Peer:
    client = H2Peer(peer, client_side=True)
    await client.begin()
    return client


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_http1_goes_on_after_each_rest(
    house: House, client: ssl.SSLContext, secure: bool
) -> None:
    peer = await connect(house, client if secure else None, "http/1.1")
    for _ in range(3):
        await ask(house, peer, GET if secure else ABSOLUTE)
        await rest(house)
    assert len({flow.client.id for flow in house.flows()}) == 1
    assert house.counters.client_connections == 1


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_http2_goes_on_after_each_rest(
    house: House, client: ssl.SSLContext, secure: bool
) -> None:
    peer = await connect(house, client if secure else None, "h2")
    spoken = await greeted(peer)
    fields = [*(SECURE if secure else REQUEST), (b"x-token", b"goes to the dynamic table")]
    for number in range(5):
        await ask_http2(house, spoken, fields)
        await rest(house)
        fields = [*fields, (b"x-%d" % number, b"one more")]
    assert [len(flow.request.headers.fields) for flow in house.flows()] == [1, 2, 3, 4, 5]
    assert len({flow.client.id for flow in house.flows()}) == 1


async def test_what_served_a_client_is_gone_while_it_rests(house: House) -> None:
    """At once, not when the garbage collector comes by."""
    gc.collect()
    gc.disable()
    try:
        first, second = house.client(), await greeted(house.client())
        await ask(house, first)
        await ask_http2(house, second, REQUEST)
        await rest(house, 2)
        left = [each for each in gc.get_objects() if isinstance(each, Http1Client | Http2Engine)]
    finally:
        gc.enable()
    assert left == []


async def test_many_that_fall_idle_at_once_go_to_rest_a_few_at_a_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_module, "_REST_AT_ONCE", 2)
    clients = [house.client() for _ in range(5)]
    for client in clients:
        await ask(house, client)
    await until(lambda: not house.counters.active)
    await house.wires.turn()
    seen = []
    for _ in range(3):
        house.wires.clock.sweep(house.wires.clock.now + 1.1)
        await house.wires.turn()
        seen.append(house.listener.resting)
    assert seen == [2, 4, 5]
    for client in clients:
        await ask(house, client)


@pytest.mark.parametrize("reset", [False, True], ids=["end", "reset"])
async def test_client_that_leaves_while_it_rests_is_gone(house: House, reset: bool) -> None:
    first, second = house.client(), await greeted(house.client())
    await ask(house, first)
    await ask_http2(house, second, REQUEST)
    await rest(house, 2)
    for peer in (first, second.peer):
        if reset:
            peer.reset()
        else:
            peer.close()
    await until(lambda: not house.counters.client_connections)
    assert not house.listener.resting
    assert all(flow.client.closed for flow in house.flows())


async def test_rest_does_not_lengthen_the_time_an_idle_client_has(house: House) -> None:
    first, second = house.client(), await greeted(house.client())
    await ask(house, first)
    await ask_http2(house, second, REQUEST)
    clock = house.wires.clock
    deadline = clock.now + IDLE
    await rest(house, 2)
    await first.send(b"\r\n")  # nothing that is a request
    second.h2.ping(b"12345678")
    await second.flush()
    await second.next(h2.events.PingAckReceived)
    await rest(house, 2)
    clock.sweep(deadline + 0.1)
    await second.next(h2.events.ConnectionTerminated)
    assert await first.read_to_end() == b""
    await until(lambda: not house.counters.client_connections)


async def test_client_at_rest_is_told_when_the_proxy_stops(house: House) -> None:
    plain, spoken = house.client(), await greeted(house.client())
    await ask(house, plain)
    await ask_http2(house, spoken, REQUEST)
    await rest(house, 2)
    await house.listener.stop()
    assert (await spoken.peer.read_to_end())[3] == GOAWAY
    assert await plain.read_to_end() == b""
    assert not house.counters.client_connections


async def test_request_that_comes_while_its_client_goes_to_rest_is_served(house: House) -> None:
    peer = house.client()
    await ask(house, peer)
    await until(lambda: not house.counters.active)
    ((_, session),) = house.listener._tasks.items()
    clock = house.wires.clock
    clock.sweep(clock.now + 1.1)
    session.channel.data_received(ABSOLUTE)  # before anybody had a turn
    origin = await house.origin(1)
    assert await origin.read_head() == GET
    await origin.send(OK)
    assert await peer.read_until(b"ok") == OK


async def test_half_a_head_is_no_reason_to_rest(house: House) -> None:
    peer, spoken = house.client(), await greeted(house.client())
    await ask(house, peer)
    await ask_http2(house, spoken, REQUEST)
    await rest(house, 2)
    await peer.send(ABSOLUTE[:20])
    spoken.h2.send_headers(3, REQUEST, end_stream=True)
    whole = spoken.h2.data_to_send()
    await spoken.peer.send(whole[:12])
    await until(lambda: not house.listener.resting)
    clock = house.wires.clock
    for _ in range(3):
        await house.wires.turn()
        clock.sweep(clock.now + 1.1)
    assert not house.listener.resting
    await ask(house, peer, ABSOLUTE[20:])
    await spoken.peer.send(whole[12:])
    origin = await house.origin(3)
    await origin.send(OK)
    assert await spoken.body(3) == b"ok"
