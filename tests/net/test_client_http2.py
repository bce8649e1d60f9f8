from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import h2.events
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy_core.errors import RemoteProtocolError
from proxy_core.net.client_http2_stream import Http2ClientStream
from proxy_core.net.clock import Clock
from proxy_core.net.routing import Router
from proxy_core.wire.events import RequestReceived
from tests.net.h2_peer import REQUEST
from tests.net.http2_client_side import LIMITS, Side, echo, open_side
from tests.net.wires import Wires
from tests.waiting import until


@pytest.fixture
async def side(wires: Wires, clock: Clock) -> AsyncIterator[Side]:
    async with open_side(wires, clock) as made:
        yield made


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


async def test_connect_is_answered_with_501(side: Side) -> None:
    side.serve()
    number = await side.ask(fields=[(b":method", b"CONNECT"), (b":authority", b"a.example:443")])
    event = await side.client.next(h2.events.ResponseReceived, number)
    assert (b":status", b"501") in (event.headers or [])
    assert [error.status for error in side.refused] == [501]


async def test_websocket_is_offered(side: Side) -> None:
    side.serve()
    await side.client.next(h2.events.RemoteSettingsChanged)
    assert side.client.h2.remote_settings.enable_connect_protocol == 1


# --- abuse


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
