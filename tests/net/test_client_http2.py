from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha1

import h2.events
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy_core.config import Limits
from proxy_core.errors import (
    ClientDisconnected,
    LocalProtocolError,
    RemoteProtocolError,
    UpstreamError,
)
from proxy_core.model.connection import ClientConnection
from proxy_core.model.headers import Headers
from proxy_core.model.ids import ConnectionId
from proxy_core.model.message import ResponseHead
from proxy_core.net.channel import Channel
from proxy_core.net.client_http2 import Http2Client
from proxy_core.net.client_http2_stream import Http2ClientStream
from proxy_core.net.clock import Clock
from proxy_core.net.routing import Router
from proxy_core.wire.events import CHUNKED, RequestReceived
from proxy_core.wire.http2 import Http2Engine
from proxy_core.wire.http2_folded import Folded
from tests.net.h2_peer import REQUEST, Fields, H2Peer
from tests.net.wires import Wires, send_until_blocked
from tests.waiting import until

LIMITS = Limits(
    idle_timeout=300.0, body_timeout=200.0, stream_buffer=100_000, streams=3, unwanted_body=500_000
)

Run = Callable[[Http2ClientStream, RequestReceived], Awaitable[None]]


def proof(key: bytes) -> bytes:
    """What answers a WebSocket's key (RFC 6455, section 4.2.2)."""
    return b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


async def read_body(stream: Http2ClientStream) -> bytes:
    data = b""
    while piece := await stream.read():
        data += piece
    return data


async def echo(stream: Http2ClientStream, received: RequestReceived) -> None:
    """Answer with the path and the body."""
    body = received.head.path + b"|" + await read_body(stream)
    stream.send_head(ResponseHead(200), len(body))
    stream.send_data(body)
    stream.send_end(None)


@dataclass
class Side:
    """The client, and our side of its connection."""

    channel: Channel
    client: H2Peer
    wires: Wires
    clock: Clock
    refused: list[RemoteProtocolError] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    run: Run = echo

    async def _run(self, stream: Http2ClientStream, received: RequestReceived) -> None:
        await self.run(stream, received)

    def serve(
        self, folded: Folded | None = None
    ) -> tuple[Http2Client, asyncio.Task[Folded | None]]:
        facts = ClientConnection(
            ConnectionId(1), ("192.0.2.1", 1), ("192.0.2.2", 2), "regular", 0.0
        )
        http = Http2Client(
            self.channel,
            facts,
            Router(),
            self.clock,
            LIMITS,
            self._run,
            self.refused.append,
            self.faults.append,
            folded,
        )
        return http, self.wires.start(http.serve())

    async def ask(self, path: bytes = b"/", end: bool = True, fields: Fields = REQUEST) -> int:
        stream_id = self.client.h2.get_next_available_stream_id()
        fields = [(name, path if name == b":path" else value) for name, value in fields]
        self.client.h2.send_headers(stream_id, fields, end_stream=end)
        await self.client.flush()
        return stream_id

    async def widen(self) -> None:
        """Let the proxy send as much as it likes."""
        self.client.h2.increment_flow_control_window(2**30)
        self.client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**30})
        await self.client.flush()


@pytest.fixture
async def side(wires: Wires, clock: Clock) -> AsyncIterator[Side]:
    channel, peer = await wires.open(limit=100_000)
    made = Side(channel, H2Peer(peer, client_side=True), wires, clock)
    await made.client.begin()
    yield made
    assert made.faults == []


async def test_requests_are_answered_each_on_its_stream(side: Side) -> None:
    side.serve()
    ids = [await side.ask(b"/%d" % number) for number in range(3)]
    bodies = {number: await side.client.body(number) for number in ids}
    assert bodies == {1: b"/0|", 3: b"/1|", 5: b"/2|"}


async def test_client_that_has_to_say_who_it_is_is_asked(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    def adopt(router: Router, received: RequestReceived) -> RequestReceived:
        raise RemoteProtocolError("who is there?", 407, ((b"Proxy-Authenticate", b"Basic"),))

    monkeypatch.setattr(Router, "adopt", adopt)
    side.serve()
    number = await side.ask()
    answer = await side.client.next(h2.events.ResponseReceived, number)
    assert (b":status", b"407") in answer.headers
    assert (b"proxy-authenticate", b"Basic") in answer.headers


async def test_slow_exchange_does_not_hold_back_another(side: Side) -> None:
    go_on = asyncio.Event()

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        if received.head.path == b"/slow":
            await go_on.wait()
        await echo(stream, received)

    side.run = run
    side.serve()
    slow = await side.ask(b"/slow")
    quick = await side.ask(b"/quick")
    assert await side.client.body(quick) == b"/quick|"
    go_on.set()
    assert await side.client.body(slow) == b"/slow|"


async def test_body_and_trailers_are_read(side: Side) -> None:
    trailers: list[object] = []

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        await echo(stream, received)
        trailers.append(stream.trailers)

    side.run = run
    side.serve()
    number = await side.ask(end=False)
    side.client.h2.send_data(number, b"hello")
    side.client.h2.send_headers(number, [(b"digest", b"x")], end_stream=True)
    await side.client.flush()
    assert await side.client.body(number) == b"/|hello"
    assert trailers == [[(b"digest", b"x")]]


async def test_informational_answer_and_trailers_go_out(side: Side) -> None:
    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        stream.send_informational(ResponseHead(103, b"", Headers([(b"Link", b"</a>")])))
        stream.send_head(ResponseHead(200), CHUNKED)
        stream.send_data(b"hello")
        stream.send_end([(b"Digest", b"x")])

    side.run = run
    side.serve()
    await side.ask()
    early = await side.client.next(h2.events.InformationalResponseReceived)
    assert early.headers == [(b":status", b"103"), (b"link", b"</a>")]
    assert (await side.client.next(h2.events.DataReceived)).data == b"hello"
    assert (await side.client.next(h2.events.TrailersReceived)).headers == [(b"digest", b"x")]


async def test_answer_without_a_body_ends_with_its_head(side: Side) -> None:
    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        stream.send_head(ResponseHead(204), 0)
        stream.send_end(None)

    side.run = run
    http, _ = side.serve()
    await side.ask()
    event = await side.client.next(h2.events.ResponseReceived)
    assert event.stream_ended is not None
    assert not http.streams


async def test_connect_is_answered_with_501(side: Side) -> None:
    side.serve()
    number = await side.ask(fields=[(b":method", b"CONNECT"), (b":authority", b"a.example:443")])
    event = await side.client.next(h2.events.ResponseReceived, number)
    assert (b":status", b"501") in (event.headers or [])
    assert [error.status for error in side.refused] == [501]


async def test_stream_cannot_become_bytes(side: Side) -> None:
    failures: list[Exception] = []

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        try:
            stream.become_bytes()
        except LocalProtocolError as error:
            failures.append(error)
        await echo(stream, received)

    side.run = run
    side.serve()
    await side.client.body(await side.ask())
    assert len(failures) == 1


# --- flow control


async def test_answer_waits_for_the_clients_window(side: Side) -> None:
    drained = asyncio.Event()

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        stream.send_head(ResponseHead(200), CHUNKED)
        stream.send_data(bytes(90_000))
        await stream.drain()
        drained.set()
        stream.send_end(None)

    side.run = run
    side.serve()
    number = await side.ask()
    received = 0
    while received < 65535:
        event = await side.client.next(h2.events.DataReceived, number)
        received += len(event.data or b"")
    await side.wires.turn()
    assert not drained.is_set()
    side.client.h2.increment_flow_control_window(50_000)
    side.client.h2.increment_flow_control_window(50_000, number)
    await side.client.flush()
    assert received + len(await side.client.body(number)) == 90_000


# --- answers that are complete before their requests are


async def answer_early(stream: Http2ClientStream, received: RequestReceived) -> None:
    stream.send_head(ResponseHead(413), CHUNKED)
    stream.send_data(bytes(90_000))  # the window is 65535
    stream.send_end(None)


async def send_body(side: Side, number: int, size: int) -> None:
    """Send what may be sent, reading on where the window is used up."""
    while size:
        room = min(side.client.h2.local_flow_control_window(number), 16_384, size)
        if room:
            side.client.h2.send_data(number, bytes(room))
            size -= room
            await side.client.flush()
        else:
            await side.client.next(h2.events.WindowUpdated)


async def test_answer_to_an_unread_request_is_sent_whole_before_the_reset(side: Side) -> None:
    side.run = answer_early
    http, _ = side.serve()
    number = await side.ask(end=False)
    assert len(await side.client.body(number)) == 90_000
    await side.wires.turn()
    assert list(http.streams) == [number]
    side.clock.sweep(LIMITS.unwanted_timeout + 1.0)
    reset = await side.client.next(h2.events.StreamReset, number)
    assert reset.error_code == ErrorCodes.NO_ERROR
    assert not http.streams


async def test_body_that_nobody_wants_may_end_in_peace(side: Side) -> None:
    side.run = answer_early
    http, _ = side.serve()
    number = await side.ask(end=False)
    assert len(await side.client.body(number)) == 90_000
    await send_body(side, number, LIMITS.unwanted_body)
    side.client.h2.end_stream(number)
    await side.client.flush()
    await until(lambda: not http.streams)
    again = await side.ask()  # nothing was reset, and the connection goes on
    assert len(await side.client.body(again)) == 90_000


async def test_client_that_reads_no_more_once_it_is_answered_may_send_its_body(side: Side) -> None:
    side.run = answer_early
    side.serve()
    number = await side.ask(end=False)
    await side.client.next(h2.events.DataReceived, number)
    # Room for all that is borne is there with the answer.
    assert side.client.h2.local_flow_control_window(number) >= LIMITS.unwanted_body


async def test_body_that_nobody_wants_is_cut_when_it_gets_too_long(side: Side) -> None:
    side.run = answer_early
    http, _ = side.serve()
    number = await side.ask(end=False)
    assert len(await side.client.body(number)) == 90_000
    await send_body(side, number, LIMITS.unwanted_body + 1)
    reset = await side.client.next(h2.events.StreamReset, number)
    assert reset.error_code == ErrorCodes.NO_ERROR
    assert not http.streams


async def test_body_that_nobody_wants_is_not_kept_while_its_answer_waits(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    of_connection: list[int] = []
    give_credit = Http2Engine.give_credit

    def noted(engine: Http2Engine, stream_id: int, size: int, of_all: int) -> None:
        given.append(size)
        of_connection.append(of_all)
        give_credit(engine, stream_id, size, of_all)

    monkeypatch.setattr(Http2Engine, "give_credit", noted)
    side.run = answer_early
    http, _ = side.serve()
    number = await side.ask(end=False)
    size = LIMITS.unwanted_body + 300_000
    await send_body(side, number, size)
    await side.wires.turn()
    (stream,) = http.streams.values()
    assert stream.stalled  # nobody reads the answer
    assert stream.read_nowait() is None  # and nothing is kept
    assert LIMITS.unwanted_body - 16_384 <= sum(given) <= LIMITS.unwanted_body
    side.client.h2.increment_flow_control_window(90_000)
    side.client.h2.increment_flow_control_window(90_000, number)
    await side.client.flush()
    reset = await side.client.next(h2.events.StreamReset, number)
    assert reset.error_code == ErrorCodes.NO_ERROR
    assert sum(of_connection) == size  # the connection has all its room back


async def test_client_may_send_no_more_than_is_read(side: Side) -> None:
    go_on = asyncio.Event()

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        await go_on.wait()
        await echo(stream, received)

    side.run = run
    side.serve()
    await side.client.next(h2.events.RemoteSettingsChanged)
    number = await side.ask(end=False)
    sent = 0
    while room := side.client.h2.local_flow_control_window(number):
        size = min(room, 16384)
        side.client.h2.send_data(number, bytes(size))
        sent += size
    await side.client.flush()
    assert sent == LIMITS.stream_buffer
    go_on.set()
    await side.client.next(h2.events.WindowUpdated, number)
    side.client.h2.end_stream(number)
    await side.client.flush()
    assert len(await side.client.body(number)) == len(b"/|") + sent


# --- abuse

WEBSOCKET: Fields = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    *REQUEST[1:],
    (b"sec-websocket-version", b"13"),
]


async def test_flood_ends_with_a_request_for_calm_and_is_told(side: Side) -> None:
    _, serving = side.serve()
    for _ in range(500):
        side.client.h2.ping(b"12345678")
    await side.client.flush()
    goodbye = await side.client.next(h2.events.ConnectionTerminated)
    assert goodbye.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    side.client.peer.end()
    await serving
    assert "too many PING frames" in str(side.refused[0])


@pytest.mark.parametrize(
    "begun",
    [
        b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82",
        b"\x00\x00\x09\x01\x05\x00\x00\x00\x01\x82",
        b"\x00\x00\x09\x01",
        b"\x00",
    ],
    ids=["a frame of it", "a part of its frame", "a part of its frame's header", "a byte"],
)
async def test_head_that_does_not_end_is_cut_off(side: Side, begun: bytes) -> None:
    side.serve()
    await side.client.next(h2.events.RemoteSettingsChanged)
    await side.client.peer.send(begun)
    await until(lambda: len(side.clock) > 1)
    side.clock.sweep(29.0)
    assert not side.refused
    side.clock.sweep(31.0)
    await side.client.next(h2.events.ConnectionTerminated)
    assert "head took too long" in str(side.refused[0])


async def test_client_that_leaves_is_forgotten_with_its_streams(side: Side) -> None:
    begun = asyncio.Event()

    async def wait(stream: Http2ClientStream, received: RequestReceived) -> None:
        begun.set()
        await asyncio.Event().wait()

    side.run = wait
    _, serving = side.serve()
    await side.ask()
    await begun.wait()
    side.client.peer.close()
    await serving
    assert len(side.clock) == 0


async def test_body_that_stops_within_its_frame_is_no_head(side: Side) -> None:
    side.serve()
    number = await side.ask(end=False)
    await side.client.peer.send(b"\x00\x00\x05\x00\x01\x00\x00\x00\x01he")
    await side.wires.turn()
    side.clock.sweep(31.0)
    assert not side.refused
    await side.client.peer.send(b"llo")
    assert await side.client.body(number) == b"/|hello"


async def answer_and_drain(stream: Http2ClientStream, received: RequestReceived) -> None:
    stream.send_head(ResponseHead(200), CHUNKED)
    stream.send_data(bytes(90_000))
    await stream.drain()
    stream.send_end(None)


async def tick(side: Side, count: int = 1) -> None:
    """Let half a second pass once all that the client has sent is read, so many times over."""
    for _ in range(count):
        side.client.h2.ping(b"read yet")
        await side.client.flush()
        await side.client.next(h2.events.PingAckReceived)
        side.clock.sweep(side.clock.now + 0.5)


async def cut_off_for(side: Side) -> str:
    """See the goodbye, and return what is said of the client."""
    goodbye = await side.client.next(h2.events.ConnectionTerminated)
    assert goodbye.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    return str(side.refused[0])


@pytest.mark.parametrize("window", [0, 1, 1000])
async def test_client_that_shuts_its_window_before_an_answer_is_cut_off(
    side: Side, window: int
) -> None:
    side.run = answer_and_drain
    side.serve()
    side.client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
    await side.ask()
    await side.client.next(h2.events.ResponseReceived)
    for _ in range(4):
        side.clock.sweep(side.clock.now + 0.5)
    what = "windows too small to answer in: less than 512 bytes a second, for 1.5 s in all"
    assert what in await cut_off_for(side)


async def test_client_that_opens_a_window_it_has_begun_with_shut_is_served(side: Side) -> None:
    side.run = answer_and_drain
    side.serve()
    side.client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    number = await side.ask()
    await side.client.next(h2.events.ResponseReceived)
    await tick(side, 2)
    side.client.h2.increment_flow_control_window(100_000, number)
    await side.widen()
    assert len(await side.client.body(number)) == 90_000
    assert not side.refused


@pytest.mark.parametrize("every", [1, 5])
async def test_window_that_is_opened_by_the_byte_is_cut_off(side: Side, every: int) -> None:
    side.run = answer_and_drain
    side.serve()
    number = await side.ask()
    await side.client.next(h2.events.DataReceived)
    await tick(side, 100)  # it has paused, which is nobody's concern
    for turn in range(2 * every + 1):
        if turn % every == 0:
            side.client.h2.increment_flow_control_window(10)
            side.client.h2.increment_flow_control_window(10, number)
        assert not side.refused
        await tick(side)
    assert "windows too small to answer in" in await cut_off_for(side)


@pytest.mark.parametrize("step", [1, 4])
async def test_bytes_one_by_one_are_no_reading_however_many(side: Side, step: int) -> None:
    side.run = answer_and_drain
    side.serve()
    side.client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: step})
    number = await side.ask()
    await side.client.next(h2.events.DataReceived)
    for _ in range(3):
        for _ in range(300):
            side.client.h2.increment_flow_control_window(step, number)
            await side.client.flush()
            await side.client.next(h2.events.DataReceived)
        side.clock.sweep(side.clock.now + 0.5)
    assert await cut_off_for(side)


async def test_client_that_reads_through_a_small_window_is_served(side: Side) -> None:
    side.run = answer_and_drain
    side.serve()
    side.client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 300})
    number = await side.ask()
    await side.client.next(h2.events.DataReceived)
    for _ in range(100):
        side.client.h2.increment_flow_control_window(300, number)
        await tick(side)
    side.client.h2.increment_flow_control_window(90_000, number)
    await side.widen()
    await side.client.next(h2.events.StreamEnded, number)
    assert not side.refused


async def test_body_of_known_length_that_comes_by_the_byte_is_cut_off(side: Side) -> None:
    side.serve()
    number = await side.ask(end=False, fields=[*REQUEST, (b"content-length", b"1000")])
    for _ in range(3):
        side.client.h2.send_data(number, bytes(20))
        await tick(side)
    assert "a body that comes by the byte" in await cut_off_for(side)


async def test_body_of_known_length_may_pause_anywhere(side: Side) -> None:
    side.serve()
    number = await side.ask(end=False, fields=[*REQUEST, (b"content-length", b"1340")])
    for _ in range(4):
        side.client.h2.send_data(number, bytes(35))
        await tick(side, 50)
        side.client.h2.send_data(number, bytes(300))
        await tick(side, 50)
    side.client.h2.end_stream(number)
    await side.client.flush()
    assert await side.client.body(number) == b"/|" + bytes(1340)
    assert not side.refused


@pytest.mark.parametrize(("declared", "allowed"), [(True, 200.0), (False, 3600.0)])
async def test_body_that_keeps_below_the_rate_is_answered_with_408(
    side: Side, declared: bool, allowed: float
) -> None:
    errors: list[RemoteProtocolError] = []

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        try:
            await echo(stream, received)
        except RemoteProtocolError as error:
            errors.append(error)
            stream.send_head(ResponseHead(error.status), 0)
            stream.send_end(None)

    side.run = run
    side.serve()
    fields = [*REQUEST, (b"content-length", b"100000")] if declared else REQUEST
    number = await side.ask(end=False, fields=fields)
    passed = 0.0
    while not errors and passed < 4000.0:
        await tick(side)  # it waits
        side.clock.sweep(side.clock.now + 99.5)
        passed += 100.0
        side.client.h2.send_data(number, bytes(300))  # more than moves well, from look to look
        await tick(side)
    assert [error.status for error in errors] == [408]
    assert f"for {allowed:g} s in all" in str(errors[0])
    assert allowed < passed < allowed * 1.1 + 100.0
    await side.client.next(h2.events.StreamEnded, number)


async def test_body_that_is_shredded_before_any_answer_is_cut_off(side: Side) -> None:
    side.serve()
    number = await side.ask(end=False)
    for _ in range(3):
        for _ in range(4):
            side.client.h2.send_data(number, b"x")
        await tick(side)
    assert "a body that comes by the byte" in await cut_off_for(side)


@pytest.mark.parametrize(
    ("pieces", "answered"),
    [([b"x"] * 3, False), ([b"x"] * 15, True), ([b"gRPC!"] * 20, False)],
    ids=["typed", "talk", "messages"],
)
async def test_body_of_unknown_length_may_be_a_talk(
    side: Side, pieces: list[bytes], answered: bool
) -> None:
    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        if answered:
            stream.send_head(ResponseHead(200), CHUNKED)
        while await stream.read():
            pass
        if not answered:
            stream.send_head(ResponseHead(200), CHUNKED)
        stream.send_end(None)

    side.run = run
    side.serve()
    number = await side.ask(end=False)
    for _ in range(20):
        for piece in pieces:
            side.client.h2.send_data(number, piece)
        await tick(side)
    side.client.h2.end_stream(number)
    await side.client.flush()
    await side.client.next(h2.events.StreamEnded, number)
    assert not side.refused


@pytest.mark.parametrize(
    "begun",
    [b"\x00\x00\x40\x01\x05\x00\x00\x00\x01", b"\x00\x00\x40\x00\x01\x00\x00\x00\x01"],
    ids=["head", "body"],
)
async def test_frame_that_comes_by_the_byte_is_cut_off(side: Side, begun: bytes) -> None:
    http, _ = side.serve()
    if begun[3] == 0:
        await side.ask(end=False)
    await tick(side)
    for piece in (begun, b"\x82", b"\x84"):
        await side.client.peer.send(piece)
        await until(lambda: http._frame_came)
        assert not side.refused
        side.clock.sweep(side.clock.now + 0.5)
    assert "a frame that comes by the byte" in await cut_off_for(side)


async def test_client_that_only_pauses_is_left_alone(side: Side) -> None:
    side.run = answer_and_drain
    side.serve()
    number = await side.ask()
    other = await side.ask()
    await side.client.next(h2.events.DataReceived)
    for tick in range(200):
        side.clock.sweep(tick / 2)
    await side.widen()
    side.client.h2.increment_flow_control_window(2**20, number)
    side.client.h2.increment_flow_control_window(2**20, other)
    await side.client.flush()
    await side.client.next(h2.events.StreamEnded)
    await side.client.next(h2.events.StreamEnded)
    assert not side.refused


async def test_malformed_request_is_told(side: Side) -> None:
    side.serve()
    bad = await side.ask(fields=[*REQUEST, (b"UPPER", b"x")])
    await side.client.next(h2.events.StreamReset, bad)
    assert "HTTP/2 forbids" in str(side.refused[0])


async def test_head_of_too_many_fields_is_answered_with_431(side: Side) -> None:
    http, _ = side.serve()
    number = await side.ask(fields=[*REQUEST, *[(b"x", b"y")] * LIMITS.header_count])
    event = await side.client.next(h2.events.ResponseReceived, number)
    assert (event.headers or [])[0] == (b":status", b"431")
    await side.client.next(h2.events.StreamEnded, number)
    assert not http.streams


async def test_body_shorter_than_declared_ends_its_exchange_with_the_reason(side: Side) -> None:
    gone: list[str] = []

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        try:
            await read_body(stream)
        except ClientDisconnected as error:
            gone.append(str(error))

    side.run = run
    side.serve()
    number = await side.ask(end=False, fields=[*REQUEST, (b"content-length", b"9")])
    side.client.h2.send_data(number, b"hello", end_stream=True)
    await side.client.flush()
    reset = await side.client.next(h2.events.StreamReset, number)
    assert reset.error_code == ErrorCodes.PROTOCOL_ERROR
    await until(lambda: gone)
    assert "4 bytes shorter" in gone[0]


# --- leaving


async def test_client_is_told_twice_and_what_is_under_way_ends_well(side: Side) -> None:
    go_on = asyncio.Event()

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        await go_on.wait()
        await echo(stream, received)

    side.run = run
    http, serving = side.serve()
    first = await side.ask(b"/first")
    await until(lambda: http.streams)
    http.leave()
    received = b""
    while received.count(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00") < 1:
        received += await side.client.peer.read_some()
    crossing = await side.ask(b"/crossing")  # it was under way when we said that we would go
    side.client.peer.buffer = received.replace(b"\x00\x00\x08\x07\x00", b"\x00\x00\x08\xee\x00")
    ping = await side.client.next(h2.events.PingReceived)
    assert ping.ping_data == b"leaving."
    await until(lambda: http._last_stream == crossing)
    go_on.set()
    end = side.client.peer
    answered = await end.read_to_end()
    assert b"/first|" in answered
    assert b"/crossing|" in answered
    assert b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + crossing.to_bytes(4, "big") in answered
    assert first < crossing
    await serving


# --- WebSocket


async def test_websocket_is_offered(side: Side) -> None:
    side.serve()
    await side.client.next(h2.events.RemoteSettingsChanged)
    assert side.client.h2.remote_settings.enable_connect_protocol == 1


async def test_websocket_is_asked_for_with_an_upgrade_and_becomes_bytes(side: Side) -> None:
    asked: list[RequestReceived] = []
    came: list[bytes] = []

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        asked.append(received)
        key = received.head.headers.get(b"sec-websocket-key") or b""
        fields = [(b"Sec-WebSocket-Accept", proof(key)), (b"Upgrade", b"websocket")]
        stream.send_head(ResponseHead(101, b"Switching", Headers(fields)), 0)
        stream.send_end(None)
        end = stream.become_bytes()
        came.append(await end.receive())
        end.write(b"from the origin")
        came.append(await end.receive())
        end.write_eof()
        end.close()

    side.run = run
    http, _ = side.serve()
    number = await side.ask(end=False, fields=WEBSOCKET)
    answer = await side.client.next(h2.events.ResponseReceived, number)
    assert answer.headers == [(b":status", b"200")]
    assert answer.stream_ended is None
    side.client.h2.send_data(number, b"from the client")
    await side.client.flush()
    assert (await side.client.next(h2.events.DataReceived, number)).data == b"from the origin"
    side.client.h2.end_stream(number)
    await side.client.flush()
    await side.client.next(h2.events.StreamEnded, number)
    assert came == [b"from the client", b""]
    assert (asked[0].head.method, asked[0].length, asked[0].upgrade) == (b"GET", 0, b"websocket")
    assert not http.streams


async def test_answer_that_is_no_upgrade_never_opens_a_websocket(side: Side) -> None:
    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        stream.send_head(ResponseHead(200), 2)
        stream.send_data(b"hi")
        stream.send_end(None)

    side.run = run
    side.serve()
    number = await side.ask(end=False, fields=WEBSOCKET)
    answer = await side.client.next(h2.events.ResponseReceived, number)
    assert (answer.headers or [])[0] == (b":status", b"502")


async def test_upgrade_with_the_wrong_key_is_the_origins_fault(side: Side) -> None:
    failures: list[str] = []

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        try:
            fields = [(b"sec-websocket-accept", b"x")]
            stream.send_head(ResponseHead(101, b"", Headers(fields)), 0)
        except UpstreamError as error:
            failures.append(str(error))
            stream.send_head(ResponseHead(502), 0)
            stream.send_end(None)

    side.run = run
    side.serve()
    number = await side.ask(end=False, fields=WEBSOCKET)
    answer = await side.client.next(h2.events.ResponseReceived, number)
    assert (answer.headers or [])[0] == (b":status", b"502")
    assert "without the right key" in failures[0]


async def test_connect_for_anything_else_is_answered_with_501(side: Side) -> None:
    side.serve()
    fields = [(n, b"x\r\ny" if n == b":protocol" else v) for n, v in WEBSOCKET]
    number = await side.ask(fields=fields)
    answer = await side.client.next(h2.events.ResponseReceived, number)
    assert (answer.headers or [])[0] == (b":status", b"501")


# --- time


async def test_client_that_opens_no_window_is_gone_and_told(side: Side) -> None:
    gone: list[str] = []

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        stream.send_head(ResponseHead(200), CHUNKED)
        stream.send_data(bytes(90_000))
        try:
            await stream.drain()
        except ClientDisconnected as error:
            gone.append(str(error))
            stream.abort(str(error))

    side.run = run
    http, _ = side.serve()
    number = await side.ask()
    await side.client.next(h2.events.DataReceived)
    side.clock.sweep(301.0)
    await side.client.next(h2.events.StreamReset, number)
    assert gone == ["the client went away: the client stopped reading"]
    assert not http.streams


async def test_client_that_stops_reading_at_all_is_gone(side: Side) -> None:
    gone: list[str] = []

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        stream.send_head(ResponseHead(200), CHUNKED)
        await send_until_blocked(stream.send_data, lambda: side.channel.write_blocked)
        gone.append("blocked")
        try:
            await stream.drain()
        except ClientDisconnected as error:
            gone.append(str(error))
            stream.abort(str(error))

    side.run = run
    side.serve()
    await side.widen()
    await side.ask()
    await until(lambda: gone)
    await side.wires.turn()
    side.clock.sweep(301.0)
    await until(lambda: len(gone) == 2)
    assert gone[1] == "the client went away: the client stopped reading"


async def test_answer_left_to_a_client_that_opens_no_window_is_given_up(side: Side) -> None:
    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        stream.send_head(ResponseHead(200), CHUNKED)
        stream.send_data(bytes(90_000))
        stream.send_end(None)

    side.run = run
    http, _ = side.serve()
    number = await side.ask()
    await side.client.next(h2.events.DataReceived)
    assert http.streams
    side.clock.sweep(301.0)
    reset = await side.client.next(h2.events.StreamReset, number)
    assert reset.error_code == ErrorCodes.CANCEL
    assert not http.streams


async def test_body_that_stops_coming_is_the_clients_end_and_it_is_told(side: Side) -> None:
    gone: list[str] = []

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        try:
            await read_body(stream)
        except ClientDisconnected as error:
            gone.append(str(error))
            stream.abort(str(error))

    side.run = run
    http, _ = side.serve()
    number = await side.ask(end=False)
    await until(lambda: http.streams and http.streams[number]._reader)
    side.clock.sweep(301.0)
    await side.client.next(h2.events.StreamReset, number)
    assert gone == ["the client went away: the request's body stopped coming"]
    assert not http.streams


async def test_idle_connection_is_closed_with_a_goodbye(side: Side) -> None:
    _, serving = side.serve()
    await side.client.body(await side.ask())
    side.clock.sweep(301.0)
    goodbye = await side.client.next(h2.events.ConnectionTerminated)
    assert goodbye.error_code == ErrorCodes.NO_ERROR
    await serving


# --- broken off


async def test_stream_that_the_client_resets_ends_its_exchange_alone(side: Side) -> None:
    ended: list[bytes] = []

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        if received.head.path == b"/stalled":
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.append(received.head.path)
        await echo(stream, received)

    side.run = run
    http, _ = side.serve()
    stalled = await side.ask(b"/stalled")
    await until(lambda: http.streams)
    side.client.h2.reset_stream(stalled, ErrorCodes.CANCEL)
    other = await side.ask(b"/other")
    assert await side.client.body(other) == b"/other|"
    assert ended == [b"/stalled"]
    assert not http.streams
    assert not http._tasks


async def test_answer_cut_short_is_reset(side: Side) -> None:
    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        stream.send_head(ResponseHead(200), CHUNKED)
        stream.send_data(b"begun")
        stream.abort("the origin went away")

    side.run = run
    http, _ = side.serve()
    number = await side.ask()
    assert (await side.client.next(h2.events.DataReceived, number)).data == b"begun"
    reset = await side.client.next(h2.events.StreamReset, number)
    assert reset.error_code == ErrorCodes.INTERNAL_ERROR
    assert not http.streams


async def test_malformed_request_breaks_its_stream_alone(side: Side) -> None:
    side.serve()
    bad = await side.ask(fields=[*REQUEST, (b"UPPER", b"x")])
    good = await side.ask(b"/good")
    reset = await side.client.next(h2.events.StreamReset, bad)
    assert reset.error_code == ErrorCodes.PROTOCOL_ERROR
    assert await side.client.body(good) == b"/good|"


async def test_client_that_closes_ends_every_exchange(side: Side) -> None:
    cancelled: list[bytes] = []

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.append(received.head.path)
            raise

    side.run = run
    http, serving = side.serve()
    await side.ask(b"/a")
    await side.ask(b"/b")
    await until(lambda: len(http.streams) == 2)
    side.client.peer.end()
    await serving
    assert sorted(cancelled) == [b"/a", b"/b"]


async def test_fault_in_an_exchange_is_told_and_the_connection_goes_on(side: Side) -> None:
    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        if received.head.path == b"/bug":
            stream.abort("a bug")
            raise RuntimeError("a bug")
        await echo(stream, received)

    side.run = run
    side.serve()
    await side.ask(b"/bug")
    assert await side.client.body(await side.ask(b"/good")) == b"/good|"
    await until(lambda: side.faults)
    (fault,) = side.faults
    assert isinstance(fault, RuntimeError)
    side.faults.clear()


async def test_streams_beyond_those_agreed_are_refused_one_by_one(side: Side) -> None:
    go_on = asyncio.Event()

    async def run(stream: Http2ClientStream, received: RequestReceived) -> None:
        await go_on.wait()
        await echo(stream, received)

    side.run = run
    side.serve()
    ids = [await side.ask() for _ in range(LIMITS.streams)]
    side.client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100
    side.client.h2.remote_settings.acknowledge()
    for number in [await side.ask(fields=[*REQUEST, (b"x-new", b"%d" % n)]) for n in range(2)]:
        reset = await side.client.next(h2.events.StreamReset, number)
        assert reset.error_code == ErrorCodes.REFUSED_STREAM
    go_on.set()
    for _ in ids:
        await side.client.next(h2.events.StreamEnded)
    # Header compression is still in step.
    assert await side.client.body(await side.ask(b"/again")) == b"/again|"
    assert side.refused == []


async def test_frame_larger_than_agreed_ends_the_connection(side: Side) -> None:
    _, serving = side.serve()
    await side.client.peer.send((20_000).to_bytes(3, "big") + b"\x00\x00\0\0\0\1" + bytes(20_000))
    goodbye = await side.client.next(h2.events.ConnectionTerminated)
    assert goodbye.error_code == ErrorCodes.FRAME_SIZE_ERROR
    side.client.peer.end()
    await serving
    assert "frame" in str(side.refused[0])
