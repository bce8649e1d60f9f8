from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.errors import WebSocketError
from proxy_core.wire.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    MessageReader,
    apply_mask,
    encode_close,
    encode_frame,
    parse_close,
)
from proxy_core.wire.websocket_deflate import Compression, Inflater
from tests.wire.websocket_frames import MASK, Read, frame, split_at

LIMIT = 100_000


def from_client(data: bytes, limit: int = LIMIT) -> Read:
    return Read(MessageReader(True, limit), [data])


def from_server(data: bytes, limit: int = LIMIT) -> Read:
    return Read(MessageReader(False, limit), [data])


def deflated(data: bytes) -> Read:
    return Read(MessageReader(False, LIMIT, Inflater(Compression())), [data])


# --- what is right


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 125, 126, 127, 65535, 65536, 90_001])
@pytest.mark.parametrize("mask", [None, MASK])
def test_messages_of_every_length_form_are_read_and_written(size: int, mask: bytes | None) -> None:
    payload = bytes(range(251)) * (size // 251 + 1)
    payload = payload[:size]
    wire = frame(BINARY, payload, mask=mask)
    assert encode_frame(BINARY, payload, mask=mask) == wire
    reader = MessageReader(mask is not None, LIMIT)
    read = Read(reader, [wire])
    assert read.messages == [(BINARY, payload)]
    assert (read.wire, read.code, reader.in_message) == (wire, None, False)


def test_fragments_are_joined_with_control_frames_between_them() -> None:
    wire = (
        frame(TEXT, b"a\xc3", fin=False)
        + frame(PING, b"?")
        + frame(CONTINUATION, b"", fin=False)
        + frame(PONG)
        + frame(CONTINUATION, b"\xa4b")
        + frame(CLOSE, b"\x03\xe8bye")
    )
    read = from_server(wire)
    assert read.messages == [
        (PING, b"?"),
        (PONG, b""),
        (TEXT, "aäb".encode()),
        (CLOSE, b"\x03\xe8bye"),
    ]
    assert read.wire == wire


def test_what_comes_behind_a_close_frame_is_thrown_away() -> None:
    close = frame(CLOSE, b"\x03\xe8")
    read = from_server(close + frame(TEXT, b"late") + b"\xff\xff")
    assert (read.messages, read.wire, read.code) == ([(CLOSE, b"\x03\xe8")], close, None)


def test_a_part_of_a_frame_is_given_out_as_it_comes() -> None:
    reader = MessageReader(True, LIMIT)
    wire = frame(BINARY, b"abcdef", mask=MASK)
    pieces = []
    for end in range(len(wire)):
        reader.receive_data(wire[end : end + 1])
        piece = reader.next_piece()
        if piece is not None:
            pieces.append((piece.wire, piece.payload, piece.first, piece.last))
    assert pieces[0] == (wire[:6], b"", True, False)
    assert [piece[1] for piece in pieces[1:]] == [b"a", b"b", b"c", b"d", b"e", b"f"]
    assert b"".join(piece[0] for piece in pieces) == wire
    assert [piece[3] for piece in pieces] == [False] * 6 + [True]


def test_payloads_that_nobody_wants_are_counted() -> None:
    reader = MessageReader(True, LIMIT)
    reader.wanted = False
    read = Read(reader, [frame(BINARY, b"abc", mask=MASK), frame(TEXT, b"abc", mask=MASK)])
    assert read.messages == [(BINARY, b""), (TEXT, b"abc")]
    assert read.sizes == [3, 3]


def test_text_that_nobody_wants_is_judged_all_the_same() -> None:
    reader = MessageReader(True, LIMIT)
    reader.wanted = False
    assert Read(reader, [frame(TEXT, b"\xff", mask=MASK)]).code == 1007


# --- what is wrong


@pytest.mark.parametrize(
    ("wire", "code"),
    {
        "reserved bit 1 that nobody agreed on": (frame(TEXT, b"x", reserved=4), 1002),
        "reserved bit 2": (frame(TEXT, b"x", reserved=2), 1002),
        "reserved bit 3": (frame(PING, b"x", reserved=1), 1002),
        "masked by a server": (frame(TEXT, b"x", mask=MASK), 1002),
        "opcode 3": (frame(3), 1002),
        "opcode 7": (frame(7), 1002),
        "opcode 11": (frame(11), 1002),
        "opcode 15": (frame(15), 1002),
        "a ping in two fragments": (frame(PING, b"x", fin=False), 1002),
        "a close in two fragments": (frame(CLOSE, b"", fin=False), 1002),
        "a ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
        "a ping with a long length": (frame(PING, b"x" * 5, width=2), 1002),
        "a continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
        "a continuation of a whole message": (frame(TEXT) + frame(CONTINUATION), 1002),
        "a message inside another": (frame(TEXT, fin=False) + frame(TEXT), 1002),
        "125 in two bytes": (frame(BINARY, b"x" * 125, width=2), 1002),
        "65535 in eight bytes": (frame(BINARY, b"x" * 65535, width=8), 1002),
        "64 bits of length": (b"\x82\x7f\x80" + bytes(7), 1002),
        "text that is not UTF-8": (frame(TEXT, b"a\xff"), 1007),
        "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
        "an overlong form": (frame(TEXT, b"\xc0\xaf"), 1007),
        "beyond Unicode": (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
        "text that ends inside a character": (frame(TEXT, b"\xe2\x82"), 1007),
        "text whose fragments end so": (
            frame(TEXT, b"\xe2", fin=False) + frame(CONTINUATION, b"\x82"),
            1007,
        ),
        "a close with half a code": (frame(CLOSE, b"\x03"), 1002),
        "a close whose reason is not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
        "a frame over the limit": (b"\x82\x7f" + (LIMIT + 1).to_bytes(8, "big"), 1009),
        "fragments over the limit": (
            frame(BINARY, bytes(LIMIT - 1), fin=False) + frame(CONTINUATION, b"12"),
            1009,
        ),
    }.values(),
)
def test_a_server_that_breaks_the_protocol_is_told_how(wire: bytes, code: int) -> None:
    read = from_server(frame(BINARY, b"before") + wire)
    assert read.messages[0] == (BINARY, b"before")
    assert read.code == code


def test_a_client_must_mask() -> None:
    assert from_client(frame(TEXT, b"x")).code == 1002
    assert from_client(frame(PING)).code == 1002
    assert from_client(frame(PING, mask=MASK)).code is None


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535])
def test_close_codes_that_must_not_be_sent_are_refused(code: int) -> None:
    assert from_server(frame(CLOSE, code.to_bytes(2, "big"))).code == 1002


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4999])
def test_close_codes_that_may_be_sent_pass(code: int) -> None:
    payload = encode_close(code, "why")
    assert from_server(frame(CLOSE, payload)).messages == [(CLOSE, payload)]
    assert parse_close(payload) == (code, "why")


def test_a_close_frame_may_be_empty() -> None:
    assert from_server(frame(CLOSE)).code is None
    assert parse_close(b"") == (1005, "")


def test_a_close_reason_is_cut_between_characters() -> None:
    payload = encode_close(1000, "ä" * 100)
    assert len(payload) == 124
    assert parse_close(payload) == (1000, "ä" * 61)


def test_the_bytes_that_are_wrong_are_in_no_piece() -> None:
    good = frame(TEXT, b"good")
    read = from_server(good + frame(TEXT, b"\xff"))
    assert (read.wire, read.code) == (good, 1007)


def test_a_header_that_is_wrong_is_refused_before_it_is_whole() -> None:
    assert from_server(b"\xf2\x7f").code == 1002
    assert from_server(b"\x82").code is None


def test_a_reader_that_has_refused_goes_on_refusing() -> None:
    reader = MessageReader(False, LIMIT)
    assert Read(reader, [frame(3)]).code == 1002
    with pytest.raises(WebSocketError, match="opcode 3"):
        reader.next_piece()


def test_wrong_text_is_refused_at_its_first_wrong_byte() -> None:
    wire = frame(TEXT, b"\xc3\x28" + b"x" * 100)
    assert from_server(wire[:4]).code == 1007


def test_a_compressed_continuation_or_control_frame_is_refused() -> None:
    assert deflated(frame(PING, b"x", reserved=4)).code == 1002
    first = frame(TEXT, b"", fin=False, reserved=4)
    assert deflated(first + frame(CONTINUATION, b"", reserved=4)).code == 1002


# --- any bytes at all


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_messages_or_one_error(data: bytes, client: bool) -> None:
    read = Read(MessageReader(client, LIMIT, Inflater(Compression())), [data])
    assert read.code in (None, 1002, 1007, 1009)
    assert data.startswith(read.wire)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_any_bytes_mean_the_same_however_they_arrive(data: bytes, points: list[int]) -> None:
    whole = from_client(data)
    split = Read(MessageReader(True, LIMIT), split_at(data, points))
    assert (split.messages, split.code) == (whole.messages, whole.code)


@given(st.binary(max_size=100), st.binary(min_size=4, max_size=4))
def test_masking_twice_is_nothing(payload: bytes, mask: bytes) -> None:
    masked = apply_mask(payload, mask)
    assert masked == bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    assert apply_mask(masked, mask) == payload
