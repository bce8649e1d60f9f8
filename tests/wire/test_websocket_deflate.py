from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.errors import RemoteProtocolError, WebSocketError
from proxy_core.wire.websocket import BINARY, TEXT, MessageReader
from proxy_core.wire.websocket_deflate import (
    Compression,
    Deflate,
    Deflater,
    Inflater,
    agreed,
    parse_extensions,
)
from tests.wire.websocket_frames import Read, frame

ROOM = 1_000_000
HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692, section 7.2.3.1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([b""], None),
        ([b"permessage-deflate"], Deflate(Compression(), Compression())),
        (
            [b" PerMessage-Deflate ; client_max_window_bits = 10"],
            Deflate(Compression(10), Compression()),
        ),
        (
            [b'permessage-deflate; server_max_window_bits="9"'],
            Deflate(Compression(), Compression(9)),
        ),
        (
            [b"permessage-deflate;server_no_context_takeover;client_no_context_takeover"],
            Deflate(Compression(15, False), Compression(15, False)),
        ),
        (
            [b"permessage-deflate; client_no_context_takeover; server_max_window_bits=8"],
            Deflate(Compression(15, False), Compression(8)),
        ),
    ],
)
def test_an_answer_says_how_each_direction_compresses(
    values: list[bytes], expected: Deflate | None
) -> None:
    assert agreed(values) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"x-webkit-deflate-frame",
        b"permessage-deflate, x-mux",
        b"permessage-deflate, permessage-deflate",
        b"permessage-deflate; unheard_of",
        b"permessage-deflate; client_max_window_bits",
        b"permessage-deflate; client_max_window_bits=7",
        b"permessage-deflate; client_max_window_bits=16",
        b"permessage-deflate; client_max_window_bits=08",
        b"permessage-deflate; server_max_window_bits=abc",
        b"permessage-deflate; server_no_context_takeover=1",
        b"permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        b"permessage-deflate;",
        b"permessage-deflate; =9",
        b"permessage-deflate=9",
        b"; server_no_context_takeover",
        b'permessage-deflate; server_max_window_bits="9',
    ],
)
def test_an_answer_that_nobody_can_read_is_refused(value: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"extension|permessage-deflate"):
        agreed([value])


def test_extensions_come_in_one_line_or_in_several() -> None:
    expected = [(b"a", [(b"x", b"1"), (b"y", None)]), (b"b", [])]
    assert parse_extensions([b"a; x=1; y, b"]) == expected
    assert parse_extensions([b"a; x=1; y", b"b"]) == expected


# --- RFC 7692, section 7.2.3: the examples


@pytest.mark.parametrize(
    "wire",
    {
        "one block": frame(TEXT, HELLO, reserved=4),
        "fragmented": frame(TEXT, HELLO[:3], fin=False, reserved=4) + frame(0, HELLO[3:]),
        "not compressed inside": frame(TEXT, bytes.fromhex("000500faff48656c6c6f00"), reserved=4),
        "with a last block": frame(TEXT, bytes.fromhex("f348cdc9c9070000"), reserved=4),
        "two blocks": frame(TEXT, bytes.fromhex("f24805000000ffffcac9c90700"), reserved=4),
        "left as it is": frame(TEXT, b"Hello"),
    }.values(),
)
def test_the_examples_of_the_rfc(wire: bytes) -> None:
    reader = MessageReader(False, ROOM, Inflater(Compression()))
    # Twice: whatever the first left behind must not disturb the second.
    assert Read(reader, [wire, wire]).messages == [(TEXT, b"Hello")] * 2


def test_a_message_may_refer_to_the_one_before() -> None:
    reader = MessageReader(False, ROOM, Inflater(Compression()))
    again = frame(TEXT, bytes.fromhex("f200110000"), reserved=4)
    read = Read(reader, [frame(TEXT, HELLO, reserved=4), again])
    assert read.messages == [(TEXT, b"Hello")] * 2


def test_no_message_refers_to_another_where_that_was_agreed_on() -> None:
    reader = MessageReader(False, ROOM, Inflater(Compression(takes_over=False)))
    again = frame(TEXT, bytes.fromhex("f200110000"), reserved=4)
    assert Read(reader, [frame(TEXT, HELLO, reserved=4), again]).code == 1007


def test_what_is_not_compressed_is_refused() -> None:
    reader = MessageReader(False, ROOM, Inflater(Compression()))
    assert Read(reader, [frame(BINARY, b"\xff\xff\xff", reserved=4)]).code == 1007


def test_an_empty_message_is_empty_again_and_again() -> None:
    inflater, deflater = Inflater(Compression()), Deflater(Compression())
    for _ in range(3):
        packed = deflater.feed(b"", True)
        assert packed
        assert inflater.feed(packed, True, ROOM) == b""
    assert inflater.feed(b"", True, ROOM) == b""
    assert inflater.feed(deflater.feed(b"text", True), True, ROOM) == b"text"


# --- bombs


def bomb(size: int) -> bytes:
    deflater = Deflater(Compression())
    return deflater.feed(bytes(size), True)


def test_a_message_that_expands_beyond_the_limit_is_refused() -> None:
    packed = bomb(ROOM + 1)
    assert len(packed) < ROOM // 500
    reader = MessageReader(False, ROOM, Inflater(Compression()))
    assert Read(reader, [frame(BINARY, packed, reserved=4)]).code == 1009


def test_a_message_that_expands_to_the_limit_passes() -> None:
    reader = MessageReader(False, ROOM, Inflater(Compression()))
    read = Read(reader, [frame(BINARY, bomb(ROOM), reserved=4)])
    assert (read.code, read.messages) == (None, [(BINARY, bytes(ROOM))])


def test_fragments_that_expand_beyond_the_limit_together_are_refused() -> None:
    deflater = Deflater(Compression())
    wire = frame(BINARY, deflater.feed(bytes(ROOM), False), fin=False, reserved=4)
    wire += frame(0, deflater.feed(b"1", True))
    reader = MessageReader(False, ROOM, Inflater(Compression()))
    assert Read(reader, [wire]).code == 1009


def test_no_more_is_made_of_a_bomb_than_the_limit_allows() -> None:
    made: list[int] = []
    inflater = Inflater(Compression())

    class Counting:
        eof = False
        unused_data = b""

        def __init__(self) -> None:
            self._real = zlib.decompressobj(-15)

        def decompress(self, data: bytes, most: int) -> bytes:
            piece = self._real.decompress(data, most)
            made.append(len(piece))
            return piece

    inflater._inflate = Counting()  # type: ignore[assignment]
    with pytest.raises(WebSocketError):
        inflater.feed(bomb(50_000_000), True, 1000)
    assert made == [1001]


def test_a_long_compressed_frame_is_read_a_little_at_a_time() -> None:
    reader = MessageReader(False, 100_000_000, Inflater(Compression()))
    wire = frame(BINARY, bomb(60_000_000), reserved=4)
    reader.receive_data(wire)
    sizes = []
    while (piece := reader.next_piece()) is not None:
        sizes.append(piece.size)
    assert sum(sizes) == 60_000_000
    assert max(sizes) < 20_000_000
    assert len(sizes) > 3


def test_zlib_knows_no_window_of_256_bytes_for_deflating() -> None:
    assert not Deflater.can_compress(Compression(window_bits=8))
    for bits in range(9, 16):
        compression = Compression(window_bits=bits)
        assert Deflater.can_compress(compression)
        packed = Deflater(compression).feed(b"abc" * 1000, True)
        assert Inflater(compression).feed(packed, True, ROOM) == b"abc" * 1000


@given(st.lists(st.binary(max_size=40), max_size=4), st.integers(8, 15), st.booleans())
def test_any_bytes_expand_or_are_refused(pieces: list[bytes], bits: int, takes: bool) -> None:
    inflater, room = Inflater(Compression(bits, takes)), 1000
    with contextlib.suppress(WebSocketError):
        for number, piece in enumerate(pieces, 1):
            room -= len(inflater.feed(piece, number == len(pieces), room))
    assert room >= 0


@given(st.lists(st.binary(max_size=200), max_size=5), st.integers(9, 15), st.booleans(), st.data())
def test_messages_come_out_as_they_went_in_however_they_arrive(
    messages: list[bytes], bits: int, takes: bool, data: st.DataObject
) -> None:
    compression = Compression(bits, takes)
    deflater, inflater = Deflater(compression), Inflater(compression)
    for message in messages:
        packed = deflater.feed(message, True)
        cut = data.draw(st.integers(0, len(packed)))
        first = inflater.feed(packed[:cut], False, ROOM)
        assert first + inflater.feed(packed[cut:], True, ROOM) == message


EXTENSIONS = st.lists(
    st.sampled_from(
        [
            *(b"permessage-deflate", b"client_max_window_bits", b"server_max_window_bits"),
            *(b"server_no_context_takeover", b"8", b"15", b"x", b"\xff"),
            *(b";", b",", b"=", b'"', b" ", b"\t"),
        ]
    ),
    max_size=10,
).map(b"".join)


@given(st.lists(EXTENSIONS | st.binary(max_size=20), max_size=3))
def test_any_extensions_are_understood_or_refused(values: list[bytes]) -> None:
    try:
        deflate = agreed(values)
    except RemoteProtocolError:
        return
    if deflate is not None:
        for direction in (deflate.from_client, deflate.from_server):
            assert 8 <= direction.window_bits <= 15


@given(st.integers(8, 15), st.integers(8, 15), st.booleans(), st.booleans())
def test_what_was_agreed_on_round_trips(client: int, server: int, one: bool, two: bool) -> None:
    value = b"permessage-deflate; client_max_window_bits=%d; server_max_window_bits=%d" % (
        client,
        server,
    )
    value += b"" if one else b"; client_no_context_takeover"
    value += b"" if two else b"; server_no_context_takeover"
    assert agreed([value]) == Deflate(Compression(client, one), Compression(server, two))
