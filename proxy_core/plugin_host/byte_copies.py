"""Many bytes copied so that others get at the interpreter's lock meanwhile.

To copy a mebibyte that is new to the process takes most of a millisecond, and whoever holds the
lock so long holds the loop.
"""

from __future__ import annotations

import asyncio
import ctypes
from typing import Final

PIECE: Final = 1024 * 1024
"""Bytes copied under the lock, or in one turn of the loop: what is new to the process has to be
given to it, page by page."""

new_bytes = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)(
    ("PyBytes_FromStringAndSize", ctypes.pythonapi)
)
"""(None, size) -> bytes that may be filled before anybody else knows them (C API)."""
address_of_bytes = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(
    ("PyBytes_AsString", ctypes.pythonapi)
)
"""Where what a bytes object holds is."""
_move = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
    ctypes.cast(ctypes.memmove, ctypes.c_void_p).value or 0
)
"""As `ctypes.memmove`, which keeps the lock."""


def copy_out(address: int, length: int) -> bytes:
    """Return a copy of memory that is not Python's."""
    data: bytes = new_bytes(None, length)
    _move(address_of_bytes(data), address, length)
    return data


def copy_in(address: int, data: bytes) -> None:
    """Write `data` to memory that is not Python's."""
    _move(address, address_of_bytes(data), len(data))


def slice_of(source: bytes | bytearray, start: int, end: int) -> bytes:
    """Return `source[start:end]`, from 0 on; `source` may grow meanwhile, and not shrink."""
    end = min(end, len(source))
    if end - start <= PIECE or (isinstance(source, bytes) and not start and end == len(source)):
        return bytes(source[start:end])
    made: bytes = new_bytes(None, end - start)
    to = address_of_bytes(made)
    for at in range(start, end, PIECE):
        piece = bytes(source[at : min(at + PIECE, end)])
        ctypes.memmove(to + at - start, piece, len(piece))
    return made


def splice(target: bytearray, start: int, size: int, data: bytes) -> None:
    """Do `target[start : start + size] = data`."""
    if len(target) + len(data) <= PIECE:
        target[start : start + size] = data
        return
    rest = slice_of(target, start + size, len(target))
    del target[start:]
    for part in (data, rest):
        for at in range(0, len(part), PIECE):
            target += part[at : at + PIECE]


async def join_by_turns(*parts: bytes | bytearray) -> bytes:
    """Return `b"".join(parts)`, a piece in a turn of the loop; nobody may change them meanwhile."""
    size = sum(map(len, parts))
    if size <= PIECE:
        return b"".join(parts)
    made: bytes = new_bytes(None, size)
    to = address_of_bytes(made)
    for part in parts:
        for at in range(0, len(part), PIECE):
            piece = bytes(part[at : at + PIECE])
            ctypes.memmove(to, piece, len(piece))
            to += len(piece)
            await asyncio.sleep(0)
    return made


async def thaw_by_turns(data: bytes) -> bytearray:
    """Return `bytearray(data)`, a piece in a turn of the loop."""
    made = bytearray(data[:PIECE])
    for at in range(PIECE, len(data), PIECE):
        await asyncio.sleep(0)
        made += data[at : at + PIECE]
    return made
