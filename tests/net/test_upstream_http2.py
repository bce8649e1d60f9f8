from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import h2.events
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy_core.config import Limits
from proxy_core.errors import LocalProtocolError, UpstreamError, UpstreamGone
from proxy_core.exchange.ports import Route
from proxy_core.model.connection import ServerConnection
from proxy_core.model.headers import Headers
from proxy_core.model.ids import ConnectionId
from proxy_core.model.message import RequestHead
from proxy_core.net import upstream_http2
from proxy_core.net.channel import Channel
from proxy_core.net.clock import Clock
from proxy_core.net.upstream_http2 import Http2Upstream
from proxy_core.net.upstream_http2_stream import Http2UpstreamStream
from proxy_core.wire.events import CHUNKED
from proxy_core.wire.http2 import ROOM_FOR_STREAMS
from tests.net.h2_peer import OK, H2Peer
from tests.net.wires import Wires, send_until_blocked
from tests.waiting import until

GET = RequestHead(b"GET", "https", b"origin.example", b"/", Headers([(b"Accept", b"*/*")]))
POST = GET.replace(method=b"POST")
LIMITS = Limits(
    idle_timeout=300.0, response_timeout=60.0, upstream_idle=30.0, stream_buffer=100_000
)


@dataclass
class Side:
    """The connection to an origin, and the origin."""

    upstream: Http2Upstream
    channel: Channel
    origin: H2Peer
    dropped: list[Http2Upstream] = field(default_factory=list)

    async def ask(self, head: RequestHead = GET) -> tuple[Http2UpstreamStream, int]:
        """Send a request without a body; return our stream and the id it has on the wire."""
        stream = self.upstream.open_stream()
        stream.send_head(head, 0)
        return stream, await self.origin.next_id()

    async def upload(self) -> tuple[Http2UpstreamStream, int]:
        """Begin a request with a body."""
        stream = self.upstream.open_stream()
        stream.send_head(POST, CHUNKED)
        return stream, await self.origin.next_id()

    async def synced(self) -> None:
        """Return when the origin's frames so far have been seen: it has answered a ping."""
        self.origin.h2.ping(b"12345678")
        await self.origin.flush()
        await self.origin.next(h2.events.PingAckReceived)


@pytest.fixture
async def side(wires: Wires, clock: Clock) -> AsyncIterator[Side]:
    channel, peer = await wires.open(limit=100_000)
    dropped: list[Http2Upstream] = []
    server = ServerConnection(ConnectionId(1), "origin.example", 443)
    route = Route("https", "origin.example", 443)
    upstream = Http2Upstream(channel, server, route, clock, LIMITS, dropped.append)
    upstream.start()
    made = Side(upstream, channel, H2Peer(peer, client_side=False), dropped)
    await made.origin.begin()
    await made.synced()
    yield made
    await upstream.close()


async def body_of(stream: Http2UpstreamStream) -> bytes:
    data = b""
    while piece := await stream.read():
        data += piece
    return data


# --- one stream


async def test_request_and_answer_with_trailers(side: Side) -> None:
    stream = side.upstream.open_stream()
    stream.send_head(GET, 0)
    event = await side.origin.next(h2.events.RequestReceived)
    assert event.headers == [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"origin.example"),
        (b":path", b"/"),
        (b"accept", b"*/*"),
    ]
    assert event.stream_ended is not None
    assert event.stream_id == 1
    side.origin.h2.send_headers(1, OK)
    side.origin.h2.send_data(1, b"hello")
    side.origin.h2.send_headers(1, [(b"digest", b"x")], end_stream=True)
    await side.origin.flush()
    assert (await stream.read_head()).head.status == 200
    assert await body_of(stream) == b"hello"
    assert stream.trailers == [(b"digest", b"x")]
    stream.release()
    assert not side.upstream.streams


async def test_body_and_trailers_go_out(side: Side) -> None:
    stream, number = await side.upload()
    stream.send_data(b"hello ")
    stream.send_data(b"world")
    stream.send_end([(b"Digest", b"x")])
    data = (await side.origin.next(h2.events.DataReceived, number)).data or b""
    while len(data) < 11:
        data += (await side.origin.next(h2.events.DataReceived, number)).data or b""
    assert data == b"hello world"
    trailers = await side.origin.next(h2.events.TrailersReceived, number)
    assert trailers.headers == [(b"digest", b"x")]


async def test_informational_answers_come_before_the_final_one(side: Side) -> None:
    stream, number = await side.ask()
    side.origin.h2.send_headers(number, [(b":status", b"103"), (b"link", b"</a>")])
    await side.origin.answer(number)
    first = await stream.read_head()
    assert (first.informational, first.head.status) == (True, 103)
    assert (await stream.read_head()).head.status == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [(GET.replace(method=b"HEAD"), b"200"), (GET, b"204"), (GET, b"304")],
    ids=["HEAD", "204", "304"],
)
async def test_answer_that_has_no_body_ends_with_its_head(
    side: Side, head: RequestHead, status: bytes
) -> None:
    stream, number = await side.ask(head)
    await side.origin.answer(number, fields=[(b":status", status), (b"content-length", b"9")])
    assert (await stream.read_head()).length == 0
    stream.release()
    await side.synced()
    assert not side.upstream.streams


async def test_streams_share_the_connection_and_end_in_any_order(side: Side) -> None:
    first, one = await side.ask()
    second, two = await side.ask()
    assert (one, two) == (1, 3)
    assert not first.reused
    assert second.reused
    await side.origin.answer(two, b"second")
    await second.read_head()
    assert await body_of(second) == b"second"
    await side.origin.answer(one, b"first")
    await first.read_head()
    assert await body_of(first) == b"first"


async def test_stream_cannot_become_bytes(side: Side) -> None:
    stream, _ = await side.ask()
    with pytest.raises(LocalProtocolError):
        stream.become_bytes()


# --- WebSocket

UPGRADE = GET.replace(
    headers=Headers([(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="), (b"Origin", b"x")])
)


async def test_websocket_is_asked_for_by_extended_connect_and_becomes_bytes(side: Side) -> None:
    offered = [side.upstream.takes_websockets]
    side.origin.h2.update_settings({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
    await side.synced()
    assert [*offered, side.upstream.takes_websockets] == [False, True]
    stream = side.upstream.open_stream()
    stream.send_head(UPGRADE, 0, None, b"websocket")
    event = await side.origin.next(h2.events.RequestReceived)
    assert event.headers == [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":authority", b"origin.example"),
        (b":path", b"/"),
        (b"origin", b"x"),
    ]
    assert event.stream_ended is None
    side.origin.h2.send_headers(1, OK)
    await side.origin.flush()
    answer = await stream.read_head()
    assert (answer.head.status, answer.upgrade) == (101, b"websocket")
    # The example of RFC 6455, section 1.3.
    assert answer.head.headers.get(b"sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    end = stream.become_bytes()
    end.write(b"ping")
    assert (await side.origin.next(h2.events.DataReceived, 1)).data == b"ping"
    side.origin.h2.send_data(1, b"pong", end_stream=True)
    await side.origin.flush()
    assert [await end.receive(), await end.receive()] == [b"pong", b""]
    end.write_eof()
    end.close()
    await side.origin.next(h2.events.StreamEnded, 1)
    assert not side.upstream.streams


@pytest.mark.parametrize("ends", [True, False], ids=["ends late", "does not end"])
async def test_websocket_that_was_left_leaves_no_stream_behind(side: Side, ends: bool) -> None:
    stream = side.upstream.open_stream()
    stream.send_head(UPGRADE, 0, None, b"websocket")
    number = await side.origin.next_id()
    side.origin.h2.send_headers(number, OK)
    await side.origin.flush()
    await stream.read_head()
    stream.become_bytes().close()
    await side.origin.next(h2.events.StreamEnded, number)
    assert side.upstream.streams
    if ends:
        side.origin.h2.end_stream(number)
        await side.synced()
    else:
        side.upstream.clock.sweep(LIMITS.unwanted_timeout + 1)
        await side.origin.next(h2.events.StreamReset, number)
    assert not side.upstream.streams
    assert not side.upstream._open


async def test_websocket_that_is_turned_down_leaves_no_stream_behind(side: Side) -> None:
    stream = side.upstream.open_stream()
    stream.send_head(UPGRADE, 0, None, b"websocket")
    number = await side.origin.next_id()
    await side.origin.answer(number, b"no", [(b":status", b"403")])
    answer = await stream.read_head()
    assert (answer.head.status, answer.upgrade) == (403, None)
    assert await body_of(stream) == b"no"
    stream.release()
    await side.origin.next(h2.events.StreamReset, number)
    assert not side.upstream.streams


# --- flow control


async def test_body_waits_for_the_origins_window(side: Side, wires: Wires) -> None:
    stream, number = await side.upload()
    stream.send_data(b"x" * 100_000)  # the window is 65535
    draining = wires.start(stream.drain())
    received = 0
    while received < 65535:
        event = await side.origin.next(h2.events.DataReceived, number)
        received += len(event.data or b"")
    await wires.turn()
    assert received == 65535
    await until(lambda: stream.blocked)
    assert not draining.done()
    side.origin.h2.increment_flow_control_window(50_000, number)
    side.origin.h2.increment_flow_control_window(50_000)
    await side.origin.flush()
    await draining
    assert not stream.blocked
    stream.send_end(None)
    while received < 100_000:
        event = await side.origin.next(h2.events.DataReceived, number)
        received += len(event.data or b"")
    await side.origin.next(h2.events.StreamEnded, number)


async def test_window_that_settings_widen_lets_the_body_go_on(side: Side, wires: Wires) -> None:
    side.origin.h2.increment_flow_control_window(1_000_000)
    stream, number = await side.upload()
    stream.send_data(b"x" * 90_000)
    stream.send_end(None)
    await until(lambda: stream.blocked)
    side.origin.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 200_000})
    await side.origin.flush()
    assert len(await side.origin.body(number)) == 90_000


async def test_stream_that_may_not_send_does_not_hold_back_another(side: Side) -> None:
    side.origin.h2.increment_flow_control_window(1_000_000)
    blocked, _ = await side.upload()
    blocked.send_data(b"x" * 100_000)
    other, number = await side.upload()
    other.send_data(b"hello")
    other.send_end(None)
    assert await side.origin.body(number) == b"hello"
    assert blocked.blocked


async def test_origin_may_send_no_more_than_is_read(side: Side) -> None:
    side.origin.h2.increment_flow_control_window(1_000_000)
    stream, number = await side.ask()
    side.origin.h2.send_headers(number, OK)
    sent = 0
    while room := side.origin.h2.local_flow_control_window(number):
        size = min(room, 16384)
        side.origin.h2.send_data(number, bytes(size))
        sent += size
    await side.origin.flush()
    assert sent == LIMITS.stream_buffer
    await side.synced()
    assert side.origin.h2.local_flow_control_window(number) == 0
    await stream.read_head()
    read = 0
    while read < sent:
        read += len(await stream.read())
    await side.origin.next(h2.events.WindowUpdated, number)
    assert side.origin.h2.local_flow_control_window(number) > 0


async def test_what_is_thrown_away_gives_its_room_on_the_connection_back(side: Side) -> None:
    stream, number = await side.ask()
    side.origin.h2.send_headers(number, OK)
    before = side.upstream.engine._h2._inbound_flow_control_window_manager.current_window_size
    side.origin.h2.send_data(number, bytes(16_000))
    await side.origin.flush()
    await stream.read_head()
    await until(lambda: stream._incoming)
    stream.abort()
    manager = side.upstream.engine._h2._inbound_flow_control_window_manager
    room = manager.current_window_size + manager._bytes_processed
    assert room == before + ROOM_FOR_STREAMS  # which it is given with the first body


# --- time


async def test_silence_after_the_request_is_a_504(side: Side, wires: Wires, clock: Clock) -> None:
    stream, _ = await side.ask()
    answer = wires.start(stream.read_head())
    await wires.turn()
    clock.sweep(61.0)
    with pytest.raises(UpstreamError, match="did not answer in time") as refusal:
        await answer
    assert refusal.value.status == 504


async def test_silence_in_the_middle_of_an_answer_is_a_504(
    side: Side, wires: Wires, clock: Clock
) -> None:
    stream, number = await side.ask()
    side.origin.h2.send_headers(number, OK)
    await side.origin.flush()
    await stream.read_head()
    reading = wires.start(stream.read())
    await wires.turn()
    clock.sweep(301.0)
    with pytest.raises(UpstreamError, match="stopped in the middle of its answer") as refusal:
        await reading
    assert refusal.value.status == 504


async def test_answer_may_take_as_long_as_it_goes_on(side: Side, clock: Clock) -> None:
    stream, number = await side.ask()
    side.origin.h2.send_headers(number, OK)
    await side.origin.flush()
    await stream.read_head()
    for minute in range(1, 20):
        clock.sweep(minute * 60.0)
        side.origin.h2.send_data(number, b"tick")
        await side.origin.flush()
        assert await stream.read() == b"tick"


async def test_answer_that_nobody_reads_for_long_is_not_the_origins_fault(
    side: Side, clock: Clock
) -> None:
    stream, number = await side.ask()
    side.origin.h2.send_headers(number, OK)
    await side.origin.flush()
    await stream.read_head()
    clock.sweep(10_000.0)  # the user holds the response meanwhile
    side.origin.h2.send_data(number, b"hello", end_stream=True)
    await side.origin.flush()
    assert await body_of(stream) == b"hello"


async def test_origin_that_opens_no_window_is_a_504(side: Side, wires: Wires, clock: Clock) -> None:
    stream, _ = await side.upload()
    stream.send_data(b"x" * 100_000)
    draining = wires.start(stream.drain())
    answer = wires.start(stream.read_head())
    await wires.turn()
    clock.sweep(301.0)
    for task in (draining, answer):
        with pytest.raises(UpstreamError, match="did not read the request in time") as refusal:
            await task
        assert refusal.value.status == 504


async def test_origin_that_stops_reading_at_all_is_a_504(
    side: Side, wires: Wires, clock: Clock
) -> None:
    side.origin.h2.increment_flow_control_window(2**30)
    side.origin.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**30})
    await side.synced()
    stream, _ = await side.upload()
    await send_until_blocked(stream.send_data, lambda: side.channel.write_blocked)
    draining = wires.start(stream.drain())
    await wires.turn()
    clock.sweep(301.0)
    with pytest.raises(UpstreamError, match="did not read the request in time"):
        await draining


async def test_client_that_is_slow_to_send_is_not_the_origins_fault(
    side: Side, wires: Wires, clock: Clock
) -> None:
    stream, _ = await side.upload()
    stream.send_data(b"he")
    await stream.drain()
    answer = wires.start(stream.read_head())
    await wires.turn()
    clock.sweep(10_000.0)
    await wires.turn()
    assert not answer.done()


# --- broken off


async def test_stream_given_up_is_reset_with_cancel(side: Side) -> None:
    stream, number = await side.ask()
    stream.abort()
    reset = await side.origin.next(h2.events.StreamReset, number)
    assert reset.error_code == ErrorCodes.CANCEL
    with pytest.raises(UpstreamError, match="given up"):
        await stream.read_head()
    assert not side.upstream.streams


async def test_stream_given_up_before_it_was_sent_leaves_nothing(side: Side) -> None:
    stream = side.upstream.open_stream()
    stream.send_head(GET, 0)
    stream.abort()
    await side.synced()
    assert not side.upstream._open
    clock = side.upstream.clock
    clock.sweep(clock.now + 3)
    assert len(clock) == 1  # the connection itself


async def test_refused_stream_is_unseen(side: Side) -> None:
    stream, number = await side.ask()
    side.origin.h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
    await side.origin.flush()
    with pytest.raises(UpstreamGone, match="refused the stream") as gone:
        await stream.read_head()
    assert gone.value.unseen


async def test_stream_reset_before_its_answer_may_have_been_seen(side: Side) -> None:
    stream, number = await side.ask()
    side.origin.h2.reset_stream(number, ErrorCodes.INTERNAL_ERROR)
    await side.origin.flush()
    with pytest.raises(UpstreamGone, match="INTERNAL_ERROR") as gone:
        await stream.read_head()
    assert not gone.value.unseen


async def test_stream_reset_in_its_answer_gives_what_came_and_then_an_error(side: Side) -> None:
    stream, number = await side.ask()
    side.origin.h2.send_headers(number, OK)
    side.origin.h2.send_data(number, b"begun")
    side.origin.h2.reset_stream(number, ErrorCodes.INTERNAL_ERROR)
    await side.origin.flush()
    await stream.read_head()
    assert await stream.read() == b"begun"
    with pytest.raises(UpstreamError, match="INTERNAL_ERROR") as failure:
        await stream.read()
    assert not isinstance(failure.value, UpstreamGone)


async def test_reset_wakes_who_waits_to_send(side: Side, wires: Wires) -> None:
    stream, number = await side.upload()
    stream.send_data(b"x" * 100_000)
    draining = wires.start(stream.drain())
    await wires.turn()
    side.origin.h2.reset_stream(number, ErrorCodes.CANCEL)
    await side.origin.flush()
    with pytest.raises(UpstreamError, match="CANCEL"):
        await draining
    assert stream.blocked
    with pytest.raises(UpstreamError, match="CANCEL"):
        await stream.drain()


async def test_other_streams_go_on_when_one_is_reset(side: Side) -> None:
    broken, one = await side.ask()
    whole, two = await side.ask()
    side.origin.h2.reset_stream(one, ErrorCodes.INTERNAL_ERROR)
    await side.origin.answer(two, b"fine")
    await whole.read_head()
    assert await body_of(whole) == b"fine"
    with pytest.raises(UpstreamError):
        await broken.read_head()


async def test_malformed_answer_breaks_its_stream_alone(side: Side) -> None:
    broken, one = await side.ask()
    whole, two = await side.ask()
    side.origin.h2.send_headers(one, [(b":status", b"200"), (b"UPPER", b"x")])
    await side.origin.answer(two, b"fine")
    reset = await side.origin.next(h2.events.StreamReset, one)
    assert reset.error_code == ErrorCodes.PROTOCOL_ERROR
    with pytest.raises(UpstreamError):
        await broken.read_head()
    assert (await whole.read_head()).head.status == 200


async def test_answer_whose_body_was_cut_by_its_head_is_reset_on_release(side: Side) -> None:
    stream, number = await side.ask(GET.replace(method=b"HEAD"))
    side.origin.h2.send_headers(number, OK)  # and no END_STREAM
    await side.origin.flush()
    await stream.read_head()
    stream.release()
    await side.origin.next(h2.events.StreamReset, number)
    assert not side.upstream.streams


# --- the connection


async def test_streams_the_origin_has_not_seen_fail_unseen_at_its_goodbye(side: Side) -> None:
    seen, one = await side.ask()
    unseen, _ = await side.ask()
    side.origin.h2.close_connection(last_stream_id=one)
    goodbye = side.origin.h2.data_to_send()
    await side.origin.peer.send(goodbye)
    with pytest.raises(UpstreamGone, match="said goodbye") as gone:
        await unseen.read_head()
    assert gone.value.unseen
    unseen.abort()
    assert side.dropped == [side.upstream]
    assert not side.upstream.has_room
    # The library's origin thinks that all is over; the frames of the stream it has accepted:
    head = side.origin.h2.encoder.encode(OK)
    await side.origin.peer.send(
        len(head).to_bytes(3, "big") + b"\x01\x04" + one.to_bytes(4, "big") + head
    )
    await side.origin.peer.send(b"\x00\x00\x05\x00\x01" + one.to_bytes(4, "big") + b"hello")
    assert (await seen.read_head()).head.status == 200
    assert await body_of(seen) == b"hello"
    seen.release()
    await until(lambda: side.channel.closed)


async def test_stream_opened_before_a_goodbye_and_sent_after_it_is_unseen(side: Side) -> None:
    stream = side.upstream.open_stream()
    side.upstream.on_goaway(0, 0)
    stream.send_head(GET, 0)
    with pytest.raises(UpstreamGone) as gone:
        await stream.read_head()
    assert gone.value.unseen


async def test_stream_for_which_the_origin_lost_its_room_is_unseen(side: Side) -> None:
    first, _ = await side.ask()
    second = side.upstream.open_stream()
    side.origin.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    await side.synced()
    second.send_head(GET, 0)
    with pytest.raises(UpstreamGone, match="has no room") as gone:
        await second.read_head()
    assert gone.value.unseen
    first.abort()
    second.abort()
    third, _ = await side.ask()
    assert third.id


async def test_closed_connection_fails_every_stream(side: Side) -> None:
    asked, _ = await side.ask()
    answered, two = await side.ask()
    side.origin.h2.send_headers(two, OK)
    await side.origin.flush()
    await answered.read_head()
    waiting = side.upstream.open_stream()
    side.origin.peer.end()
    with pytest.raises(UpstreamGone, match="closed the connection") as gone:
        await asked.read_head()
    assert not gone.value.unseen
    with pytest.raises(UpstreamError) as failure:
        await answered.read()
    assert not isinstance(failure.value, UpstreamGone)
    with pytest.raises(UpstreamGone) as unsent:
        await waiting.read_head()
    assert unsent.value.unseen
    assert side.dropped


async def test_frame_larger_than_agreed_ends_the_connection(side: Side, wires: Wires) -> None:
    stream, number = await side.ask()
    frame = (20_000).to_bytes(3, "big") + b"\x00\x00" + number.to_bytes(4, "big") + bytes(20_000)
    await side.origin.peer.send(frame)
    goodbye = await side.origin.next(h2.events.ConnectionTerminated)
    assert goodbye.error_code == ErrorCodes.FRAME_SIZE_ERROR
    with pytest.raises(UpstreamError, match="frame"):
        await stream.read_head()
    await until(lambda: side.channel.closed)


@pytest.mark.parametrize(
    "wire",
    [
        b"\x00\x00\x05\x00\x00\x00\x00\x00\x00hello",  # DATA on the connection
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",  # WINDOW_UPDATE by nothing
        b"\x00\x00\x01\x01\x04\x00\x00\x00\x01\xff",  # HPACK that is none
        b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(20_000),
    ],
)
async def test_broken_frame_ends_the_connection_with_a_goodbye(side: Side, wire: bytes) -> None:
    stream, _ = await side.ask()
    await side.origin.peer.send(wire)
    goodbye = await side.origin.next(h2.events.ConnectionTerminated)
    assert goodbye.error_code != ErrorCodes.NO_ERROR
    with pytest.raises(UpstreamError):
        await stream.read_head()
    assert side.dropped


async def test_ids_that_run_out_end_the_connection_for_new_streams(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_http2, "_LAST_STREAM", 3)
    await side.ask()
    await until(lambda: side.upstream.has_room)
    last, number = await side.ask()
    assert not side.upstream.has_room
    await side.origin.answer(number, b"still answered")
    await last.read_head()
    assert await body_of(last) == b"still answered"


async def test_connection_without_streams_is_closed_when_its_time_is_over(
    side: Side, clock: Clock
) -> None:
    stream, number = await side.ask()
    await side.origin.answer(number)
    await stream.read_head()
    stream.release()
    clock.sweep(29.0)
    assert side.upstream.has_room
    clock.sweep(31.0)
    await until(lambda: side.channel.closed)
    assert side.dropped


async def test_close_says_goodbye_and_ends_the_task(side: Side) -> None:
    await side.upstream.close()
    goodbye = await side.origin.next(h2.events.ConnectionTerminated)
    assert goodbye.error_code == ErrorCodes.NO_ERROR
    assert len(asyncio.all_tasks()) == 1
