"""A guest's memory from outside, on memory of our own."""

from __future__ import annotations

import ctypes

import pytest

from proxy_core.plugin_host.runtime.memory import LinearMemory


class Block:
    """Memory of a size that can change."""

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(1 << 20)
        self.size = size
        self.asked = 0

    def locate(self) -> tuple[int, int]:
        self.asked += 1
        return ctypes.addressof(ctypes.c_char.from_buffer(self.bytes)), self.size


@pytest.mark.parametrize(
    ("offset", "length", "inside"),
    [
        (0, 0, True),
        (0, 100, True),
        (99, 1, True),
        (100, 0, True),
        (100, 1, False),
        (101, 0, False),
        (0, 101, False),
        (0xFFFFFFFF, 0xFFFFFFFF, False),
        (0xFFFFFFFF, 0, False),
    ],
)
def test_accesses_are_checked_without_wrapping(offset: int, length: int, inside: bool) -> None:
    block = Block(100)
    memory = LinearMemory(block.locate)
    assert memory.holds(offset, length) is inside
    data = memory.read(offset, length)
    assert data == (bytes(length) if inside else None)
    if length <= 101:
        assert memory.write(offset, b"x" * length) is inside
        assert block.bytes.count(b"x") == (length if inside else 0)


def test_growth_is_noticed_when_it_matters() -> None:
    block = Block(100)
    memory = LinearMemory(block.locate)
    asked = block.asked
    block.size = 200
    assert memory.read(0, 100) == bytes(100)
    assert block.asked == asked
    assert memory.write(150, b"x")
    assert block.asked == asked + 1
    assert memory.read(150, 1) == b"x"
    block.size = 65536
    assert memory.pages() == 1


def test_no_memory_holds_nothing() -> None:
    memory = LinearMemory(None)
    assert memory.read(0, 1) is None
    assert memory.read(0, 0) == b""
    assert not memory.write(0, b"x")
    assert memory.pages() == 0
