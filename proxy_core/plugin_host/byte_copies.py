"""Many bytes copied between Python and memory that is not Python's, past the interpreter's lock.

To copy a mebibyte that is new to the process takes most of a millisecond, and whoever holds the
lock so long holds the loop.
"""

from __future__ import annotations

import ctypes

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
