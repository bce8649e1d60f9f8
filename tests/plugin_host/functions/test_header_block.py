"""The block in which header fields cross into a guest and back."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.plugin_host.functions.header_block import pack, unpack

FIELDS = st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=30)), max_size=10)


def test_the_layout_is_the_one_of_the_abi_page() -> None:
    assert pack([(b"a", b"bc"), (b"d", b"")]) == (
        struct.pack("<5I", 2, 1, 2, 1, 0) + b"a\0bc\0d\0\0"
    )


def test_no_fields_are_a_count_of_zero() -> None:
    assert pack([]) == b"\0\0\0\0"
    assert unpack(b"\0\0\0\0", 10) == []
    assert unpack(b"", 10) == []


@given(FIELDS)
def test_what_was_packed_is_unpacked(fields: list[tuple[bytes, bytes]]) -> None:
    assert unpack(pack(fields), 10) == fields


@given(FIELDS.filter(bool), st.integers(min_value=1))
def test_a_truncated_block_is_refused(fields: list[tuple[bytes, bytes]], cut: int) -> None:
    block = pack(fields)
    assert unpack(block[: len(block) - 1 - cut % (len(block) - 1)], 10) is None


@given(st.binary(max_size=100))
def test_any_bytes_give_fields_or_a_refusal(block: bytes) -> None:
    fields = unpack(block, 10)
    assert fields is None or not block or pack(fields) == block


@pytest.mark.parametrize(
    "block",
    [
        pack([(b"a", b"b")] * 11),
        struct.pack("<I", 0xFFFFFFFF),
        struct.pack("<3I", 1, 0xFFFFFFFF, 0xFFFFFFFF) + b"a\0b\0",
        pack([(b"a", b"b")])[:-1] + b"x",
        pack([(b"a", b"b")]) + b"\0",
        b"\1\0\0",
    ],
)
def test_blocks_that_lie_are_refused(block: bytes) -> None:
    assert unpack(block, 10) is None
