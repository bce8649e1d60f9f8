"""Protocol buffers without their schema: field numbers, and what the bytes can be read as.

Numbers are shown as they are on the wire; what could be a message inside a message is taken for
one. A gRPC body is a row of such messages, each behind five bytes (PROTOCOL-HTTP2, length-prefixed
messages).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from int3rceptor_tui.view_model.formats import size_in_words
from int3rceptor_tui.view_model.lines import FixedLines, Lines, Piece
from int3rceptor_tui.view_model.visible import visible

Rows = list[list[Piece]]

_LIMIT = 256 * 1024
_MAX_LINES = 20_000
_DEEPEST = 12
_MOST_SHOWN = 200  # bytes of what is neither text nor a message

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _NoMessageError(Exception):
    """These bytes are no message, or one that is larger than anybody reads."""


def protobuf_lines(data: bytes) -> Lines | None:
    """Return one message as lines; None where it is none, or has more than 20,000 fields."""
    rows: Rows = []
    try:
        _message(data, 0, rows)
    except _NoMessageError:
        return None
    return FixedLines(rows) if rows else None


def grpc_lines(data: bytes) -> Lines | None:
    """Return a gRPC body's messages as lines; None where it is none. The last may be cut."""
    rows: Rows = []
    at = number = 0
    while at + 5 <= len(data) <= _LIMIT:
        flag, length = struct.unpack_from(">BI", data, at)
        if flag not in (0, 1, 0x80):
            return None
        number, at = number + 1, at + 5
        payload = data[at : at + length]
        at += length
        facts = ["trailers" if flag == 0x80 else f"message {number}", size_in_words(length)]
        facts += ["compressed"] if flag == 1 else []
        facts += ["cut"] if len(payload) < length else []
        rows += [[], [(", ".join(facts), "heading")]] if rows else [[(", ".join(facts), "heading")]]
        rows += _payload(payload, flag)
        if len(rows) > _MAX_LINES:
            return None
    return FixedLines(rows) if rows else None


def _payload(payload: bytes, flag: int) -> Rows:
    if flag == 0x80:  # gRPC-Web's
        return [[(visible(line), "")] for line in payload.decode("latin-1").split("\r\n") if line]
    rows: Rows = []
    if flag == 0:
        try:
            _message(payload, 1, rows)
        except _NoMessageError:
            rows = []
    return rows if rows or not payload else [[("  ", ""), (_hexadecimal(payload), "number")]]


def _message(data: bytes, depth: int, rows: Rows) -> None:
    """Append the rows of a message. Raises _NoMessageError, with rows of it appended."""
    if len(data) > _LIMIT or depth > _DEEPEST:
        raise _NoMessageError
    indent = "  " * depth
    for number, kind, value in _fields(data):
        if len(rows) > _MAX_LINES:
            raise _NoMessageError
        name: list[Piece] = [(indent, ""), (str(number), "key"), (": ", "dim")]
        if isinstance(value, int):
            rows.append([*name, (_number(kind, value), "number")])
            continue
        text = _readable(value)
        if text is not None:
            rows.append([*name, (f'"{visible(text)}"', "string")])
            continue
        inner: Rows = []
        try:
            _message(value, depth + 1, inner)
        except _NoMessageError:
            rows.append([*name, (_hexadecimal(value), "")])
        else:
            rows += [[*name, ("{", "dim")], *inner, [(indent, ""), ("}", "dim")]]


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Give number, wire type and value of each field. Raises _NoMessageError."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise _NoMessageError
        value: int | bytes
        if kind == _VARINT:
            value, at = _varint(data, at)
        elif kind == _BYTES:
            length, at = _varint(data, at)
            value, at = data[at : at + length], at + length
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
            value, at = int.from_bytes(data[at : at + length], "little"), at + length
        else:
            raise _NoMessageError
        if at > len(data):
            raise _NoMessageError
        yield number, kind, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise _NoMessageError


def _number(kind: int, value: int) -> str:
    if kind == _VARINT:
        return str(value) if value < 1 << 63 else f"{value - (1 << 64)}"
    double = kind == _FIXED64
    packed = value.to_bytes(8 if double else 4, "little")
    return f"{value} ({struct.unpack('<d' if double else '<f', packed)[0]:.7g})"


def _readable(value: bytes) -> str | None:
    """Return bytes as text where people would take them for it."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return (
        text
        if all(character.isprintable() or character in "\r\n\t" for character in text)
        else None
    )


def _hexadecimal(value: bytes) -> str:
    more = f"… ({size_in_words(len(value))})" if len(value) > _MOST_SHOWN else ""
    return value[:_MOST_SHOWN].hex(" ") + more
