"""The library's C entry points, called directly: 10 times cheaper than its Python API.

How it runs a guest. A call is a future on a stack of its own; polling it runs the guest until it
returns or has burnt SLICE_FUEL, which takes about 0.1 ms. Short hooks return at the first poll,
without a turn of the loop. Long ones are polled again at each turn, so the loop goes on.

Why the entry points exist twice. On the loop they are called with the interpreter's lock held:
releasing it for a microsecond invites a busy thread (the console) to take it for milliseconds;
measured, 300 us a call instead of 1. A slice is short, so holding on is cheap. On worker threads,
where slices are long, the lock is released.

Fuel is looked at in loops and calls only, and not while host functions run. So time is looked at
as they are called: past SLICE_SECONDS the guest is made to yield at its next loop or call, and one
that goes on calling the host without either is stopped after OVERRUN_SECONDS more.

This file is longer than most: everything that touches pointers is here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from time import perf_counter, thread_time
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi  # the C library as the wheel has bound it

from proxy_core.plugin_host.abi import Contract, Import
from proxy_core.plugin_host.call import HookCall
from proxy_core.plugin_host.faults import (
    DeadlineExceeded,
    GuestTrapped,
    ModuleRefused,
    SliceOverrun,
)
from proxy_core.plugin_host.guest import Code
from proxy_core.plugin_host.host_side import HostSide
from proxy_core.plugin_host.manifest import START_FACTOR, GuestLimits
from proxy_core.plugin_host.runtime.memory import LinearMemory
from proxy_core.plugin_host.runtime.settings import (
    compile_code,
    failure_of,
    first_line,
    limit_store,
    make_config,
)

SLICE_FUEL: Final = 100_000
START_SLICE_FUEL: Final = 10_000_000
SLICE_SECONDS: Final = 0.001
OVERRUN_SECONDS: Final = 0.002
"""Of processor time: that another process had the processor is not the guest's fault."""
_CHECK_EVERY: Final = 16  # host calls; a power of two

_Ptr = ctypes.c_void_p
_Size = ctypes.c_size_t
_Words = ctypes.POINTER(ctypes.c_uint32)
_U32: Final = 0xFFFFFFFF
_WORDS_PER_VALUE: Final = 4  # wasmtime_val_raw_t is 16 bytes, little-endian

_Callback = ctypes.CFUNCTYPE(_Ptr, _Ptr, _Ptr, _Words, _Size)


class _EntryPoints:
    """The C functions, bound once, all pointers as plain integers."""

    def __init__(self, prototype: Callable[..., Any]) -> None:
        def bind(name: str, result: Any, *arguments: Any) -> Any:
            address = ctypes.cast(getattr(ffi.dll, name), _Ptr).value
            return prototype(result, *arguments)(address)

        self.call_async = bind(
            "wasmtime_func_call_async", _Ptr, _Ptr, _Ptr, _Ptr, _Size, _Ptr, _Size, _Ptr, _Ptr
        )
        self.instantiate_async = bind(
            "wasmtime_linker_instantiate_async", _Ptr, _Ptr, _Ptr, _Ptr, _Ptr, _Ptr, _Ptr
        )
        self.poll = bind("wasmtime_call_future_poll", ctypes.c_bool, _Ptr)
        self.delete_future = bind("wasmtime_call_future_delete", None, _Ptr)
        self.set_fuel = bind("wasmtime_context_set_fuel", _Ptr, _Ptr, ctypes.c_uint64)
        self.get_fuel = bind("wasmtime_context_get_fuel", _Ptr, _Ptr, _Ptr)
        self.set_slice = bind(
            "wasmtime_context_fuel_async_yield_interval", _Ptr, _Ptr, ctypes.c_uint64
        )
        self.memory_data = bind("wasmtime_memory_data", _Ptr, _Ptr, _Ptr)
        self.memory_size = bind("wasmtime_memory_data_size", _Size, _Ptr, _Ptr)
        self.trap_new = bind("wasmtime_trap_new", _Ptr, ctypes.c_char_p, _Size)
        self.define = bind(
            "wasmtime_linker_define_func_unchecked",
            *(_Ptr, _Ptr, ctypes.c_char_p, _Size, ctypes.c_char_p, _Size),
            *(_Ptr, _Callback, _Ptr, _Ptr),
        )
        self.export_get = bind(
            "wasmtime_instance_export_get",
            *(ctypes.c_bool, _Ptr, _Ptr, ctypes.c_char_p, _Size, _Ptr),
        )


def _address(pointer: Any) -> int:
    value = ctypes.cast(pointer, _Ptr).value
    if value is None:
        raise ModuleRefused("the WebAssembly library gave a null pointer")
    return value


def _take_trap(pointer: int) -> wasmtime.Trap:
    return wasmtime.Trap._from_ptr(ctypes.cast(pointer, ctypes.POINTER(ffi.wasm_trap_t)))


def _take_error(pointer: int) -> wasmtime.WasmtimeError:
    return wasmtime.WasmtimeError._from_ptr(
        ctypes.cast(pointer, ctypes.POINTER(ffi.wasmtime_error_t))
    )


class RawEngine:
    """Implements `Engine`; guests run in slices."""

    name = "slices"

    def __init__(self) -> None:
        self._engine = wasmtime.Engine(make_config())
        self._guests: dict[int, RawGuest] = {}
        self._keys = 0
        self._callbacks: dict[tuple[str, bool], Any] = {}
        self.holding = _EntryPoints(ctypes.PYFUNCTYPE)
        self.releasing = _EntryPoints(ctypes.CFUNCTYPE)

    def compile(self, data: bytes) -> Code:
        """Compile a binary module. Raises ModuleRefused."""
        return compile_code(self._engine, data)

    def instantiate(
        self, code: Code, contract: Contract, limits: GuestLimits, call: HookCall
    ) -> RawGuest:
        """Make an instance and run its start function. Raises ModuleRefused, GuestFailure."""
        self._keys += 1
        guest = RawGuest(self, self._keys, limits, call)
        self._guests[guest.key] = guest
        try:
            guest.start(code, contract)
        except BaseException:
            guest.close()
            raise
        return guest

    def open_store(self) -> wasmtime.Store:
        """A new store of this engine."""
        return wasmtime.Store(self._engine)

    def link(self, key: int, imports: tuple[Import, ...]) -> wasmtime.Linker:
        """A linker whose host functions answer to the guest with that key."""
        linker = wasmtime.Linker(self._engine)
        for item in imports:
            function = item.function
            name = function.name.encode()
            types = {"i32": wasmtime.ValType.i32, "i64": wasmtime.ValType.i64}
            declared = wasmtime.FuncType(
                [types[kind]() for kind in function.params],
                [types[function.result]()] if item.with_result else [],
            )
            error = self.holding.define(
                _address(linker.ptr()),
                *(b"env", 3, name, len(name)),
                _address(declared.ptr()),
                *(self._callback(item), key, None),
            )
            if error:
                raise ModuleRefused(first_line(_take_error(error)))
        return linker

    def forget(self, key: int) -> None:
        """Drop a guest that is closing."""
        self._guests.pop(key, None)

    def close(self) -> None:
        """Nothing runs on its own here."""

    def _callback(self, item: Import) -> Any:
        known = (item.function.name, item.with_result)
        if known not in self._callbacks:
            self._callbacks[known] = self._make_callback(item)
        return self._callbacks[known]

    def _make_callback(self, item: Import) -> Any:
        """Wrap a host function for C: (guest's key, caller, values in and out, how many)."""
        guests = self._guests
        run: Callable[..., int] = item.function.run
        stop = _WORDS_PER_VALUE * len(item.function.params)
        wide = [kind == "i64" for kind in item.function.params]
        some_wide = any(wide)
        words = 0 if not item.with_result else 1 if item.function.result == "i32" else 2

        def callback(key: int, caller: int, values: Any, count: int) -> int | None:
            guest = guests[key]
            try:
                calls = guest.host_calls + 1
                guest.host_calls = calls
                if not calls % _CHECK_EVERY:
                    guest.look_at_the_clock()
                # An empty slice with a step has one element in ctypes.
                arguments = values[0:stop:_WORDS_PER_VALUE] if stop else ()
                if some_wide:
                    upper = values[1 : stop + 1 : _WORDS_PER_VALUE]
                    arguments = [
                        low | high << 32 if is_wide else low
                        for low, high, is_wide in zip(arguments, upper, wide, strict=True)
                    ]
                result = run(guest.host, *arguments)
                if words:
                    values[0] = result & _U32
                    if words == 2:
                        values[1] = result >> 32 & _U32
            except BaseException as error:  # no exception may cross into C
                return guest.refuse_to_go_on(error)
            return None

        return _Callback(callback)


class RawGuest:
    """Implements `Guest`."""

    __slots__ = (
        "_code",
        "_context",
        "_cut",
        "_cut_at",
        "_deadline",
        "_engine",
        "_entries",
        "_error",
        "_error_at",
        "_fuel",
        "_fuel_at",
        "_fuel_cell",
        "_future",
        "_keep",
        "_limits",
        "_linker",
        "_loading_until",
        "_memory",
        "_pending",
        "_points",
        "_result",
        "_seconds_allowed",
        "_slice_began",
        "_slice_fuel",
        "_store",
        "_trap",
        "_trap_at",
        "_values_at",
        "fuel_used",
        "host",
        "host_calls",
        "key",
        "seconds",
    )

    def __init__(self, engine: RawEngine, key: int, limits: GuestLimits, call: HookCall) -> None:
        self.key = key
        self.fuel_used = 0
        self.seconds = 0.0
        self.host_calls = 0
        self._engine = engine
        self._points = engine.holding
        self._limits = limits
        self._fuel = limits.fuel * START_FACTOR
        self._slice_fuel = START_SLICE_FUEL
        self._seconds_allowed = limits.deadline_ms / 1000
        self._store = engine.open_store()
        self._context = _address(self._store._context())
        self._linker: wasmtime.Linker | None = None
        self._memory = LinearMemory(None)
        self.host = HostSide(call, self._memory)
        self._entries: dict[str, tuple[int, int]] = {}
        self._keep: list[Any] = []
        self._future: int | None = None
        self._pending: BaseException | None = None
        self._cut = False
        self._cut_at = 0.0
        self._slice_began = self._deadline = self._loading_until = 0.0
        self._trap, self._error, self._fuel_cell = _Ptr(), _Ptr(), ctypes.c_uint64()
        self._trap_at = ctypes.addressof(self._trap)
        self._error_at = ctypes.addressof(self._error)
        self._fuel_at = ctypes.addressof(self._fuel_cell)
        self._result = ffi.wasmtime_val_t()
        self._values_at = ctypes.addressof(self._result)
        self._code = ctypes.c_int32.from_address(ctypes.addressof(self._result.of))

    # Loading: on a worker thread, slices are long, the interpreter's lock is released.

    def start(self, code: Code, contract: Contract) -> None:
        """Instantiate; the start function, if any, runs here."""
        limit_store(self._store, self._limits)
        self._linker = self._engine.link(self.key, contract.imports)
        self._points.set_slice(self._context, START_SLICE_FUEL)
        self._points.set_fuel(self._context, self._fuel)
        self._deadline = self._loading_until = perf_counter() + self._seconds_allowed
        instance = ffi.wasmtime_instance_t()
        self._keep.append(instance)
        future = self._engine.releasing.instantiate_async(
            _address(self._linker.ptr()),
            self._context,
            _address(code.handle.ptr()),
            ctypes.addressof(instance),
            self._trap_at,
            self._error_at,
        )
        self._poll_to_end(future)
        if self._error.value and self._pending is None:
            # Not a trap: the module asks for what the limits do not allow.
            raise ModuleRefused(f"cannot be instantiated: {self._conclude_badly(future)}")
        self._conclude(future)
        for name, has_result in contract.entries.items():
            self._entries[name] = (self._export(instance, name, "func"), int(has_result))
        if contract.has_memory:
            self._watch_memory(self._export(instance, "memory", "memory"))

    def _export(self, instance: Any, name: str, kind: str) -> int:
        item = ffi.wasmtime_extern_t()
        raw = name.encode()
        found = self._points.export_get(
            *(self._context, ctypes.addressof(instance), raw, len(raw), ctypes.addressof(item))
        )
        if not found:
            raise ModuleRefused(f"the export {name!r} is declared but not there")
        self._keep.append(item)
        return ctypes.addressof(getattr(item.of, kind))

    def _watch_memory(self, memory: int) -> None:
        points, context = self._points, self._context

        def locate() -> tuple[int, int]:
            return points.memory_data(context, memory), points.memory_size(context, memory)

        self._memory = self.host.memory = LinearMemory(locate)

    def run(self, entry: str) -> int:
        """Call an export to its end, on a worker thread. Raises GuestFailure."""
        function, results = self._entries[entry]
        if self._loading_until:
            self._deadline = self._loading_until
        else:
            self._points.set_fuel(self._context, self._fuel)
            self._deadline = perf_counter() + self._seconds_allowed
        future = self._engine.releasing.call_async(
            *(self._context, function, None, 0, self._values_at, results),
            *(self._trap_at, self._error_at),
        )
        self._poll_to_end(future)
        code = self._conclude(future)
        return code if results else 0

    def _poll_to_end(self, future: int) -> None:
        points = self._engine.releasing
        self._future = future
        self._slice_began = began = perf_counter()
        while not points.poll(future):
            self._slice_began = perf_counter()
            if self._slice_began > self._deadline:
                self._drop_future()
                raise self._too_late()
            self._restore_slice()
        self.seconds = perf_counter() - began

    def settle(self) -> None:
        """Loading is over: hooks get their own fuel, deadline and short slices."""
        self._loading_until = 0.0
        self._fuel = self._limits.fuel
        self._slice_fuel = SLICE_FUEL
        self._points.set_slice(self._context, SLICE_FUEL)

    # Hooks: on the loop, slices are short, the interpreter's lock is kept.

    def begin(self, entry: str) -> int | None:
        """Enter the guest for at most one slice; None where it has not returned yet."""
        points = self._points
        function, results = self._entries[entry]
        context = self._context
        if self._cut:
            self._restore_slice()
        points.set_fuel(context, self._fuel)
        self._slice_began = began = perf_counter()
        self._deadline = began + self._seconds_allowed
        future = points.call_async(
            context, function, None, 0, self._values_at, results, self._trap_at, self._error_at
        )
        if points.poll(future):
            self.seconds = perf_counter() - began
            return self._conclude(future)
        self._future = future
        self.seconds = perf_counter() - began
        return None

    async def finish(self) -> int:
        """Go on, one slice at each turn of the loop. Raises GuestFailure."""
        future = self._future
        if future is None:
            raise RuntimeError("finish() without an unfinished begin()")
        points = self._points
        try:
            while True:
                await asyncio.sleep(0)
                self._slice_began = began = perf_counter()
                if began > self._deadline:
                    raise self._too_late()
                self._restore_slice()
                done = points.poll(future)
                self.seconds += perf_counter() - began
                if done:
                    return self._conclude(future)
        finally:
            self._drop_future()

    def _conclude(self, future: int) -> int:
        """Free a future that is done, and return or raise what came of it."""
        points = self._points
        self._future = None
        points.delete_future(future)
        points.get_fuel(self._context, self._fuel_at)
        self.fuel_used = self._fuel - self._fuel_cell.value
        if self._trap.value or self._error.value or self._pending is not None:
            raise self._failure()
        code: int = self._code.value
        return code

    def _conclude_badly(self, future: int) -> BaseException:
        """Free a future that is known to have failed, and return why."""
        self._future = None
        self._points.delete_future(future)
        return self._failure()

    def _failure(self) -> BaseException:
        pending, self._pending = self._pending, None
        trap, self._trap.value = self._trap.value, None
        error, self._error.value = self._error.value, None
        told = failure_of(_take_trap(trap), self._fuel) if trap else None
        if pending is not None:
            return pending
        if told is not None:
            return told
        return GuestTrapped(first_line(_take_error(error)) if error else "failed without a reason")

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"did not return within {self._limits.deadline_ms} ms; see limits.deadline_ms in its "
            "manifest"
        )

    def _drop_future(self) -> None:
        future, self._future = self._future, None
        if future is not None:
            self._points.delete_future(future)

    # Called back from within the guest.

    def look_at_the_clock(self) -> None:
        """Stop a guest that is past its deadline; make it yield where its slice is used up."""
        now = perf_counter()
        if now > self._deadline:
            raise self._too_late()
        if self._cut:
            if not self._loading_until and thread_time() - self._cut_at > OVERRUN_SECONDS:
                raise SliceOverrun(
                    "called the host too often without a loop or a call of its own in between"
                )
        elif now - self._slice_began > SLICE_SECONDS:
            self._cut = True
            self._cut_at = thread_time()
            self._points.set_slice(self._context, 1)

    def _restore_slice(self) -> None:
        if self._cut:
            self._cut = False
            self._points.set_slice(self._context, self._slice_fuel)

    def refuse_to_go_on(self, reason: BaseException) -> int | None:
        """Keep the reason, and give the trap that unwinds the guest."""
        self._pending = reason
        message = b"stopped by the host"
        trap: int | None = self._points.trap_new(message, len(message))
        return trap

    def close(self) -> None:
        """Free everything; idempotent."""
        self._drop_future()
        self._memory.forget()
        self._engine.forget(self.key)
        self._store.close()
        if self._linker is not None:
            self._linker.close()
