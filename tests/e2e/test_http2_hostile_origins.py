"""HTTP/2 as a hostile origin speaks it, at a real proxy, while another client looks on.

Each attack has to end within two seconds at the origin and at the client that asked for it, and the
other client must not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from h2.errors import ErrorCodes
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from int3rceptor_tui.demo.certificate import OriginCertificate
from tests.e2e.harness import BackgroundOrigin, ProxyProcess
from tests.e2e.test_http2_abuse import WITHIN, Fields, get, goodbye, unharmed, wire

PREFACE = 24
OK: Fields = [(b":status", b"200")]
Bursts = Iterator[bytes]


class Speaker:
    """Makes an origin's frames for one connection, whose request is on stream 1."""

    def __init__(self) -> None:
        self._encoder = Encoder()

    def block(self, fields: Fields) -> bytes:
        return self._encoder.encode(fields)

    def head(self, fields: Fields = OK, number: int = 1, end: bool = False) -> bytes:
        flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
        return HeadersFrame(number, self.block(fields), flags=flags).serialize()


# --- one function an attack: what is sent first, then burst after burst


def pings(s: Speaker) -> Bursts:
    while True:
        yield wire(PingFrame(0, b"12345678")) * 200


def settings(s: Speaker) -> Bursts:
    while True:
        yield wire(SettingsFrame(0, {3: 100})) * 100


def goodbyes(s: Speaker) -> Bursts:
    while True:
        yield wire(GoAwayFrame(0, last_stream_id=1)) * 100


def priorities(s: Speaker) -> Bursts:
    while True:
        yield wire(PriorityFrame(1, depends_on=0, stream_weight=3)) * 500


def unknown_frames(s: Speaker) -> Bursts:
    while True:
        yield b"\x00\x00\x03\xee\x00\x00\x00\x00\x01abc" * 500


def window_updates(s: Speaker) -> Bursts:
    while True:
        yield wire(WindowUpdateFrame(0, 1)) * 2000


def continuations(s: Speaker) -> Bursts:
    yield wire(HeadersFrame(1, s.block(OK)))
    while True:
        yield wire(ContinuationFrame(1, b"\x00\x01a\x01b" * 3000))


def empty_continuations(s: Speaker) -> Bursts:
    yield wire(HeadersFrame(1, s.block(OK)))
    while True:
        yield wire(ContinuationFrame(1, b"")) * 100


def empty_data(s: Speaker) -> Bursts:
    yield s.head()
    while True:
        yield wire(DataFrame(1, b"")) * 200


def padding_alone(s: Speaker) -> Bursts:
    yield s.head()
    while True:
        yield wire(DataFrame(1, b"", pad_length=255, flags=["PADDED"])) * 50


def trickled_data(s: Speaker) -> Bursts:
    yield s.head()
    while True:
        yield wire(DataFrame(1, b"x")) * 500


def hints_without_end(s: Speaker) -> Bursts:
    while True:
        yield b"".join(s.head([(b":status", b"103")]) for _ in range(200))


def hpack_list(s: Speaker) -> Bursts:
    yield s.head([(b":status", b"103"), (b"x", b"y" * 3900)])
    while True:
        yield wire(HeadersFrame(1, s.block(OK) + b"\xbe" * 2000, flags=["END_HEADERS"]))


def hpack_lists_within_bounds(s: Speaker) -> Bursts:
    large = (b"x", b"y" * 3900)
    while True:
        yield b"".join(s.head([(b":status", b"103"), *[large] * 15]) for _ in range(20))


def garbage_for_hpack(s: Speaker) -> Bursts:
    while True:
        yield wire(HeadersFrame(1, b"\xff" * 20, flags=["END_HEADERS"]))


def promises(s: Speaker) -> Bursts:
    block = s.block([(b":method", b"GET"), (b":path", b"/"), (b":scheme", b"https")])
    while True:
        yield wire(PushPromiseFrame(1, promised_stream_id=2, data=block, flags=["END_HEADERS"]))


def streams_of_its_own(s: Speaker) -> Bursts:
    while True:
        yield s.head(number=2)


def streams_nobody_opened(s: Speaker) -> Bursts:
    while True:
        yield s.head(number=7)


def data_before_a_head(s: Speaker) -> Bursts:
    while True:
        yield wire(DataFrame(1, b"hello"))


def resets_of_what_is_not_open(s: Speaker) -> Bursts:
    while True:
        yield wire(RstStreamFrame(9, 8)) * 50


def windows_that_overflow(s: Speaker) -> Bursts:
    while True:
        yield wire(WindowUpdateFrame(0, 2**31 - 1)) * 2


def frames_too_large(s: Speaker) -> Bursts:
    while True:
        yield b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(100_000)


ATTACKS: list[Callable[[Speaker], Bursts]] = [
    pings,
    settings,
    goodbyes,
    priorities,
    unknown_frames,
    window_updates,
    continuations,
    empty_continuations,
    empty_data,
    padding_alone,
    trickled_data,
    hints_without_end,
    hpack_list,
    hpack_lists_within_bounds,
    garbage_for_hpack,
    promises,
    streams_of_its_own,
    streams_nobody_opened,
    data_before_a_head,
    resets_of_what_is_not_open,
    windows_that_overflow,
    frames_too_large,
]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    with ProxyProcess.running(Path(tmp_path_factory.mktemp("hosted")), "--insecure") as running:
        yield running


class HostileOrigin:
    """Answers every connection with one attack; `ends` has how each ended."""

    def __init__(self, certificate: OriginCertificate, how: Callable[[Speaker], Bursts]) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.chain_file)
        self._context.set_alpn_protocols(["h2"])
        self._how = how
        self.ends: asyncio.Queue[ErrorCodes | None] = asyncio.Queue()
        self.port = 0

    async def __aenter__(self) -> HostileOrigin:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send() -> None:
            with contextlib.suppress(ConnectionError):
                for burst in self._how(Speaker()):
                    writer.write(burst)
                    await writer.drain()
                    await asyncio.sleep(0.005)

        end = None
        try:
            await reader.readexactly(PREFACE)
            writer.write(wire(SettingsFrame(0)))
            while b"\x82" not in await reader.read(65536):  # GET, in HPACK's static table
                pass
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(send())
                with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                    end = ErrorCodes((await goodbye(reader)).error_code)
                sending.cancel()
            self.ends.put_nowait(end)
        finally:
            writer.transport.abort()


@pytest.mark.parametrize("how", ATTACKS, ids=lambda how: how.__name__)
async def test_hostile_origin_is_cut_off_and_harms_nobody(
    target: ProxyProcess,
    origin: BackgroundOrigin,
    certificate: OriginCertificate,
    how: Callable[[Speaker], Bursts],
) -> None:
    async with (
        HostileOrigin(certificate, how) as hostile,
        unharmed(target, origin),
        asyncio.timeout(WITHIN),
    ):
        told = await get(target.port, f"https://localhost:{hostile.port}/")
        end = await hostile.ends.get()
    assert end is not ErrorCodes.NO_ERROR
    whole = told.startswith(b"HTTP/1.1 200") and told.endswith(b"0\r\n\r\n")
    assert not whole
    assert told[:12] in (b"HTTP/1.1 502", b"HTTP/1.1 200", b"HTTP/1.1 103")
