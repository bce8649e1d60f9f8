"""Copies between bytes objects and memory that is not Python's."""

from __future__ import annotations

import ctypes

import pytest

from proxy_core.plugin_host.byte_copies import (
    PIECE,
    address_of_bytes,
    copy_in,
    copy_out,
    slice_of,
    splice,
)


def test_what_is_copied_in_comes_out_again() -> None:
    room = bytearray(2_000_000)
    at = ctypes.addressof(ctypes.c_char.from_buffer(room))
    data = bytes(range(256)) * 4096
    copy_in(at + 7, data)
    assert room[7 : 7 + len(data)] == data
    assert room[:7] == bytes(7)
    assert not any(room[7 + len(data) :])
    copied = copy_out(at + 7, len(data))
    assert copied == data
    room[8] = 99
    assert copied == data


def test_nothing_is_copied_where_there_is_nothing() -> None:
    assert copy_out(address_of_bytes(b"x"), 0) == b""
    copy_in(address_of_bytes(b"x"), b"")


LONG = bytes(range(251)) * (3 * PIECE // 251)
RANGES = [(0, 0), (0, 5), (3, 2**32), (0, 2**32), (7, 2 * PIECE + 9), (2**31, 2**32), (5, 5)]


@pytest.mark.parametrize("source", [b"some bytes", LONG, bytearray(b"short"), bytearray(LONG)])
@pytest.mark.parametrize(("start", "end"), RANGES)
def test_slices_are_as_python_cuts_them(source: bytes | bytearray, start: int, end: int) -> None:
    assert slice_of(source, start, end) == source[start:end]


@pytest.mark.parametrize("target", [b"", b"some bytes", LONG])
@pytest.mark.parametrize("data", [b"", b"new", LONG[::-1]])
@pytest.mark.parametrize(("start", "end"), RANGES)
def test_splices_are_as_python_makes_them(target: bytes, data: bytes, start: int, end: int) -> None:
    expected, got = bytearray(target), bytearray(target)
    expected[start:end] = data
    splice(got, start, end - start, data)
    assert got == expected
