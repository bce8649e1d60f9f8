from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import h2.config
import h2.connection
import h2.settings
import pytest

from proxy_core.config import Limits
from proxy_core.errors import UpstreamError
from proxy_core.exchange.ports import Route, UpstreamStream
from proxy_core.model.headers import Headers
from proxy_core.model.message import RequestHead
from proxy_core.net import pool as pool_module
from proxy_core.net.clock import Clock
from proxy_core.net.pool import UpstreamPool
from proxy_core.net.upstream_http1 import Http1Upstream
from proxy_core.net.upstream_http2_stream import Http2UpstreamStream
from tests.net.origins import HandDialer
from tests.net.wires import Peer, Wires
from tests.waiting import until

PLAIN = Route("http", "origin.example", 80)
SECURE = Route("https", "origin.example", 443)
GET = RequestHead(b"GET", "http", b"origin.example", b"/", Headers([(b"Host", b"origin.example")]))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
async def dialer(wires: Wires) -> HandDialer:
    return HandDialer(wires)


@pytest.fixture
async def pool(dialer: HandDialer, clock: Clock) -> AsyncIterator[UpstreamPool]:
    limits = Limits(upstream_idle=30.0, upstream_idle_per_origin=2)
    made = UpstreamPool(dialer, clock, limits)
    yield made
    await made.close()


async def exchange(stream: UpstreamStream, peer: Peer, answer: bytes = OK) -> None:
    """Ask and be answered; what becomes of the connection is for the pool to say."""
    stream.send_head(GET, 0)
    await peer.read_head()
    await peer.send(answer)
    await stream.read_head()
    stream.release()


async def used(pool: UpstreamPool, dialer: HandDialer, route: Route = PLAIN) -> Http1Upstream:
    """A connection that has carried an exchange and lies in the pool."""
    stream = await pool.open(route)
    assert isinstance(stream, Http1Upstream)
    await exchange(stream, dialer.peers[-1])
    return stream


# --- HTTP/1


async def test_connection_is_used_again_after_its_exchange(
    pool: UpstreamPool, dialer: HandDialer
) -> None:
    assert pool.acquire(PLAIN) is None
    stream = await pool.open(PLAIN)
    assert not stream.reused
    assert pool.acquire(PLAIN) is None  # it is lent
    await exchange(stream, dialer.peers[0])
    again = pool.acquire(PLAIN)
    assert again is stream
    assert again.reused
    assert again.server.exchanges == 2
    assert pool.acquire(PLAIN) is None
    await exchange(again, dialer.peers[0])
    assert len(dialer.dialled) == 1


async def test_connection_used_last_is_used_next(pool: UpstreamPool, dialer: HandDialer) -> None:
    first, second = await pool.open(PLAIN), await pool.open(PLAIN)
    await exchange(second, dialer.peers[1])
    await exchange(first, dialer.peers[0])
    assert pool.acquire(PLAIN) is first
    assert pool.acquire(PLAIN) is second


@pytest.mark.parametrize(
    "other",
    [
        Route("http", "origin.example", 81),
        Route("http", "other.example", 80),
        Route("https", "origin.example", 80),
        Route("http", "origin.example", 80, sni="another.example"),
    ],
)
async def test_connection_serves_no_other_route(
    pool: UpstreamPool, dialer: HandDialer, other: Route
) -> None:
    await used(pool, dialer)
    assert pool.acquire(other) is None


async def test_no_more_connections_are_kept_than_the_limit(
    pool: UpstreamPool, dialer: HandDialer
) -> None:
    streams = [await pool.open(PLAIN) for _ in range(3)]
    for stream, peer in zip(streams, list(dialer.peers), strict=True):
        await exchange(stream, peer)
    await until(lambda: dialer.channels[2].closed)
    assert pool.acquire(PLAIN) is streams[1]
    assert pool.acquire(PLAIN) is streams[0]
    assert pool.acquire(PLAIN) is None


async def test_limit_is_for_each_origin(pool: UpstreamPool, dialer: HandDialer) -> None:
    for port in range(1, 6):
        await used(pool, dialer, Route("http", "origin.example", port))
    assert all(pool.acquire(Route("http", "origin.example", port)) for port in range(1, 6))


async def test_no_more_connections_are_kept_in_all_than_the_limit(
    dialer: HandDialer, clock: Clock
) -> None:
    pool = UpstreamPool(dialer, clock, Limits(upstream_idle_total=2))
    routes = [Route("http", "origin.example", port) for port in range(1, 4)]
    for route in routes:
        await used(pool, dialer, route)
    await until(lambda: dialer.channels[0].closed)
    assert pool.acquire(routes[0]) is None
    assert pool.acquire(routes[1])
    await used(pool, dialer, routes[0])
    assert pool.acquire(routes[2])
    assert pool.acquire(routes[0])
    await pool.close()


async def test_connection_that_a_client_has_authenticated_serves_no_other(
    pool: UpstreamPool, dialer: HandDialer
) -> None:
    stream = await pool.open(PLAIN)
    stream.server.owner = 7
    await exchange(stream, dialer.peers[0])
    assert pool.acquire(PLAIN) is None
    assert pool.acquire(replace(PLAIN, owner=8)) is None
    assert pool.acquire(replace(PLAIN, owner=7)) is stream


async def test_shared_connection_that_a_client_has_authenticated_serves_no_other(
    pool: UpstreamPool, dialer: HandDialer
) -> None:
    dialer.alpn = "h2"
    stream = await pool.open(SECURE)
    stream.server.owner = 7
    assert pool.acquire(SECURE) is None


async def test_idle_connection_is_closed_when_its_time_is_over(
    pool: UpstreamPool, dialer: HandDialer, clock: Clock
) -> None:
    await used(pool, dialer)
    clock.sweep(29.0)
    assert pool._idle
    clock.sweep(31.0)
    await until(lambda: dialer.channels[0].closed)
    assert pool.acquire(PLAIN) is None
    assert not pool._idle


async def test_connection_in_use_does_not_expire_as_idle(
    pool: UpstreamPool, dialer: HandDialer, clock: Clock
) -> None:
    await used(pool, dialer)
    stream = pool.acquire(PLAIN)
    assert stream is not None
    post = GET.replace(method=b"POST")
    stream.send_head(post, 2)  # and the client is slow to send its body
    clock.sweep(31.0)
    stream.send_data(b"hi")
    stream.send_end(None)
    await dialer.peers[0].read_until(b"hi")
    await dialer.peers[0].send(OK)
    assert (await stream.read_head()).head.status == 200


@pytest.mark.parametrize("unasked", [b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"x", b""])
async def test_idle_connection_that_says_or_ends_anything_is_closed(
    pool: UpstreamPool, dialer: HandDialer, unasked: bytes
) -> None:
    await used(pool, dialer)
    if unasked:
        await dialer.peers[0].send(unasked)
    else:
        dialer.peers[0].end()
    await until(lambda: dialer.channels[0].closed)
    assert pool.acquire(PLAIN) is None
    assert not pool._idle


async def test_connection_with_bytes_behind_its_answer_is_not_kept(
    pool: UpstreamPool, dialer: HandDialer
) -> None:
    stream = await pool.open(PLAIN)
    await exchange(stream, dialer.peers[0], OK + OK)
    await until(lambda: dialer.channels[0].closed)
    assert pool.acquire(PLAIN) is None


async def test_connection_with_bytes_behind_its_answer_in_another_packet_is_not_kept(
    pool: UpstreamPool, dialer: HandDialer
) -> None:
    stream = await pool.open(PLAIN)
    stream.send_head(GET, 0)
    await dialer.peers[0].read_head()
    await dialer.peers[0].send(OK)
    await stream.read_head()
    await dialer.peers[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
    await until(lambda: dialer.channels[0]._incoming_size)
    stream.release()
    assert pool.acquire(PLAIN) is None
    await until(lambda: dialer.channels[0].closed)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_connection_that_the_origin_wants_closed_is_not_kept(
    pool: UpstreamPool, dialer: HandDialer, answer: bytes
) -> None:
    stream = await pool.open(PLAIN)
    await exchange(stream, dialer.peers[0], answer)
    await until(lambda: dialer.channels[0].closed)
    assert pool.acquire(PLAIN) is None


async def test_connection_given_up_is_not_kept(pool: UpstreamPool, dialer: HandDialer) -> None:
    stream = await pool.open(PLAIN)
    stream.abort()
    await until(lambda: dialer.channels[0].closed)
    assert pool.acquire(PLAIN) is None


async def test_fresh_connection_is_dialled_though_one_lies_idle(
    pool: UpstreamPool, dialer: HandDialer
) -> None:
    first = await used(pool, dialer)
    fresh = await pool.open(PLAIN, fresh=True)
    assert fresh is not first
    assert not fresh.reused


async def test_close_ends_lent_and_idle_connections(pool: UpstreamPool, dialer: HandDialer) -> None:
    await used(pool, dialer)
    await pool.open(SECURE)
    dialer.alpn = "h2"
    await pool.open(Route("https", "other.example", 443))
    await pool.close()
    await until(lambda: all(channel.closed for channel in dialer.channels))


# --- waiting for the first handshake


async def start_opening(
    pool: UpstreamPool, wires: Wires, count: int
) -> list[asyncio.Task[UpstreamStream]]:
    tasks = [wires.start(pool.open(SECURE)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_requests_wait_for_the_first_and_share_its_http2_in_their_order(
    pool: UpstreamPool, dialer: HandDialer, wires: Wires
) -> None:
    dialer.alpn = "h2"
    dialer.hold()
    order: list[int] = []
    tasks = await start_opening(pool, wires, 4)
    for task in tasks:
        task.add_done_callback(lambda done: order.append(tasks.index(done)))
    assert len(dialer.dialled) == 1
    dialer.go()
    streams = await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3]
    assert len(dialer.dialled) == 1
    assert len({stream.server.id for stream in streams}) == 1
    assert not pool._dialling


async def test_requests_that_waited_dial_themselves_where_it_is_http1(
    pool: UpstreamPool, dialer: HandDialer, wires: Wires
) -> None:
    dialer.alpn = "http/1.1"
    dialer.hold()
    tasks = await start_opening(pool, wires, 3)
    dialer.go()
    streams = await asyncio.gather(*tasks)
    assert len({stream.server.id for stream in streams}) == 3
    dialer.hold()
    await start_opening(pool, wires, 2)  # it is known now: nobody waits for another
    assert len(dialer.dialled) == 5


async def test_cancelled_waiter_leaves_nothing_behind(
    pool: UpstreamPool, dialer: HandDialer, wires: Wires
) -> None:
    dialer.alpn = "h2"
    dialer.hold()
    first, waiter, last = await start_opening(pool, wires, 3)
    waiter.cancel()
    await asyncio.sleep(0)
    dialer.go()
    await first
    await last
    assert waiter.cancelled()
    assert not pool._dialling
    (connection,) = pool._shared[SECURE]
    assert connection.server.exchanges == 2
    assert len(connection._open) == 2


async def test_next_dials_when_the_first_is_cancelled(
    pool: UpstreamPool, dialer: HandDialer, wires: Wires
) -> None:
    dialer.alpn = "h2"
    dialer.hold()
    first, second, third = await start_opening(pool, wires, 3)
    first.cancel()
    await until(lambda: len(dialer.dialled) == 2)
    dialer.go()
    assert (await second).server is (await third).server
    assert len(dialer.dialled) == 2
    assert not pool._dialling


async def test_those_who_waited_share_a_failure_instead_of_dialling_one_after_another(
    pool: UpstreamPool, dialer: HandDialer, wires: Wires
) -> None:
    dialer.hold()
    dialer.failure = UpstreamError("could not connect", 504)
    tasks = await start_opening(pool, wires, 5)
    dialer.go()
    for task in tasks:
        with pytest.raises(UpstreamError, match="could not connect") as refusal:
            await task
        assert refusal.value.status == 504
    assert len(dialer.dialled) == 1
    dialer.failure = None
    await pool.open(SECURE)  # and the next one tries again
    assert len(dialer.dialled) == 2


async def test_origins_known_for_http1_are_bounded(
    pool: UpstreamPool, dialer: HandDialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_MAX_KNOWN", 3)
    for port in range(1, 6):
        await pool.open(Route("https", "origin.example", port))
    assert [route.port for route in pool._http1] == [3, 4, 5]


# --- HTTP/2


async def settle(peer: Peer, max_streams: int) -> h2.connection.H2Connection:
    """Be an origin that lets in so many streams."""
    origin = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    origin.local_settings = h2.settings.Settings(
        client=False,
        initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: max_streams},
    )
    origin.initiate_connection()
    await peer.send(origin.data_to_send())
    return origin


async def test_another_connection_is_dialled_when_the_first_is_full(
    pool: UpstreamPool, dialer: HandDialer
) -> None:
    dialer.alpn = "h2"
    first = await pool.open(SECURE)
    await settle(dialer.peers[0], 1)
    assert isinstance(first, Http2UpstreamStream)
    await until(lambda: not pool._shared[SECURE][0].has_room)
    assert pool.acquire(SECURE) is None
    second = await pool.open(SECURE)
    assert second.server is not first.server
    first.abort()
    third = pool.acquire(SECURE)
    assert third is not None
    assert third.server is first.server


async def test_connection_whose_origin_says_goodbye_takes_no_new_streams(
    pool: UpstreamPool, dialer: HandDialer
) -> None:
    dialer.alpn = "h2"
    stream = await pool.open(SECURE)
    stream.send_head(GET, 0)
    origin = await settle(dialer.peers[0], 100)
    origin.receive_data(await dialer.peers[0].read_some())
    origin.close_connection()
    await dialer.peers[0].send(origin.data_to_send())
    await until(lambda: SECURE not in pool._shared)
    assert pool.acquire(SECURE) is None


async def test_shared_connection_that_carries_nothing_is_closed_when_its_time_is_over(
    pool: UpstreamPool, dialer: HandDialer, clock: Clock
) -> None:
    dialer.alpn = "h2"
    stream = await pool.open(SECURE)
    clock.sweep(100.0)
    assert not dialer.channels[0].closed
    stream.abort()
    clock.sweep(131.0)
    await until(lambda: dialer.channels[0].closed)
    assert SECURE not in pool._shared
