"""A guest's linear memory as seen from outside, every access checked without wrapping.

The view is kept between calls, which is what makes an access cost a tenth of a microsecond; it
stays valid because the engine is told that memories do not move, and they never shrink.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

from proxy_core.plugin_host.byte_copies import PIECE, copy_in, copy_out

PAGE: Final = 64 * 1024
WRITABLE: Final = 0x200  # PyBUF_WRITE
LONG: Final = 4096
"""Bytes; whatever is done to more of them takes its time."""
view_of = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
    ("PyMemoryView_FromMemory", ctypes.pythonapi)
)
"""(address, size, WRITABLE) -> memoryview; an array type for every size would be garbage that only
the collector finds."""


class LinearMemory:
    """Implements `host_side.GuestMemory` on an address and a size."""

    __slots__ = ("_address", "_locate", "_on_long", "_size", "_view")

    def __init__(
        self,
        locate: Callable[[], tuple[int, int]] | None,
        on_long: Callable[[], object] | None = None,
    ) -> None:
        """Ask `locate` for the address and size in bytes; None where there is no memory.

        Call `on_long` before more than LONG bytes are copied.
        """
        self._locate = locate
        self._on_long = on_long
        self._address = self._size = 0
        self._view = memoryview(b"")
        self._refresh()

    def _refresh(self) -> None:
        if self._locate is None:
            return
        address, size = self._locate()
        if size != self._size:
            self._view = view_of(address, size, WRITABLE)
            self._address, self._size = address, size

    def holds(self, offset: int, length: int) -> bool:
        """Whether `length` bytes from `offset` lie inside."""
        end = offset + length
        if end <= self._size:
            return True
        self._refresh()  # the guest may have grown it since
        return end <= self._size

    def read(self, offset: int, length: int) -> bytes | None:
        """Return a copy of `length` bytes, or None where they are not all inside."""
        end = offset + length
        if length > LONG:
            return self._read_long(offset, length)
        if end <= self._size or self.holds(offset, length):
            return self._view[offset:end].tobytes()
        return None

    def write(self, offset: int, data: bytes) -> bool:
        """Put `data` at `offset`; False, and nothing written, where it does not fit inside."""
        length = len(data)
        end = offset + length
        if length > LONG:
            return self._write_long(offset, data)
        if end <= self._size or self.holds(offset, length):
            self._view[offset:end] = data
            return True
        return False

    def _read_long(self, offset: int, length: int) -> bytes | None:
        if self._on_long is not None:
            self._on_long()
        if not self.holds(offset, length):
            return None
        if length > PIECE:
            return copy_out(self._address + offset, length)
        return self._view[offset : offset + length].tobytes()

    def _write_long(self, offset: int, data: bytes) -> bool:
        length = len(data)
        if self._on_long is not None:
            self._on_long()
        if not self.holds(offset, length):
            return False
        if length > PIECE:
            copy_in(self._address + offset, data)
        else:
            self._view[offset : offset + length] = data
        return True

    def pages(self) -> int:
        """The size in pages of 64 KiB."""
        self._refresh()
        return self._size // PAGE

    def forget(self) -> None:
        """Let go of the memory before it is freed."""
        self._locate = self._on_long = None
        self._view = memoryview(b"")
        self._size = 0
