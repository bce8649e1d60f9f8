"""Bytes on their way into a guest's memory and out of it, too many for one turn of the loop.

The guest waits meanwhile, so its memory stays as it is. Where guests run on a thread of their own
nobody waits for that, but for the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from proxy_core.plugin_host.byte_copies import PIECE, address_of_bytes, new_bytes
from proxy_core.plugin_host.codes import BAD_POINTER
from proxy_core.plugin_host.functions.host_side import GuestMemory

Copying = int | Coroutine[Any, Any, int]
"""What a host function that waits answers with."""


def on_the_loop() -> bool:
    """Whether others wait for this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # the engine that runs guests on a thread, or a guest that is loaded
        return False
    return True


def take(memory: GuestMemory, at: int, length: int, use: Callable[[bytes], Copying]) -> Copying:
    """Answer with what `use` makes of bytes from a guest; BAD_POINTER where they are not there."""
    if length > PIECE and on_the_loop():
        return _take_slowly(memory, at, length, use) if memory.holds(at, length) else BAD_POINTER
    data = memory.read(at, length)
    return BAD_POINTER if data is None else use(data)


async def _take_slowly(
    memory: GuestMemory, at: int, length: int, use: Callable[[bytes], Copying]
) -> int:
    # A new bytes object may be filled before anybody else knows it (C API, PyBytes_AsString). To
    # join pieces at the end would be to copy everything in one turn after all.
    data: bytes = new_bytes(None, length)
    start = address_of_bytes(data)
    for done in range(0, length, PIECE):
        piece = memory.read(at + done, min(PIECE, length - done))
        if piece is None:
            return BAD_POINTER
        ctypes.memmove(start + done, piece, len(piece))
        await asyncio.sleep(0)
    used = use(data)
    return used if isinstance(used, int) else await used


def give(memory: GuestMemory, at: int, data: memoryview, answer: int) -> Copying:
    """Write `data` for a guest, and answer with `answer`; BAD_POINTER where it does not fit."""
    if not memory.holds(at, len(data)):
        return BAD_POINTER
    if len(data) > PIECE and on_the_loop():
        return _give_slowly(memory, at, data, answer)
    for _ in _pieces(memory, at, data):
        pass
    return answer


async def _give_slowly(memory: GuestMemory, at: int, data: memoryview, answer: int) -> int:
    for _ in _pieces(memory, at, data):
        await asyncio.sleep(0)
    return answer


def _pieces(memory: GuestMemory, at: int, data: memoryview) -> Iterator[None]:
    """Write for a guest what fits; between the pieces others may have the interpreter."""
    for done in range(0, len(data), PIECE):
        memory.write(at + done, bytes(data[done : done + PIECE]))
        yield
