"""Copies between bytes objects and memory that is not Python's."""

from __future__ import annotations

import ctypes

from proxy_core.plugin_host.byte_copies import address_of_bytes, copy_in, copy_out


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
