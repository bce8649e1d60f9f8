"""HTTP/2 as an attacker speaks it, at a real proxy, while another client looks on.

Each attack has to end within two seconds in a GOAWAY, and the other client must not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h2.events
import pytest
from h2.errors import ErrorCodes
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from proxy_core.config import Limits
from tests.e2e.harness import BackgroundOrigin, ProxyProcess
from tests.e2e.inside import Inside
from tests.net.h2_peer import REQUEST, H2Peer
from tests.net.wires import Peer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WITHIN = 2.0
GROWTH = 64 * 1024 * 1024
PAUSE = 0.02

Fields = list[tuple[bytes, bytes]]


class Attacker:
    """Makes frames for one connection; ids and HPACK go on from one burst to the next."""

    def __init__(self, authority: bytes) -> None:
        self._encoder = Encoder()
        self._authority = authority
        self._next = -1

    def block(self, path: bytes, *fields: tuple[bytes, bytes], method: bytes = b"GET") -> bytes:
        return self._encoder.encode(
            [
                (b":method", method),
                (b":scheme", b"http"),
                (b":authority", self._authority),
                (b":path", path),
                *fields,
            ]
        )

    def new_id(self) -> int:
        self._next += 2
        return self._next

    def ask(
        self,
        path: bytes,
        *fields: tuple[bytes, bytes],
        method: bytes = b"GET",
        end: bool = True,
        number: int = 0,
    ) -> bytes:
        flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
        block = self.block(path, *fields, method=method)
        return HeadersFrame(number or self.new_id(), block, flags=flags).serialize()

    @property
    def last(self) -> int:
        return self._next


def wire(*frames: Frame) -> bytes:
    return b"".join(frame.serialize() for frame in frames)


# --- one function an attack: what is sent first, then burst after burst

Bursts = Iterator[bytes]


def rapid_reset(a: Attacker) -> Bursts:
    while True:
        yield b"".join(a.ask(b"/stall") + wire(RstStreamFrame(a.last, 8)) for _ in range(50))


def streams_without_end(a: Attacker) -> Bursts:
    while True:
        yield b"".join(a.ask(b"/stall") for _ in range(50))


def windows_that_overflow(a: Attacker) -> Bursts:
    huge = 2**31 - 1
    while True:
        yield b"".join(a.ask(b"/stall") + wire(WindowUpdateFrame(a.last, huge)) for _ in range(50))


def malformed_heads(a: Attacker) -> Bursts:
    while True:
        yield b"".join(a.ask(b"/ with spaces") for _ in range(50))


def wrong_lengths(a: Attacker) -> Bursts:
    while True:
        yield b"".join(
            a.ask(b"/upload", (b"content-length", b"3"), method=b"POST", end=False)
            + wire(DataFrame(a.last, b"four"))
            for _ in range(50)
        )


def bodies_behind_the_end(a: Attacker) -> Bursts:
    while True:
        yield b"".join(a.ask(b"/stall") + wire(DataFrame(a.last, bytes(16))) for _ in range(50))


def heads_behind_the_end(a: Attacker) -> Bursts:
    while True:
        yield b"".join(a.ask(b"/stall") + a.ask(b"/", number=a.last) for _ in range(50))


def trailers_that_are_malformed(a: Attacker) -> Bursts:
    while True:
        yield b"".join(
            a.ask(b"/stall", method=b"POST", end=False)
            + wire(
                HeadersFrame(a.last, a.block(b"/"), flags=["END_HEADERS", "END_STREAM"]),
            )
            for _ in range(50)
        )


def body_of_a_stream_that_was_reset(a: Attacker) -> Bursts:
    yield a.ask(b"/stall", method=b"POST", end=False) + wire(RstStreamFrame(a.last, 8))
    while True:
        yield wire(DataFrame(a.last, bytes(16))) * 200


def continuations(a: Attacker) -> Bursts:
    yield wire(HeadersFrame(a.new_id(), a.block(b"/")))
    while True:
        yield wire(ContinuationFrame(a.last, b"\x00\x01a\x01b" * 3000))


def empty_continuations(a: Attacker) -> Bursts:
    yield wire(HeadersFrame(a.new_id(), a.block(b"/")))
    while True:
        yield wire(ContinuationFrame(a.last, b"")) * 10


def settings(a: Attacker) -> Bursts:
    while True:
        yield wire(SettingsFrame(0, {3: 100})) * 50


def pings(a: Attacker) -> Bursts:
    while True:
        yield wire(PingFrame(0, b"12345678")) * 100


def priorities(a: Attacker) -> Bursts:
    while True:
        yield wire(PriorityFrame(1, depends_on=0, stream_weight=3)) * 100


def window_updates(a: Attacker) -> Bursts:
    while True:
        yield wire(WindowUpdateFrame(0, 1)) * 500


def unknown_frames(a: Attacker) -> Bursts:
    while True:
        yield b"\x00\x00\x03\xee\x00\x00\x00\x00\x01abc" * 100


def empty_data(a: Attacker) -> Bursts:
    yield a.ask(b"/upload", method=b"POST", end=False)
    while True:
        yield wire(DataFrame(a.last, b"")) * 50


def padding_alone(a: Attacker) -> Bursts:
    yield a.ask(b"/upload", method=b"POST", end=False)
    while True:
        yield wire(DataFrame(a.last, b"", pad_length=255, flags=["PADDED"])) * 50


def empty_heads(a: Attacker) -> Bursts:
    while True:
        yield wire(
            *[HeadersFrame(a.new_id(), b"", flags=["END_HEADERS", "END_STREAM"]) for _ in range(50)]
        )


def hpack_list(a: Attacker) -> Bursts:
    """One field in the table, named two thousand times: 8 MB of fields in 2 KB."""
    yield a.ask(b"/", (b"x", b"y" * 3900))
    while True:
        block = a.block(b"/") + b"\xbe" * 2000
        yield wire(HeadersFrame(a.new_id(), block, flags=["END_HEADERS", "END_STREAM"]))


def hpack_lists_within_bounds(a: Attacker) -> Bursts:
    """60 KB of fields in 30 bytes, over and over."""
    large = (b"x", b"y" * 3900)
    while True:
        yield b"".join(a.ask(b"/", *[large] * 15) for _ in range(10))


def slowly(burst: bytes) -> Bursts:
    """Ten times a second."""
    while True:
        yield burst
        yield from [b""] * 19


def zero_windows(a: Attacker) -> Bursts:
    yield wire(SettingsFrame(0, {4: 0}))
    for _ in range(60):
        yield a.ask(b"/bytes/200000")
    yield from slowly(b"")


def a_zero_window(a: Attacker) -> Bursts:
    yield wire(SettingsFrame(0, {4: 0})) + a.ask(b"/bytes/200000")
    yield from slowly(b"")


def a_window_that_trickles(a: Attacker) -> Bursts:
    yield a.ask(b"/bytes/200000")
    yield from slowly(wire(WindowUpdateFrame(0, 5), WindowUpdateFrame(1, 5)))


def a_body_that_trickles(a: Attacker) -> Bursts:
    yield a.ask(b"/upload", (b"content-length", b"1000"), method=b"POST", end=False)
    yield from slowly(wire(DataFrame(1, b"a few")))


def a_body_in_shreds(a: Attacker) -> Bursts:
    yield a.ask(b"/upload", method=b"POST", end=False)
    yield from slowly(wire(DataFrame(1, b"x")) * 3)


def a_head_that_trickles(a: Attacker) -> Bursts:
    yield wire(HeadersFrame(1, bytes(1000)))[:9]
    yield from slowly(b"\x82")


def windows_of_a_byte(a: Attacker) -> Bursts:
    yield wire(SettingsFrame(0, {4: 1})) + b"".join(a.ask(b"/bytes/200000") for _ in range(20))
    while True:
        yield wire(*[WindowUpdateFrame(number, 1) for number in range(1, 40, 2)])


def trickled_bodies(a: Attacker) -> Bursts:
    yield b"".join(a.ask(b"/upload", method=b"POST", end=False) for _ in range(20))
    while True:
        yield wire(*[DataFrame(number, b"x") for number in range(1, 40, 2)])


def table_beyond_what_was_agreed(a: Attacker) -> Bursts:
    while True:
        block = b"\x3f\xe1\xff\xff\x07" + a.block(b"/")
        yield wire(HeadersFrame(a.new_id(), block, flags=["END_HEADERS", "END_STREAM"]))


def even_ids(a: Attacker) -> Bursts:
    while True:
        yield a.ask(b"/", number=2)


def ids_that_decrease(a: Attacker) -> Bursts:
    yield a.ask(b"/", number=9)
    while True:
        yield a.ask(b"/", number=5)


def ids_used_again(a: Attacker) -> Bursts:
    while True:
        yield a.ask(b"/", number=1)


def a_stream_reset_and_used_again(a: Attacker) -> Bursts:
    yield a.ask(b"/stall", number=1) + wire(RstStreamFrame(1, 8))
    while True:
        yield a.ask(b"/", number=1) * 10


CALM = {ErrorCodes.ENHANCE_YOUR_CALM}
BREACH = {ErrorCodes.PROTOCOL_ERROR, ErrorCodes.STREAM_CLOSED}

ATTACKS: dict[Callable[[Attacker], Bursts], set[ErrorCodes]] = {
    rapid_reset: CALM,
    streams_without_end: CALM,
    windows_that_overflow: CALM,
    malformed_heads: CALM,
    wrong_lengths: CALM,
    bodies_behind_the_end: CALM,
    heads_behind_the_end: CALM,
    trailers_that_are_malformed: CALM,
    body_of_a_stream_that_was_reset: CALM,
    continuations: CALM,
    empty_continuations: CALM,
    settings: CALM,
    pings: CALM,
    priorities: CALM,
    window_updates: CALM,
    unknown_frames: CALM,
    empty_data: CALM,
    padding_alone: CALM,
    empty_heads: CALM,
    hpack_list: CALM,
    hpack_lists_within_bounds: CALM,
    zero_windows: CALM,
    a_zero_window: CALM,
    windows_of_a_byte: CALM,
    a_window_that_trickles: CALM,
    a_body_that_trickles: CALM,
    a_body_in_shreds: CALM,
    a_head_that_trickles: CALM,
    trickled_bodies: CALM,
    table_beyond_what_was_agreed: {ErrorCodes.COMPRESSION_ERROR},
    even_ids: BREACH,
    ids_that_decrease: BREACH,
    ids_used_again: CALM | BREACH,  # it may come before the first is answered, or after
    a_stream_reset_and_used_again: CALM | BREACH,
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    with ProxyProcess.running(Path(tmp_path_factory.mktemp("abused"))) as running:
        yield running


async def goodbye(reader: asyncio.StreamReader) -> GoAwayFrame:
    """Read frames up to the GOAWAY."""
    while True:
        header = await reader.readexactly(9)
        frame, length = Frame.parse_frame_header(memoryview(header))
        frame.parse_body(memoryview(await reader.readexactly(length)))
        if isinstance(frame, GoAwayFrame):
            return frame


async def get(port: int, url: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        host = url.split("/")[2]
        writer.write(f"GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()


@asynccontextmanager
async def unharmed(target: ProxyProcess, origin: BackgroundOrigin | None) -> AsyncIterator[None]:
    """See that another client is served in time all the while, and that little memory is taken.

    Where the origin is busy itself the client asks the proxy for its own page.
    """
    url = "http://int3rceptor.internal/"
    if origin is not None:
        url = f"http://127.0.0.1:{origin.http}/api/users/7"
    await get(target.port, url)
    before = target.memory()
    growth = 0
    over = asyncio.Event()

    async def look() -> None:
        nonlocal growth
        while not over.is_set():
            async with asyncio.timeout(WITHIN):
                assert (await get(target.port, url)).startswith(b"HTTP/1.1 200")
            growth = max(growth, target.memory() - before)
            await asyncio.sleep(PAUSE)

    async with asyncio.TaskGroup() as group:
        group.create_task(look())
        try:
            yield
        finally:
            over.set()
    assert 0 <= growth < GROWTH


async def attack(port: int, bursts: Bursts) -> GoAwayFrame:
    """Send until the GOAWAY comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        writer.write(PREFACE + wire(SettingsFrame(0)))
        with contextlib.suppress(ConnectionError):
            for burst in bursts:
                writer.write(burst)
                await writer.drain()
                await asyncio.sleep(0.005)

    try:
        async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
            sending = group.create_task(send())
            end = await goodbye(reader)
            sending.cancel()
    finally:
        writer.transport.abort()
    return end


@pytest.mark.parametrize("how", ATTACKS, ids=lambda how: how.__name__)
async def test_attack_is_cut_off_and_harms_nobody(
    target: ProxyProcess, origin: BackgroundOrigin, how: Callable[[Attacker], Bursts]
) -> None:
    async with unharmed(target, origin):
        end = await attack(target.port, how(Attacker(b"127.0.0.1:%d" % origin.http)))
    assert ErrorCodes(end.error_code) in ATTACKS[how]


NOTES: dict[Callable[[Attacker], Bursts], str] = {
    rapid_reset: "too many RST_STREAM frames",
    streams_without_end: "too many requests that had to be reset",
    malformed_heads: "too many requests that had to be reset",
    continuations: "a header block of more than",
    empty_continuations: "too many tiny CONTINUATION frames",
    settings: "too many SETTINGS frames",
    pings: "too many PING frames",
    empty_data: "too many empty DATA frames",
    zero_windows: "windows too small to answer in",
    a_zero_window: "windows too small to answer in",
    a_window_that_trickles: "windows too small to answer in",
    a_body_that_trickles: "a body that comes by the byte",
    a_body_in_shreds: "a body that comes by the byte",
    a_head_that_trickles: "a frame that comes by the byte",
    trickled_bodies: "too many tiny DATA frames",
}
"""Parts of what the flow says; of the others, that they broke HTTP/2."""


@pytest.mark.parametrize("how", ATTACKS, ids=lambda how: how.__name__)
async def test_attack_leaves_a_flow_that_says_what_it_was(
    tmp_path: Path, origin: BackgroundOrigin, how: Callable[[Attacker], Bursts]
) -> None:
    inside = Inside(tmp_path / "data", Limits())
    await inside.open()
    try:
        await attack(inside.port, how(Attacker(b"127.0.0.1:%d" % origin.http)))
        control = inside.core.control()
        told = [summary.error or "" for summary in await control.flows()]
        notes = [error for error in told if "the client sent what is no request: HTTP/2: " in error]
        assert any(NOTES.get(how, "HTTP/2: ") in note for note in notes), notes
    finally:
        await inside.close()


async def test_several_attackers_at_once_harm_nobody(
    target: ProxyProcess, origin: BackgroundOrigin
) -> None:
    authority = b"127.0.0.1:%d" % origin.http
    async with unharmed(target, origin), asyncio.TaskGroup() as group:
        for how in (rapid_reset, windows_that_overflow, pings, zero_windows, hpack_list) * 2:
            group.create_task(attack(target.port, how(Attacker(authority))))


async def pour(port: int, opening: bytes, burst: bytes, seconds: float) -> None:
    """Send as fast as it is taken, for a while, and read what comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def drain_answers() -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass

    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(drain_answers())
            writer.write(PREFACE + wire(SettingsFrame(0)) + opening)
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(seconds):
                    while not reading.done():
                        writer.write(burst)
                        await writer.drain()
            reading.cancel()
    finally:
        writer.transport.abort()


async def test_small_frames_that_may_be_sent_leave_others_their_turn(
    target: ProxyProcess, origin: BackgroundOrigin
) -> None:
    """Twenty thousand of them fit into what is read from a socket at once."""
    attacker = Attacker(b"127.0.0.1:%d" % origin.http)
    upload = attacker.ask(b"/upload", method=b"POST", end=False)
    async with unharmed(target, origin), asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(
                pour(target.port, upload, wire(DataFrame(1, bytes(5))) * 2000, WITHIN)
            )


# --- what stands still is nobody's fault, and keeps little memory

CONNECTIONS = 3
STREAMS = 100
LARGE = b"/bytes/400000"
Stall = Callable[[int, BackgroundOrigin], Coroutine[Any, Any, None]]


async def windows_that_stay_shut(port: int, origin: BackgroundOrigin) -> None:
    """Ask for a lot, and open no window again."""
    attacker = Attacker(b"127.0.0.1:%d" % origin.http)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(PREFACE + wire(SettingsFrame(0), WindowUpdateFrame(0, 2**31 - 2**16)))
        writer.write(b"".join(attacker.ask(LARGE) for _ in range(STREAMS)))
        end = await goodbye(reader)
        raise AssertionError(f"cut off: {end}")
    finally:
        writer.transport.abort()


async def answers_that_nobody_reads(port: int, origin: BackgroundOrigin) -> None:
    """Open every window, and read nothing from the socket."""
    attacker = Attacker(b"127.0.0.1:%d" % origin.http)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    try:
        writer.write(PREFACE + wire(SettingsFrame(0, {4: 2**31 - 1})))
        writer.write(wire(WindowUpdateFrame(0, 2**31 - 2**16)))
        writer.write(b"".join(attacker.ask(LARGE) for _ in range(STREAMS)))
        await asyncio.Event().wait()
    finally:
        writer.transport.abort()


async def bodies_that_the_origin_does_not_read(port: int, _: BackgroundOrigin) -> None:
    """Send as much of a hundred bodies as may be sent, to a server that never accepts."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=STREAMS) as server,
        socket.create_connection(("127.0.0.1", port)) as sock,
    ):
        client = H2Peer(Peer(sock), client_side=True)
        await client.begin()
        await client.next(h2.events.RemoteSettingsChanged)
        where = b"127.0.0.1:%d" % server.getsockname()[1]
        fields = [
            (name, where if name == b":authority" else value)
            for name, value in ((b":method", b"POST"), *REQUEST[1:])
        ]
        ids = range(1, 2 * STREAMS, 2)
        for number in ids:
            client.h2.send_headers(number, fields)
        while True:
            for number in ids:
                while room := min(client.h2.local_flow_control_window(number), 16_384):
                    client.h2.send_data(number, bytes(room))
                    await client.flush()
            assert await client.fill()


STALLS: list[Stall] = [
    windows_that_stay_shut,
    answers_that_nobody_reads,
    bodies_that_the_origin_does_not_read,
]


@pytest.mark.parametrize("how", STALLS, ids=lambda how: how.__name__)
async def test_what_stands_still_is_left_alone_and_keeps_little_memory(
    target: ProxyProcess, origin: BackgroundOrigin, how: Stall
) -> None:
    async with unharmed(target, None):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * WITHIN), asyncio.TaskGroup() as group:
                for _ in range(CONNECTIONS):
                    group.create_task(how(target.port, origin))
