"""Protocol buffers and gRPC, read without a schema."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from int3rceptor_tui.view_model.content import Content
from int3rceptor_tui.view_model.lines import Lines
from int3rceptor_tui.view_model.protobuf_text import grpc_lines, protobuf_lines
from proxy_core.control.views import BodyView

INNER = b"\x08\x96\x01"  # field 1: 150
MESSAGE = b"".join(
    [
        b"\x08\x01",
        b"\x10" + b"\xff" * 9 + b"\x01",  # field 2: -1
        b"\x1a\x05hello",
        b"\x22\x03" + INNER,
        b"\x2a\x02\xff\xfe",
        b"\x31" + struct.pack("<d", 1.5),
        b"\x3d" + struct.pack("<f", -2.0),
    ]
)


def framed(message: bytes, flag: int = 0, missing: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(message) + missing) + message


def shown(lines: Lines | None) -> list[str]:
    assert lines is not None
    return ["".join(piece for piece, _ in lines.line(at)) for at in range(len(lines))]


def test_fields_are_shown_by_number_as_what_their_bytes_can_be() -> None:
    assert shown(protobuf_lines(MESSAGE)) == [
        "1: 1",
        "2: -1",
        '3: "hello"',
        "4: {",
        "  1: 150",
        "}",
        "5: ff fe",
        "6: 4609434218613702656 (1.5)",
        "7: 3221225472 (-2)",
    ]


def test_what_is_no_message_is_not_taken_for_one() -> None:
    for data in (b"", b"\x07", b"\x00\x01", b"\x08", b"\x1a\x05hell", b"\x08" + b"\x80" * 11):
        assert protobuf_lines(data) is None
    assert grpc_lines(b"\x05\0\0\0\x01x") is None
    assert grpc_lines(b"\0\0") is None


def test_a_grpc_body_is_a_row_of_messages() -> None:
    body = framed(INNER) + framed(b"\xff\xff", flag=1) + framed(b"") + framed(INNER, missing=9)
    assert shown(grpc_lines(body)) == [
        "message 1, 3 bytes",
        "  1: 150",
        "",
        "message 2, 2 bytes, compressed",
        "  ff ff",
        "",
        "message 3, 0 bytes",
        "",
        "message 4, 12 bytes, cut",
        "  1: 150",
    ]
    web = framed(INNER) + framed(b"grpc-status: 0\r\nx: \x1b\r\n", flag=0x80)
    assert shown(grpc_lines(web))[-3:] == ["trailers, 22 bytes", "grpc-status: 0", "x: ␛"]


def test_messages_in_messages_end_somewhere() -> None:
    data = INNER
    for _ in range(40):
        data = b"\x1a" + bytes([len(data)]) + data if len(data) < 128 else data
    assert len(shown(protobuf_lines(data))) < 100


def test_the_content_type_decides() -> None:
    for media, mode in (
        ("application/grpc+proto", "grpc"),
        ("application/grpc-web", "grpc"),
        ("application/x-protobuf", "protobuf"),
    ):
        body = framed(INNER) if mode == "grpc" else MESSAGE
        assert Content(BodyView(body, len(body), media)).modes == (mode, "hex", "text")
    assert Content(BodyView(MESSAGE, len(MESSAGE), "image/png")).modes == ("hex", "text")


@given(st.binary(max_size=300))
def test_any_bytes_are_looked_at_without_failing(data: bytes) -> None:
    for lines in (protobuf_lines(data), grpc_lines(data)):
        if lines is not None:
            assert shown(lines)
