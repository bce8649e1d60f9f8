from __future__ import annotations

from collections.abc import AsyncIterator

import h2.events
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.message import ResponseHead
from proxy_core.net.client_http2_stream import Http2ClientStream
from proxy_core.net.clock import Clock
from proxy_core.wire.events import CHUNKED, RequestReceived
from tests.net.h2_peer import REQUEST
from tests.net.http2_client_side import Side, echo, open_side
from tests.net.wires import Wires
from tests.waiting import until


@pytest.fixture
async def side(wires: Wires, clock: Clock) -> AsyncIterator[Side]:
    async with open_side(wires, clock) as made:
        yield made


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
