"""The C functions of the WebAssembly library that `raw` calls, and the shapes they take.

A wrong line here ends the process or worse; `opening` tells for which versions they are right.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi  # the C library as the wheel has bound it

from proxy_core.plugin_host.faults import ModuleRefused

Ptr = ctypes.c_void_p
Size = ctypes.c_size_t
Fuel = ctypes.c_uint64

Callback = ctypes.CFUNCTYPE(Ptr, Size, Size, Size, Size)
"""(guest's key, caller, address of the values in and out, how many) -> trap."""
IsDone = ctypes.CFUNCTYPE(ctypes.c_bool, Ptr)


class Continuation(ctypes.Structure):
    """What a host function that waits leaves behind: asked at each poll whether it is done."""

    _fields_ = (("is_done", IsDone), ("env", Ptr), ("finalizer", Ptr))


_Continuation = ctypes.POINTER(Continuation)
_Values = ctypes.POINTER(ffi.wasmtime_val_t)
_Traps = ctypes.POINTER(Ptr)
WaitingCallback = ctypes.CFUNCTYPE(
    *(None, Ptr, Ptr, _Values, Size, _Values, Size, _Traps, _Continuation)
)
"""(guest's key, caller, arguments, how many, results, how many, trap, continuation)."""


class EntryPoints:
    """The C functions, bound once, all pointers as plain integers.

    But for what every call of a guest needs: `call_async`, `set_fuel` and `get_fuel` take what they
    take ready-made, as instances of `Ptr`, `Size` and `Fuel`, in half the time.
    """

    def __init__(self, prototype: Callable[..., Any]) -> None:
        def bind(name: str, result: Any, *arguments: Any) -> Any:
            address = ctypes.cast(getattr(ffi.dll, name), Ptr).value
            return prototype(result, *arguments)(address)

        self.call_async = bind("wasmtime_func_call_async", Ptr)
        self.instantiate_async = bind(
            "wasmtime_linker_instantiate_async", Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr
        )
        self.poll = bind("wasmtime_call_future_poll", ctypes.c_bool, Ptr)
        self.delete_future = bind("wasmtime_call_future_delete", None, Ptr)
        # These two fail only where fuel is switched off.
        self.set_fuel = bind("wasmtime_context_set_fuel", None)
        self.get_fuel = bind("wasmtime_context_get_fuel", None)
        self.set_slice = bind(
            "wasmtime_context_fuel_async_yield_interval", Ptr, Ptr, ctypes.c_uint64
        )
        self.memory_data = bind("wasmtime_memory_data", Ptr, Ptr, Ptr)
        self.memory_size = bind("wasmtime_memory_data_size", Size, Ptr, Ptr)
        self.trap_new = bind("wasmtime_trap_new", Ptr, ctypes.c_char_p, Size)
        self.define = bind(
            "wasmtime_linker_define_func_unchecked",
            *(Ptr, Ptr, ctypes.c_char_p, Size, ctypes.c_char_p, Size),
            *(Ptr, Callback, Ptr, Ptr),
        )
        self.define_waiting = bind(
            "wasmtime_linker_define_async_func",
            *(Ptr, Ptr, ctypes.c_char_p, Size, ctypes.c_char_p, Size),
            *(Ptr, WaitingCallback, Ptr, Ptr),
        )
        self.link = bind(
            "wasmtime_linker_define",
            *(Ptr, Ptr, Ptr, ctypes.c_char_p, Size, ctypes.c_char_p, Size, Ptr),
        )
        self.export_get = bind(
            "wasmtime_instance_export_get",
            *(ctypes.c_bool, Ptr, Ptr, ctypes.c_char_p, Size, Ptr),
        )
        self.caller_export_get = bind(
            "wasmtime_caller_export_get", ctypes.c_bool, Ptr, ctypes.c_char_p, Size, Ptr
        )


def address_of(pointer: Any) -> int:
    """Return a pointer as a number. Raises ModuleRefused for null."""
    # Not by `cast`, which makes the pointer refer to itself: garbage for the collector, at each
    # instance.
    if not pointer:
        raise ModuleRefused("the WebAssembly library gave a null pointer")
    return ctypes.addressof(pointer.contents)


def take_trap(pointer: int) -> wasmtime.Trap:
    """Own a trap, which frees it in time."""
    return wasmtime.Trap._from_ptr(ctypes.cast(pointer, ctypes.POINTER(ffi.wasm_trap_t)))


def take_error(pointer: int) -> wasmtime.WasmtimeError:
    """Own an error, which frees it in time."""
    return wasmtime.WasmtimeError._from_ptr(
        ctypes.cast(pointer, ctypes.POINTER(ffi.wasmtime_error_t))
    )
