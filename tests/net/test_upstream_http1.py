from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from proxy_core.config import Limits
from proxy_core.errors import UpstreamError, UpstreamGone
from proxy_core.exchange.ports import Parent, Route
from proxy_core.model.connection import ServerConnection
from proxy_core.model.headers import Headers
from proxy_core.model.ids import ConnectionId
from proxy_core.model.message import RequestHead
from proxy_core.net.channel import Channel
from proxy_core.net.clock import Clock
from proxy_core.net.upstream_http1 import Http1Upstream
from proxy_core.wire.events import CHUNKED, UNTIL_CLOSE
from tests.net.wires import Peer, Wires, send_until_blocked
from tests.waiting import until

HOST = (b"Host", b"origin.example")
LIMITS = Limits(idle_timeout=300.0, response_timeout=60.0, stream_buffer=1000)


def request(method: bytes = b"GET", *fields: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead(method, "http", b"origin.example", b"/", Headers([HOST, *fields]))


@dataclass
class Side:
    """The connection to an origin, the origin itself, and what was given back."""

    stream: Http1Upstream
    channel: Channel
    peer: Peer
    given_back: list[Http1Upstream] = field(default_factory=list)

    async def ask(self, method: bytes = b"GET") -> None:
        self.stream.send_head(request(method), 0)
        await self.peer.read_head()

    async def body(self) -> bytes:
        data = b""
        while piece := await self.stream.read():
            data += piece
        return data


@pytest.fixture
async def side(wires: Wires) -> Side:
    channel, peer = await wires.open(limit=1000)
    given_back: list[Http1Upstream] = []
    server = ServerConnection(ConnectionId(1), "origin.example", 80)
    route = Route("http", "origin.example", 80)
    stream = Http1Upstream(channel, server, route, LIMITS, given_back.append)
    stream.begin()
    return Side(stream, channel, peer, given_back)


# --- what goes out


async def test_request_without_a_body_is_a_head(side: Side) -> None:
    side.stream.send_head(request(b"GET", (b"Accept", b"*/*")), 0)
    head = await side.peer.read_head()
    assert head == b"GET / HTTP/1.1\r\nHost: origin.example\r\nAccept: */*\r\n\r\n"


async def test_another_proxy_gets_the_whole_target_its_credentials_and_whom_it_came_through(
    wires: Wires,
) -> None:
    channel, peer = await wires.open(limit=1000)
    parent = Parent("http", "parent.example", 3128, "me:secret", "deadbeef", b"1.1 first")
    stream = Http1Upstream(
        channel,
        ServerConnection(ConnectionId(1), "origin.example", 80),
        Route("http", "origin.example", 80, via=parent),
        LIMITS,
        lambda upstream: None,
    )
    stream.begin()
    stream.send_head(request(b"GET", (b"Via", b"1.0 inside")), 0, b"Host: stale\r\n\r\n")
    assert await peer.read_head() == (
        b"GET http://origin.example/ HTTP/1.1\r\n"
        b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"
        b"Host: origin.example\r\nVia: 1.0 inside\r\n"
        b"Via: 1.1 first, 1.1 deadbeef\r\n\r\n"
    )


async def test_a_proxy_behind_a_parents_tunnel_is_told_nothing_that_is_for_the_parent(
    wires: Wires,
) -> None:
    channel, peer = await wires.open(limit=1000)
    parent = Parent("http", "parent.example", 3128, "me:secret", "deadbeef")
    stream = Http1Upstream(
        channel,
        ServerConnection(ConnectionId(1), "proxy.example", 8080),
        Route("http", "proxy.example", 8080, via=parent, asks_proxy=True),
        LIMITS,
        lambda upstream: None,
    )
    stream.begin()
    stream.send_head(request(b"GET", (b"Proxy-Authorization", b"Basic eDp5")), 0)
    assert await peer.read_head() == (
        b"GET http://origin.example/ HTTP/1.1\r\n"
        b"Proxy-Authorization: Basic eDp5\r\n"
        b"Host: origin.example\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("te", "expected"),
    [
        (b"trailers", b"Connection: TE\r\nTE: trailers\r\n"),
        (b"gzip;q=0.5, Trailers", b"Connection: TE\r\nTE: trailers\r\n"),
        (b"gzip", b""),
    ],
)
async def test_clients_that_take_trailers_are_known_to_the_origin(
    side: Side, te: bytes, expected: bytes
) -> None:
    side.stream.send_head(request(b"GET", (b"TE", te), (b"Connection", b"TE")), 0)
    head = await side.peer.read_head()
    assert head == b"GET / HTTP/1.1\r\nHost: origin.example\r\n" + expected + b"\r\n"


async def test_bytes_behind_an_answer_are_told_and_end_the_connection(side: Side) -> None:
    await side.ask()
    await side.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more")
    await side.stream.read_head()
    assert await side.body() == b"ok"
    assert side.stream.release() == "the origin sent more than its answer"
    assert not side.given_back
    await until(lambda: side.channel.closed)


async def test_counted_body_goes_out_as_it_is(side: Side) -> None:
    side.stream.send_head(request(b"POST", (b"Content-Length", b"5")), 5)
    side.stream.send_data(b"he")
    side.stream.send_data(b"llo")
    side.stream.send_end(None)
    assert (await side.peer.read_until(b"hello")).endswith(b"Content-Length: 5\r\n\r\nhello")


async def test_body_of_unknown_length_goes_out_in_chunks_with_trailers(side: Side) -> None:
    side.stream.send_head(request(b"POST"), CHUNKED)
    side.stream.send_data(b"hello")
    side.stream.send_end([(b"Digest", b"x")])
    sent = await side.peer.read_until(b"Digest: x\r\n\r\n")
    assert b"Transfer-Encoding: chunked\r\n" in sent
    assert sent.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\nDigest: x\r\n\r\n")


async def test_head_of_a_body_that_is_slow_to_come_does_not_wait_for_it(
    side: Side, wires: Wires
) -> None:
    side.stream.send_head(request(b"POST", (b"Expect", b"100-continue")), 5)
    answer = wires.start(side.stream.read_head())
    assert b"Expect: 100-continue\r\n" in await side.peer.read_head()
    await side.peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    received = await answer
    assert received.informational
    assert received.head.status == 100
    side.stream.send_data(b"hello")
    side.stream.send_end(None)
    assert await side.peer.read_exactly(5) == b"hello"
    await side.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (await side.stream.read_head()).head.status == 200
    assert await side.body() == b"ok"


async def test_origin_that_reads_slowly_holds_the_body_back(side: Side, wires: Wires) -> None:
    side.stream.send_head(request(b"POST"), CHUNKED)
    sent = await send_until_blocked(side.stream.send_data, lambda: side.stream.blocked)
    draining = wires.start(side.stream.drain())
    await wires.turn()
    assert not draining.done()
    await side.peer.read_exactly(sent)
    await draining
    assert not side.stream.blocked


async def test_origin_that_stops_reading_is_a_504(side: Side, wires: Wires, clock: Clock) -> None:
    side.stream.send_head(request(b"POST"), CHUNKED)
    await send_until_blocked(side.stream.send_data, lambda: side.stream.blocked)
    draining = wires.start(side.stream.drain())
    await wires.turn()
    clock.sweep(301.0)
    with pytest.raises(UpstreamError, match="did not read the request in time") as refusal:
        await draining
    assert refusal.value.status == 504


async def test_client_that_is_slow_to_send_is_not_the_origins_fault(
    side: Side, wires: Wires, clock: Clock
) -> None:
    side.stream.send_head(request(b"POST"), 5)
    side.stream.send_data(b"he")
    answer = wires.start(side.stream.read_head())
    await wires.turn()
    clock.sweep(10_000.0)
    await wires.turn()
    assert not answer.done()
    side.stream.send_data(b"llo")
    side.stream.send_end(None)
    clock.sweep(10_061.0)  # but now it is its turn
    with pytest.raises(UpstreamError, match="did not answer in time"):
        await answer


# --- what comes back


async def test_counted_answer_is_read_and_the_connection_given_back(side: Side) -> None:
    await side.ask()
    await side.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    received = await side.stream.read_head()
    assert received.length == 5
    assert await side.body() == b"hello"
    side.stream.release()
    assert side.given_back == [side.stream]


async def test_many_tiny_chunks_at_once_leave_others_their_turn(side: Side) -> None:
    await side.ask()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    side.channel.unread(head + b"1\r\nx\r\n" * 9000 + b"0\r\n\r\n")
    await side.stream.read_head()
    reading = asyncio.get_running_loop().create_task(side.body())
    turns = 0
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert await reading == b"x" * 9000
    assert turns > 5


async def test_chunked_answer_is_read_with_its_trailers(side: Side) -> None:
    await side.ask()
    await side.peer.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n"
    )
    assert (await side.stream.read_head()).length == CHUNKED
    assert await side.body() == b"hello"
    assert side.stream.trailers == [(b"A", b"b")]
    side.stream.release()
    assert side.given_back


async def test_answer_until_close_ends_with_the_connection(side: Side) -> None:
    await side.ask()
    await side.peer.send(b"HTTP/1.1 200 OK\r\n\r\nall there is")
    side.peer.end()
    assert (await side.stream.read_head()).length == UNTIL_CLOSE
    assert await side.body() == b"all there is"
    side.stream.release()
    assert not side.given_back
    await until(lambda: side.channel.closed)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
    ],
)
async def test_answer_that_has_no_body_leaves_the_connection_fit(
    side: Side, method: bytes, answer: bytes
) -> None:
    for _ in range(2):
        await side.ask(method)
        await side.peer.send(answer)
        assert (await side.stream.read_head()).length == 0
        side.stream.release()
        side.stream.begin()
    assert len(side.given_back) == 2


async def test_informational_answers_come_before_the_final_one(side: Side) -> None:
    await side.ask()
    await side.peer.send(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    )
    statuses = [(await side.stream.read_head()).head.status for _ in range(3)]
    assert statuses == [103, 102, 204]


async def test_large_answer_is_held_back_while_nobody_reads(side: Side, wires: Wires) -> None:
    await side.ask()
    size = 8 * 1024 * 1024
    await side.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    await side.stream.read_head()
    sending = wires.start(side.peer.send(bytes(size)))
    await until(lambda: side.channel._paused)
    assert not sending.done()
    assert len(await side.body()) == size
    await sending


async def test_origin_that_closes_without_an_answer_is_gone(side: Side) -> None:
    await side.ask()
    side.peer.end()
    with pytest.raises(UpstreamGone, match="closed the connection without an answer") as gone:
        await side.stream.read_head()
    assert not gone.value.unseen


async def test_origin_that_resets_without_an_answer_is_gone(side: Side) -> None:
    await side.ask()
    side.peer.reset()
    with pytest.raises(UpstreamGone, match="reset"):
        await side.stream.read_head()


async def test_origin_that_closes_after_an_informational_answer_has_seen_the_request(
    side: Side,
) -> None:
    await side.ask()
    await side.peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    await side.stream.read_head()
    side.peer.end()
    with pytest.raises(UpstreamError) as failure:
        await side.stream.read_head()
    assert not isinstance(failure.value, UpstreamGone)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
async def test_answer_cut_short_is_no_end(side: Side, answer: bytes) -> None:
    await side.ask()
    await side.peer.send(answer)
    side.peer.end()
    await side.stream.read_head()
    with pytest.raises(UpstreamError, match="cut its answer short"):
        await side.body()


async def test_reset_in_the_middle_of_an_answer_is_an_error(side: Side) -> None:
    await side.ask()
    await side.peer.send(b"HTTP/1.1 200 OK\r\n\r\nbegun")
    await side.stream.read_head()
    assert await side.stream.read() == b"begun"
    side.peer.reset()
    with pytest.raises(UpstreamError, match="reset"):
        await side.stream.read()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "sent a bad answer"),
        (b"HTTP/1.1 200 OK\r\nA" + b"x" * 70_000, "sent a bad answer"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "switched protocols unasked"),
    ],
)
async def test_answer_that_is_none_is_told(side: Side, answer: bytes, reason: str) -> None:
    await side.ask()
    await side.peer.send(answer)
    side.peer.end()
    with pytest.raises(UpstreamError, match=reason):
        await side.stream.read_head()


@pytest.mark.parametrize("line", [b"", b"Upgrade: other\r\n", b"Upgrade: websocket, other\r\n"])
async def test_switch_to_what_nobody_asked_for_is_refused(side: Side, line: bytes) -> None:
    side.stream.send_head(request(), 0, upgrade=b"websocket, foo")
    await side.peer.read_head()
    await side.peer.send(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\n%b\r\n" % line)
    with pytest.raises(UpstreamError, match="switched protocols unasked"):
        await side.stream.read_head()


async def test_silence_after_the_request_is_a_504(side: Side, wires: Wires, clock: Clock) -> None:
    await side.ask()
    answer = wires.start(side.stream.read_head())
    await wires.turn()
    clock.sweep(61.0)
    with pytest.raises(UpstreamError, match="did not answer in time") as refusal:
        await answer
    assert refusal.value.status == 504


async def test_silence_in_the_middle_of_an_answer_is_a_504(
    side: Side, wires: Wires, clock: Clock
) -> None:
    await side.ask()
    await side.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
    await side.stream.read_head()
    body = wires.start(side.body())
    await until(lambda: not side.channel.has_unread)
    await wires.turn()
    clock.sweep(301.0)
    with pytest.raises(UpstreamError, match="stopped in the middle of its answer"):
        await body


async def test_answer_that_nobody_reads_for_long_is_not_the_origins_fault(
    side: Side, clock: Clock
) -> None:
    await side.ask()
    await side.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    await side.stream.read_head()
    clock.sweep(10_000.0)  # the user holds the response meanwhile
    await side.peer.send(b"hello")
    assert await side.body() == b"hello"


async def test_answer_before_the_request_was_whole_ends_the_connection(side: Side) -> None:
    side.stream.send_head(request(b"POST"), 1000)
    side.stream.send_data(b"begun")
    await side.peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
    assert (await side.stream.read_head()).head.status == 413
    side.stream.release()
    assert not side.given_back
    await until(lambda: side.channel.closed)


async def test_upgraded_connection_is_handed_over_with_what_came_already(side: Side) -> None:
    side.stream.send_head(request(), 0, upgrade=b"websocket")
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in await side.peer.read_head()
    await side.peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        b"frames"
    )
    received = await side.stream.read_head()
    assert received.upgrade == b"websocket"
    channel = side.stream.become_bytes()
    assert await channel.receive() == b"frames"
    channel.write(b"back")
    assert await side.peer.read_exactly(4) == b"back"
