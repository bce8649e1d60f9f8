from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from proxy_core.config import Limits
from proxy_core.errors import ClientDisconnected, RemoteProtocolError
from proxy_core.model.connection import ClientConnection
from proxy_core.model.headers import Headers
from proxy_core.model.ids import ConnectionId
from proxy_core.model.message import ResponseHead
from proxy_core.net import client_http1
from proxy_core.net.channel import Channel
from proxy_core.net.client_http1 import Http1Client
from proxy_core.net.clock import Clock
from proxy_core.net.routing import Router
from proxy_core.wire.events import CHUNKED, UNTIL_CLOSE, RequestReceived
from tests.net.wires import Peer, Wires, send_until_blocked
from tests.waiting import until

LIMITS = Limits(
    head_timeout=30.0,
    idle_timeout=300.0,
    head_bytes=4096,
    stream_buffer=1000,
    unwanted_body=50_000,
)

Run = Callable[[Http1Client, RequestReceived], Awaitable[None]]
Drip = Callable[[float, bytes], Awaitable[None]]


def request(path: str = "/", *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    head = [f"{method} http://origin.example{path} HTTP/{version}", "Host: origin.example", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def respond(client: Http1Client, body: bytes, status: int = 200) -> None:
    fields = [(b"Content-Length", b"%d" % len(body))]
    client.send_head(ResponseHead(status, b"", Headers(fields)), len(body))
    if body:
        client.send_data(body)
    client.send_end(None)


async def read_body(client: Http1Client) -> bytes:
    data = b""
    while piece := await client.read():
        data += piece
    return data


async def echo(client: Http1Client, received: RequestReceived) -> None:
    """Answer with the path and the body."""
    body = b"" if received.length == 0 else await read_body(client)
    respond(client, received.head.path + b"|" + body)


@dataclass
class Side:
    """The client, and our side of its connection."""

    channel: Channel
    peer: Peer
    wires: Wires
    clock: Clock
    refused: list[RemoteProtocolError] = field(default_factory=list)

    def serve(self, run: Run = echo) -> asyncio.Task[RequestReceived | None]:
        client = ClientConnection(
            ConnectionId(1), ("192.0.2.1", 1), ("192.0.2.2", 2), "regular", 0.0
        )
        http = Http1Client(self.channel, client, Router(), LIMITS, run, self.refused.append)
        return self.wires.start(http.run())

    async def answer(self) -> tuple[bytes, bytes]:
        """Read an answer with a Content-Length."""
        head = await self.peer.read_head()
        (length,) = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]
        return head, await self.peer.read_exactly(int(length.partition(b": ")[2]))


@pytest.fixture
async def side(wires: Wires, clock: Clock) -> Side:
    channel, peer = await wires.open(limit=1000)
    return Side(channel, peer, wires, clock)


# --- one request after the other


async def test_connection_serves_one_request_after_the_other(side: Side) -> None:
    side.serve()
    for path in ("/one", "/two"):
        await side.peer.send(request(path))
        head, body = await side.answer()
        assert head == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        assert body == path.encode() + b"|"


async def test_pipelined_requests_are_answered_in_their_order(side: Side) -> None:
    turn = asyncio.Event()
    running: list[bytes] = []

    async def slow(client: Http1Client, received: RequestReceived) -> None:
        running.append(received.head.path)
        if received.head.path == b"/a":
            await turn.wait()
        await echo(client, received)

    side.serve(slow)
    await side.peer.send(
        request("/a") + request("/b", "Content-Length: 2", method="POST") + b"hi" + request("/c")
    )
    await until(lambda: running)
    await side.wires.turn()
    assert running == [b"/a"]
    turn.set()
    assert [(await side.answer())[1] for _ in range(3)] == [b"/a|", b"/b|hi", b"/c|"]


async def test_chunked_body_is_read_with_its_trailers(side: Side) -> None:
    trailers: list[object] = []

    async def run(client: Http1Client, received: RequestReceived) -> None:
        await echo(client, received)
        trailers.append(client.trailers)

    side.serve(run)
    await side.peer.send(request("/", "Transfer-Encoding: chunked", method="POST"))
    await side.peer.send(b"5\r\nhello\r\n")
    await side.peer.send(b"0\r\nA: b\r\n\r\n")
    assert (await side.answer())[1] == b"/|hello"
    assert trailers == [[(b"A", b"b")]]


@pytest.mark.parametrize(
    ("version", "line", "stays", "told"),
    [
        ("1.1", "A: b", True, b""),
        ("1.1", "Connection: close", False, b"Connection: close\r\n"),
        ("1.0", "A: b", False, b"Connection: close\r\n"),
        ("1.0", "Connection: keep-alive", True, b"Connection: keep-alive\r\n"),
    ],
)
async def test_connection_stays_as_the_client_wants_it(
    side: Side, version: str, line: str, stays: bool, told: bytes
) -> None:
    serving = side.serve()
    await side.peer.send(request("/", line, version=version))
    head, _ = await side.answer()
    assert told in head
    assert (b"Connection:" in head) == bool(told)
    if stays:
        await side.peer.send(request("/again", line, version=version))
        assert (await side.answer())[1] == b"/again|"
    else:
        assert await side.peer.read_to_end() == b""
        side.peer.end()
        assert await serving is None


async def test_client_that_ends_its_side_gets_the_answer_to_what_it_asked(side: Side) -> None:
    serving = side.serve()
    await side.peer.send(request("/a") + request("/b"))
    side.peer.end()
    assert (await side.answer())[1] == b"/a|"
    assert (await side.answer())[1] == b"/b|"
    assert await side.peer.read_to_end() == b""
    assert await serving is None


async def test_connect_is_handed_on_with_what_follows_it(side: Side) -> None:
    serving = side.serve()
    await side.peer.send(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\nhello")
    received = await serving
    assert received is not None
    assert received.head.authority == b"a.example:443"


# --- Expect, and bodies nobody wants


async def test_continue_goes_to_the_client_before_it_sends_its_body(side: Side) -> None:
    async def run(client: Http1Client, received: RequestReceived) -> None:
        assert received.expect_continue
        client.send_informational(ResponseHead(100))
        await echo(client, received)

    side.serve(run)
    lines = ("Expect: 100-continue", "Content-Length: 2")
    await side.peer.send(request("/", *lines, method="POST"))
    assert await side.peer.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await side.peer.send(b"hi")
    assert (await side.answer())[1] == b"/|hi"


async def test_client_that_was_told_nothing_is_told_to_go_on_once(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(client: Http1Client, received: RequestReceived) -> None:
        body = await read_body(client)
        client.send_informational(ResponseHead(100))  # too late to be of use
        respond(client, body)

    monkeypatch.setattr(client_http1, "_PATIENCE", 0.001)
    side.serve(run)
    lines = ("Expect: 100-continue", "Content-Length: 4")
    for body in (b"that", b"more"):
        await side.peer.send(request("/", *lines, method="POST"))
        assert await side.peer.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await side.peer.send(body[:2])
        await side.wires.turn()
        await side.peer.send(body[2:])
        head, answer = await side.answer()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert answer == body


async def test_client_that_does_not_wait_is_told_nothing(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_http1, "_PATIENCE", 3600)
    side.serve()
    lines = ("Expect: 100-continue", "Content-Length: 4")
    await side.peer.send(request("/", *lines, method="POST"))
    await side.wires.turn()
    await side.peer.send(b"th")
    await side.wires.turn()
    monkeypatch.setattr(client_http1, "_PATIENCE", 0)
    await side.wires.turn()
    await side.peer.send(b"at")
    assert (await side.answer())[1] == b"/|that"


async def test_http_1_0_client_gets_no_informational_answer(side: Side) -> None:
    async def run(client: Http1Client, received: RequestReceived) -> None:
        client.send_informational(ResponseHead(103))
        await echo(client, received)

    side.serve(run)
    await side.peer.send(request(version="1.0"))
    assert (await side.peer.read_head()).startswith(b"HTTP/1.1 200")


async def test_answer_before_a_body_that_is_there_keeps_the_connection(side: Side) -> None:
    async def run(client: Http1Client, received: RequestReceived) -> None:
        respond(client, b"no", 403)

    side.serve(run)
    await side.peer.send(request("/", "Content-Length: 5", method="POST") + b"hello")
    await side.peer.send(request("/next"))
    for _ in range(2):
        head, body = await side.answer()
        assert head.startswith(b"HTTP/1.1 403")
        assert body == b"no"


async def refuse_early(client: Http1Client, received: RequestReceived) -> None:
    respond(client, b"no", 417)


async def test_answer_before_a_body_that_does_not_come_ends_the_connection(side: Side) -> None:
    serving = side.serve(refuse_early)
    await side.peer.send(request("/", "Content-Length: 5", method="POST"))
    assert (await side.answer())[1] == b"no"
    await until(lambda: side.channel.deadline == LIMITS.unwanted_timeout)
    side.clock.sweep(LIMITS.unwanted_timeout + 1.0)
    assert await side.peer.read_to_end() == b""
    side.peer.end()
    assert await serving is None


async def test_client_that_was_not_told_to_send_its_body_need_not(side: Side) -> None:
    serving = side.serve(refuse_early)
    lines = ("Expect: 100-continue", "Content-Length: 5")
    await side.peer.send(request("/", *lines, method="POST"))
    assert (await side.answer())[1] == b"no"
    assert await side.peer.read_to_end() == b""
    side.peer.end()
    assert await serving is None


@pytest.mark.parametrize("length", [LIMITS.unwanted_body, LIMITS.unwanted_body + 1])
async def test_body_that_nobody_wants_is_read_up_to_a_bound(side: Side, length: int) -> None:
    serving = side.serve(refuse_early)
    await side.peer.send(request("/", f"Content-Length: {length}", method="POST"))
    assert (await side.answer())[1] == b"no"
    await side.peer.send(bytes(length))
    await side.peer.send(request("/next"))
    if length == LIMITS.unwanted_body:
        assert (await side.answer())[1] == b"no"
        side.peer.end()
    else:
        assert await side.peer.read_to_end() == b""
        side.peer.end()
    assert await serving is None


async def test_client_that_goes_amid_a_body_that_nobody_wants_is_let_go(side: Side) -> None:
    serving = side.serve(refuse_early)
    await side.peer.send(request("/", "Content-Length: 9", method="POST") + b"some")
    assert (await side.answer())[1] == b"no"
    side.peer.end()
    assert await serving is None


@pytest.mark.parametrize("wanted", [True, False], ids=["read", "thrown away"])
async def test_many_tiny_chunks_at_once_leave_others_their_turn(side: Side, wanted: bool) -> None:
    turns, begun = 0, []

    async def run(client: Http1Client, received: RequestReceived) -> None:
        begun.append(turns)
        if wanted and received.length:
            await read_body(client)
        respond(client, b"ok")

    head = request("/", "Transfer-Encoding: chunked", method="PUT")
    side.channel.unread(head + b"1\r\nx\r\n" * 9000 + b"0\r\n\r\n" + request("/next"))
    side.serve(run)
    while len(begun) < 2:
        turns += 1
        await asyncio.sleep(0)
    assert begun[1] - begun[0] > 5


async def test_body_that_nobody_wants_may_be_no_chunks(side: Side) -> None:
    serving = side.serve(refuse_early)
    await side.peer.send(request("/", "Transfer-Encoding: chunked", method="POST"))
    assert (await side.answer())[1] == b"no"
    await side.peer.send(b"no chunk\r\n")
    assert await side.peer.read_to_end() == b""
    side.peer.end()
    assert await serving is None


# --- what the answer looks like


@pytest.mark.parametrize(
    ("method", "status", "length", "expected"),
    [
        ("HEAD", 200, 0, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        ("GET", 304, 0, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
        ("GET", 204, 0, b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
async def test_answer_without_a_body_is_a_head_and_the_next_follows(
    side: Side, method: str, status: int, length: int, expected: bytes
) -> None:
    async def run(client: Http1Client, received: RequestReceived) -> None:
        client.send_head(ResponseHead(status, b"", Headers([(b"Content-Length", b"9")])), length)
        client.send_end(None)

    side.serve(run)
    await side.peer.send(request(method=method) + request(method=method))
    assert await side.peer.read_exactly(2 * len(expected)) == 2 * expected


@pytest.mark.parametrize("length", [CHUNKED, UNTIL_CLOSE])
async def test_body_of_unknown_length_is_chunked(side: Side, length: int) -> None:
    async def run(client: Http1Client, received: RequestReceived) -> None:
        client.send_head(ResponseHead(200), length)
        client.send_data(b"hello")
        client.send_end([(b"A", b"b")])

    side.serve(run)
    await side.peer.send(request() + request())
    for _ in range(2):
        assert b"Transfer-Encoding: chunked\r\n" in await side.peer.read_head()
        assert await side.peer.read_head() == b"5\r\nhello\r\n0\r\nA: b\r\n\r\n"


async def test_body_of_unknown_length_ends_with_the_connection_for_http_1_0(side: Side) -> None:
    async def run(client: Http1Client, received: RequestReceived) -> None:
        client.send_head(ResponseHead(200), CHUNKED)
        client.send_data(b"hello")
        client.send_end([(b"A", b"b")])

    side.serve(run)
    await side.peer.send(request("/", "Connection: keep-alive", version="1.0"))
    head = await side.peer.read_head()
    assert b"Connection: close\r\n" in head
    assert b"chunked" not in head
    assert await side.peer.read_to_end() == b"hello"
    side.peer.end()


async def test_answer_cut_short_does_not_look_whole(side: Side) -> None:
    async def run(client: Http1Client, received: RequestReceived) -> None:
        client.send_head(ResponseHead(200), CHUNKED)
        client.send_data(b"begun")
        client.abort("the origin went away")

    serving = side.serve(run)
    await side.peer.send(request())
    await side.peer.read_head()
    assert await side.peer.read_to_end() == b"5\r\nbegun\r\n"
    assert await serving is None


async def test_upgraded_connection_is_handed_over_with_what_came_already(side: Side) -> None:
    got: list[bytes] = []

    async def run(client: Http1Client, received: RequestReceived) -> None:
        fields = [(b"Upgrade", b"websocket")]
        client.send_head(ResponseHead(101, b"", Headers(fields)), 0)
        client.send_end(None)
        stream = client.become_bytes()
        got.append(await stream.receive())
        stream.write(b"frames back")
        stream.close()

    serving = side.serve(run)
    await side.peer.send(request("/", "Connection: Upgrade", "Upgrade: websocket") + b"frames")
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in await side.peer.read_head()
    assert await side.peer.read_to_end() == b"frames back"
    assert got == [b"frames"]
    assert await serving is None


async def test_upgrade_names_the_protocol_that_the_origin_chose(side: Side) -> None:
    async def run(client: Http1Client, received: RequestReceived) -> None:
        assert received.upgrade == b"foo, websocket"
        fields = [(b"Connection", b"Upgrade"), (b"Upgrade", b"foo")]
        client.send_head(ResponseHead(101, b"", Headers(fields)), 0)
        client.send_end(None)
        client.become_bytes().close()

    serving = side.serve(run)
    await side.peer.send(request("/", "Connection: Upgrade", "Upgrade: foo, websocket"))
    assert b"Connection: Upgrade\r\nUpgrade: foo\r\n\r\n" in await side.peer.read_head()
    assert await serving is None


# --- back-pressure and time


async def test_client_that_reads_slowly_holds_the_answer_back(side: Side) -> None:
    sent = 0
    blocked, drained = asyncio.Event(), asyncio.Event()

    async def run(client: Http1Client, received: RequestReceived) -> None:
        nonlocal sent
        client.send_head(ResponseHead(200), UNTIL_CLOSE)
        sent = await send_until_blocked(client.send_data, lambda: client.blocked)
        blocked.set()
        await client.drain()
        drained.set()
        client.send_end(None)

    side.serve(run)
    await side.peer.send(request("/", version="1.0"))
    await side.peer.read_head()
    await blocked.wait()
    await side.wires.turn()
    assert not drained.is_set()
    assert len(await side.peer.read_to_end()) == sent
    await drained.wait()
    side.peer.end()


async def test_client_that_stops_reading_is_gone(side: Side, clock: Clock) -> None:
    gone: list[str] = []

    async def run(client: Http1Client, received: RequestReceived) -> None:
        client.send_head(ResponseHead(200), CHUNKED)
        await send_until_blocked(client.send_data, lambda: client.blocked)
        gone.append("blocked")
        try:
            await client.drain()
        except ClientDisconnected as error:
            gone.append(str(error))
            client.abort(str(error))

    serving = side.serve(run)
    await side.peer.send(request())
    await until(lambda: gone)
    await side.wires.turn()
    clock.sweep(301.0)
    assert await serving is None
    assert gone[1:] == ["the client went away: the client stopped reading"]


async def test_body_is_read_no_faster_than_it_is_wanted(side: Side) -> None:
    go_on = asyncio.Event()

    async def run(client: Http1Client, received: RequestReceived) -> None:
        await go_on.wait()
        respond(client, b"%d" % len(await read_body(client)))

    side.serve(run)
    size = 8 * 1024 * 1024
    await side.peer.send(request("/", f"Content-Length: {size}", method="POST"))
    sending = side.wires.start(side.peer.send(bytes(size)))
    await until(lambda: side.channel._paused)
    assert not sending.done()
    go_on.set()
    assert (await side.answer())[1] == b"%d" % size


async def test_head_that_trickles_in_gets_no_more_time_than_one(side: Side, clock: Clock) -> None:
    serving = side.serve()
    for second, piece in enumerate([b"GET http://a/ HTTP/1.1\r\n", b"Host: a\r\n", b"A: b\r\n"]):
        await side.peer.send(piece)
        await until(lambda: side.channel.deadline < 300.0 and not side.channel.has_unread)
        await side.wires.turn()
        clock.sweep(second * 12.0)
    clock.sweep(31.0)
    assert (await side.peer.read_head()).startswith(b"HTTP/1.1 408 ")
    side.peer.end()
    assert await serving is None


async def test_body_that_stops_coming_is_the_clients_end(side: Side, clock: Clock) -> None:
    reasons: list[str] = []

    async def run(client: Http1Client, received: RequestReceived) -> None:
        try:
            await read_body(client)
        except ClientDisconnected as error:
            reasons.append(str(error))
            client.abort(str(error))

    serving = side.serve(run)
    await side.peer.send(request("/", "Content-Length: 5", method="POST") + b"he")
    await until(lambda: side.channel.deadline == 300.0 and not side.channel.has_unread)
    await side.wires.turn()
    clock.sweep(301.0)
    assert await serving is None
    assert reasons == ["the client went away: the request's body stopped coming"]


async def serve_and_pass_time(side: Side, line: str, head_first: bool = False) -> Drip:
    """Ask with a body; return what lets so many seconds pass, sends a piece, and has it read."""

    async def run(client: Http1Client, received: RequestReceived) -> None:
        if head_first:
            client.send_head(ResponseHead(200), CHUNKED)
            await client.drain()
        try:
            respond(client, b"%d" % len(await read_body(client)))
        except RemoteProtocolError as error:
            respond(client, str(error).encode(), error.status)

    async def drip(seconds: float, piece: bytes) -> None:
        side.clock.sweep(side.clock.now + seconds)
        await side.peer.send(piece)
        due = side.clock.now + LIMITS.body_timeout
        await until(lambda: side.channel.deadline == due or not side.channel.has_unread)
        await side.wires.turn()

    side.serve(run)
    await side.peer.send(request("/", line, method="POST"))
    await until(lambda: side.channel.deadline == LIMITS.body_timeout)
    return drip


async def test_body_that_comes_by_the_byte_is_answered_with_408(side: Side) -> None:
    drip = await serve_and_pass_time(side, "Content-Length: 1000")
    await drip(299.0, b"x")
    await drip(299.0, b"x")
    head, body = await side.answer()
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close\r\n" in head
    assert body == b"less than 64 bytes a second came, for 300 s in all"
    assert await side.peer.read_to_end() == b""
    side.peer.end()


async def test_chunks_by_the_byte_are_live_for_an_hour(side: Side) -> None:
    drip = await serve_and_pass_time(side, "Transfer-Encoding: chunked")
    for _ in range(12):
        await drip(299.0, b"1\r\nx\r\n")
    assert side.channel.deadline == side.clock.now + LIMITS.body_timeout
    await drip(299.0, b"1\r\nx\r\n")
    head, body = await side.answer()
    assert head.startswith(b"HTTP/1.1 408 ")
    assert body == b"less than 64 bytes a second came, for 3600 s in all"


async def test_chunks_behind_an_answers_head_may_be_a_talk(side: Side) -> None:
    drip = await serve_and_pass_time(side, "Transfer-Encoding: chunked", head_first=True)
    for _ in range(20):
        await drip(299.0, b"1\r\nx\r\n")
    assert side.channel.deadline == side.clock.now + LIMITS.body_timeout


async def test_body_may_pause_as_often_as_it_makes_up_for_it(side: Side) -> None:
    drip = await serve_and_pass_time(side, f"Content-Length: {20 * 20_000}")
    for _ in range(20):
        await drip(299.0, bytes(20_000))
    assert (await side.answer())[1] == b"400000"


async def test_body_that_we_do_not_read_has_all_its_time(side: Side) -> None:
    go_on = asyncio.Event()

    async def run(client: Http1Client, received: RequestReceived) -> None:
        assert await client.read() == b"x"
        await go_on.wait()
        respond(client, await read_body(client))

    side.serve(run)
    await side.peer.send(request("/", "Content-Length: 3", method="POST") + b"x")
    await side.wires.turn()
    side.clock.sweep(5000.0)
    go_on.set()
    await until(lambda: side.channel.deadline == 5000.0 + LIMITS.body_timeout)
    side.clock.sweep(5200.0)
    await side.peer.send(b"yz")
    assert (await side.answer())[1] == b"yz"


async def test_body_cut_short_is_told(side: Side) -> None:
    failures: list[Exception] = []

    async def run(client: Http1Client, received: RequestReceived) -> None:
        try:
            await read_body(client)
        except (ClientDisconnected, RemoteProtocolError) as error:
            failures.append(error)
            client.abort(str(error))

    serving = side.serve(run)
    await side.peer.send(request("/", "Content-Length: 5", method="POST") + b"he")
    side.peer.end()
    assert await serving is None
    assert len(failures) == 1


async def test_head_that_takes_too_long_is_answered_with_408(side: Side, clock: Clock) -> None:
    side.serve()
    await side.peer.send(b"GET http://origin.example/ HT")
    await until(lambda: side.channel.deadline == 30.0)
    clock.sweep(31.0)
    assert (await side.peer.read_head()).startswith(b"HTTP/1.1 408 ")
    assert [error.status for error in side.refused] == [408]


async def test_connection_on_which_nothing_comes_is_closed_silently(
    side: Side, clock: Clock
) -> None:
    serving = side.serve()
    await side.wires.turn()
    clock.sweep(301.0)
    assert await serving is None
    assert await side.peer.read_to_end() == b""
    assert not side.refused


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (request("/", "Content-Length: 1", "Content-Length: 2"), 400),
        (request("/", "A: " + "x" * 5000), 431),
        (b"GET http://origin.example/ HTTP/3.0\r\n\r\n", 505),
    ],
)
async def test_what_is_no_request_is_answered_with_the_reason_and_the_end(
    side: Side, wire: bytes, status: int
) -> None:
    serving = side.serve()
    await side.peer.send(wire)
    head, body = await side.answer()
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close\r\n" in head
    assert body.startswith(b"int3rceptor: ")
    assert await side.peer.read_to_end() == b""
    side.peer.end()
    assert await serving is None
    assert [error.status for error in side.refused] == [status]


async def test_client_that_has_to_say_who_it_is_is_asked(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge = ((b"Proxy-Authenticate", b'Basic realm="x"'),)

    def adopt(router: Router, received: RequestReceived) -> RequestReceived:
        raise RemoteProtocolError("who is there?", 407, challenge)

    monkeypatch.setattr(Router, "adopt", adopt)
    side.serve()
    await side.peer.send(request())
    head, body = await side.answer()
    assert head.startswith(b"HTTP/1.1 407 ")
    assert b'\r\nProxy-Authenticate: Basic realm="x"\r\n' in head
    assert body == b"int3rceptor: who is there?\n"
    side.peer.end()


async def test_good_request_before_a_bad_one_is_answered_first(side: Side) -> None:
    side.serve()
    await side.peer.send(request("/good") + b"nonsense\r\n\r\n")
    assert (await side.answer())[1] == b"/good|"
    assert (await side.answer())[0].startswith(b"HTTP/1.1 400")
