from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from hashlib import sha1

import h2.events
import pytest
from h2.errors import ErrorCodes

from proxy_core.errors import ClientDisconnected, LocalProtocolError, UpstreamError
from proxy_core.model.headers import Headers
from proxy_core.model.message import ResponseHead
from proxy_core.net.client_http2_stream import Http2ClientStream
from proxy_core.net.clock import Clock
from proxy_core.wire.events import CHUNKED, RequestReceived
from proxy_core.wire.http2 import Http2Engine
from tests.net.h2_peer import REQUEST, Fields
from tests.net.http2_client_side import LIMITS, Side, echo, open_side, read_body
from tests.net.wires import Wires, send_until_blocked
from tests.waiting import until

WEBSOCKET: Fields = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    *REQUEST[1:],
    (b"sec-websocket-version", b"13"),
]


@pytest.fixture
async def side(wires: Wires, clock: Clock) -> AsyncIterator[Side]:
    async with open_side(wires, clock) as made:
        yield made


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


# --- WebSocket


def proof(key: bytes) -> bytes:
    """What answers a WebSocket's key (RFC 6455, section 4.2.2)."""
    return b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


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
