"""An export of a guest as it is called, and the room for what goes in and comes out."""

from __future__ import annotations

import ctypes
from typing import Any, Final

from wasmtime import _ffi as ffi

from proxy_core.plugin_host.abi import Signature
from proxy_core.plugin_host.runtime.entry_points import Ptr, Size

MOST_ARGUMENTS: Final = 8
_Arguments = ffi.wasmtime_val_t * MOST_ARGUMENTS
_I32, _I64 = 0, 1  # WASMTIME_I32, WASMTIME_I64
_CELLS: Final = {(): ctypes.c_int32, ("i32",): ctypes.c_int32, ("i64",): ctypes.c_int64}


class Values:
    """Room for the arguments and the result of one call at a time."""

    __slots__ = ("_arguments", "_result", "arguments_at", "cells", "result_at")

    def __init__(self) -> None:
        self._arguments = _Arguments()
        self._result = ffi.wasmtime_val_t()
        self.arguments_at = ctypes.addressof(self._arguments)
        self.result_at = ctypes.addressof(self._result)
        at = ctypes.addressof(self._result.of)
        self.cells: dict[tuple[str, ...], Any] = {
            kinds: cell.from_address(at) for kinds, cell in _CELLS.items()
        }

    def put(self, kinds: tuple[str, ...], numbers: tuple[int, ...]) -> None:
        """Set the arguments."""
        for slot, kind, number in zip(self._arguments, kinds, numbers, strict=False):
            put_number(slot, kind, number)


def put_number(slot: Any, kind: str, number: int) -> None:
    """Put a number into a slot of the library's."""
    if kind == "i64":
        slot.kind, slot.of.i64 = _I64, number
    else:
        slot.kind, slot.of.i32 = _I32, number


class Entry:
    """An export as it is called."""

    __slots__ = ("cell", "function", "kinds", "prepared", "result_kinds")

    def __init__(self, function: int, signature: Signature, values: Values) -> None:
        self.function = function
        self.kinds, self.result_kinds = signature
        self.cell = values.cells[self.result_kinds]
        """Where the result is found after a call."""
        self.prepared: tuple[Ptr | Size, ...] = ()
        """What `call_async` takes for it."""

    def arguments(self, context: Ptr, values: Values, trap: Ptr, error: Ptr) -> tuple[Any, ...]:
        """Return what `call_async` takes for a call with these values."""
        return (
            context,
            Ptr(self.function),
            Ptr(values.arguments_at),
            Size(len(self.kinds)),
            Ptr(values.result_at),
            Size(len(self.result_kinds)),
            Ptr(ctypes.addressof(trap)),
            Ptr(ctypes.addressof(error)),
        )
