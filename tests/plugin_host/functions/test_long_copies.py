"""Copies that are long: every byte at its place, and the loop's other work in between."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Iterator

import pytest

from proxy_core.exchange.long_text import is_text
from proxy_core.plugin_host.byte_copies import PIECE
from proxy_core.plugin_host.codes import BAD_POINTER, OK
from proxy_core.plugin_host.functions.long_copies import Copying, give, take
from proxy_core.plugin_host.runtime.memory import LinearMemory

SIZE = 4 * PIECE


class Memory:
    """Bytes that a guest might have."""

    def __init__(self) -> None:
        self.bytes = bytearray(b"".join(number.to_bytes(4, "little") for number in range(PIECE)))
        assert len(self.bytes) == SIZE
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))
        self.guest = LinearMemory(lambda: (address, SIZE))


@pytest.fixture
def memory() -> Iterator[Memory]:
    made = Memory()
    yield made
    made.guest.forget()


async def end(copying: Copying) -> tuple[int, int]:
    """The answer, and how often others had their turn before."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with asyncio.TaskGroup() as group:
        counting = group.create_task(others())
        answer = copying if isinstance(copying, int) else await copying
        counting.cancel()
    return answer, turns


@pytest.mark.parametrize("length", [0, 1, PIECE, PIECE + 1, 2 * PIECE, SIZE - 7])
async def test_bytes_come_out_of_a_guest_as_they_are(memory: Memory, length: int) -> None:
    taken: list[bytes] = []

    def use(data: bytes) -> int:
        taken.append(data)
        return OK

    answer, turns = await end(take(memory.guest, 7, length, use))
    assert answer == OK
    assert taken == [bytes(memory.bytes[7 : 7 + length])]
    assert turns >= length // PIECE - 1


@pytest.mark.parametrize("length", [0, 1, PIECE, PIECE + 1, 2 * PIECE, SIZE - 7])
async def test_bytes_come_into_a_guest_as_they_are(memory: Memory, length: int) -> None:
    data = bytes(reversed(memory.bytes))[:length]
    expected = memory.bytes[:7] + data + memory.bytes[7 + length :]
    answer, turns = await end(give(memory.guest, 7, memoryview(data), 4711))
    assert answer == 4711
    assert memory.bytes == expected
    assert turns >= length // PIECE - 1


@pytest.mark.parametrize("length", [8, PIECE + 8, 2**32 - 1])
async def test_what_is_not_all_inside_is_neither_taken_nor_given(
    memory: Memory, length: int
) -> None:
    before = bytes(memory.bytes)
    at = SIZE - min(length, SIZE) + 1
    assert take(memory.guest, at, length, lambda data: OK) == BAD_POINTER
    if length < SIZE:
        assert give(memory.guest, at, memoryview(bytes(length)), OK) == BAD_POINTER
    assert memory.bytes == before


async def test_a_guest_that_is_closed_meanwhile_answers_nothing(memory: Memory) -> None:
    copying = take(memory.guest, 0, SIZE, lambda data: OK)
    assert not isinstance(copying, int)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(copying)
        await asyncio.sleep(0)
        memory.guest.forget()
    assert running.result() == BAD_POINTER


def test_where_nobody_waits_all_is_copied_at_once(memory: Memory) -> None:
    assert take(memory.guest, 0, SIZE, len) == SIZE
    assert give(memory.guest, 0, memoryview(bytes(SIZE)), 1) == 1
    assert not any(memory.bytes)


async def test_what_is_made_of_them_may_take_turns_too(memory: Memory) -> None:
    async def slowly(data: bytes) -> int:
        await asyncio.sleep(0)
        return len(data)

    assert (await end(take(memory.guest, 0, 2 * PIECE, slowly)))[0] == 2 * PIECE


@pytest.mark.parametrize(("end_of_text", "answer"), [(b"", True), (b"\xc3", False)])
async def test_long_text_is_looked_at_across_its_seams(end_of_text: bytes, answer: bool) -> None:
    text = b"x" + "é".encode() * PIECE + end_of_text
    assert await is_text(text) is answer
