"""The library's C entry points, called directly: 10 times cheaper than its Python API.

Why the entry points exist twice. On the loop they are called with the interpreter's lock held:
releasing it for a microsecond invites a busy thread (the console) to take it for milliseconds;
measured, 300 us a call instead of 1. A slice is short, so holding on is cheap. On worker threads,
where slices are long, the lock is released.

Here: the engine, and host functions as C sees them. A guest's calls are in `raw_guest`.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

import wasmtime

from proxy_core.plugin_host.abi import Contract, Import
from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.files.manifest import GuestLimits
from proxy_core.plugin_host.guest import Code
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.runtime.compiling import Compiler
from proxy_core.plugin_host.runtime.desk_code import DeskCode
from proxy_core.plugin_host.runtime.desk_text import Shape
from proxy_core.plugin_host.runtime.entry_points import (
    Callback,
    EntryPoints,
    IsDone,
    WaitingCallback,
    address_of,
    take_error,
)
from proxy_core.plugin_host.runtime.memory import WRITABLE, view_of
from proxy_core.plugin_host.runtime.raw_guest import CHECK_EVERY, RawGuest
from proxy_core.plugin_host.runtime.settings import (
    describe_settings,
    deserialize_code,
    first_line,
    library_version,
    make_config,
    serialize_code,
    value_type,
)

_U32: Final = 0xFFFFFFFF
_U64: Final = 0xFFFFFFFFFFFFFFFF
_VALUE_BYTES: Final = 16  # of a wasmtime_val_raw_t, little-endian
_IN_VALUE: Final = {"i32": "I12x", "f32": "I12x", "i64": "Q8x", "f64": "Q8x"}
_VIEWS: Final = 64


class RawEngine:
    """Implements `Engine`; guests run in slices."""

    name = "slices"

    def __init__(self) -> None:
        self.library = library_version()
        self.settings = describe_settings()
        self._engine = wasmtime.Engine(make_config())
        self._compiler = Compiler(self._engine, epochs=False)
        self._guests: dict[int, RawGuest] = {}
        self._keys = itertools.count(1)  # asked by several workers
        self._callbacks: dict[Import, Any] = {}
        self._desks: dict[Shape, DeskCode] = {}
        self._continue = self._make_continuation()
        self.holding = EntryPoints(ctypes.PYFUNCTYPE)
        self.releasing = EntryPoints(ctypes.CFUNCTYPE)

    def compile(self, data: bytes) -> Code:
        """Compile a binary module. Raises ModuleRefused."""
        return self._compiler.compile(data)

    def serialize(self, code: Code) -> bytes:
        """Return compiled code as bytes."""
        return serialize_code(code)

    def deserialize(self, blob: bytes, start: int = 0) -> Code:
        """Take what `serialize` gave, from `start` on. Raises ModuleRefused."""
        return deserialize_code(self._engine, blob, start)

    def instantiate(
        self, code: Code, contract: Contract, limits: GuestLimits, call: HookCall
    ) -> RawGuest:
        """Make an instance and run its start function. Raises ModuleRefused, GuestFailure."""
        guest = self.make_guest(next(self._keys), limits, call)
        self._guests[guest.key] = guest
        try:
            guest.start(code, contract)
        except BaseException:
            guest.close()
            raise
        return guest

    def make_guest(self, key: int, limits: GuestLimits, call: HookCall) -> RawGuest:
        """Make a guest of this engine's kind."""
        return RawGuest(self, key, limits, call)

    def open_store(self) -> wasmtime.Store:
        """A new store of this engine."""
        return wasmtime.Store(self._engine)

    def link(self, key: int, imports: tuple[Import, ...]) -> wasmtime.Linker:
        """A linker whose host functions answer to the guest with that key."""
        linker = wasmtime.Linker(self._engine)
        linker.allow_shadowing = True  # for what is noted on a desk
        for item in imports:
            function = item.function
            module, name = function.module.encode(), function.name.encode()
            declared = wasmtime.FuncType(
                [value_type(kind) for kind in function.params],
                [value_type(kind) for kind in item.results],
            )
            define = self.holding.define_waiting if function.waits else self.holding.define
            error = define(
                address_of(linker.ptr()),
                *(module, len(module), name, len(name)),
                address_of(declared.ptr()),
                *(self._callback(item), key, None),
            )
            if error:
                raise ModuleRefused(first_line(take_error(error)))
        return linker

    def desk_code(self, contract: Contract) -> DeskCode | None:
        """What makes a desk for guests of that contract, or None."""
        shape = Shape.of(contract)
        if shape is None:
            return None
        code = self._desks.get(shape)
        if code is None:
            code = self._desks[shape] = DeskCode.compile(self._engine, shape)
        return code

    def forget(self, key: int) -> None:
        """Drop a guest that is closing."""
        self._guests.pop(key, None)

    def close(self) -> None:
        """Stop what is being compiled."""
        self._compiler.close()

    def _callback(self, item: Import) -> Any:
        if item not in self._callbacks:
            make = self._make_waiting_callback if item.function.waits else self._make_callback
            self._callbacks[item] = make(item)
        return self._callbacks[item]

    def _make_callback(self, item: Import) -> Any:
        """Wrap a host function for C: (guest's key, caller, values in and out, how many)."""
        guests = self._guests
        run: Callable[..., Any] = item.function.run
        params, results = item.function.params, item.results
        size = _VALUE_BYTES * max(len(params), len(results))
        unpack = Struct("<" + "".join(_IN_VALUE[kind] for kind in params)).unpack_from
        narrow = results == ("i32",)
        pack = Struct("<I" if narrow else "<Q").pack_into if results else None
        mask = _U32 if narrow else _U64
        views: dict[int, memoryview] = {}

        def callback(key: int, caller: int, at: int, count: int) -> int | None:
            guest = guests[key]
            try:
                guest.host_calls = calls = guest.host_calls + 1
                if not calls % CHECK_EVERY:
                    guest.look_around(caller)
                # The values are on the guest's stack: time and again in the same places.
                view = views.get(at)
                if view is None:
                    if len(views) >= _VIEWS:
                        views.clear()
                    view = views[at] = view_of(at, size, WRITABLE)
                result = run(guest.host, *unpack(view))
                if pack is not None:
                    pack(view, 0, result & mask)
            except BaseException as error:  # no exception may cross into C
                return guest.refuse_to_go_on(error)
            return None

        return Callback(callback)

    def _make_waiting_callback(self, item: Import) -> Any:
        """Wrap a host function whose answer takes time: the guest's stack is left as it is.

        It answers with a number, or with a coroutine for one; then the guest's future is not
        done when it is polled, until the coroutine is.
        """
        guests = self._guests
        run = item.function.run
        masks = [0xFFFFFFFFFFFFFFFF if kind == "i64" else _U32 for kind in item.function.params]

        def callback(
            key: int,
            caller: int,
            arguments: Any,
            count: int,
            results: Any,
            result_count: int,
            trap: Any,
            continuation: Any,
        ) -> None:
            guest = guests[key]
            continuation[0].is_done = self._continue
            continuation[0].env = key
            try:
                guest.look_at_the_clock()
                # The narrower number shares its first bytes with the wider one.
                numbers = [
                    (arguments[at].of.i64 if mask > _U32 else arguments[at].of.i32) & mask
                    for at, mask in enumerate(masks)
                ]
                guest.wait_for(run(guest.host, *numbers), item, results, trap)
            except BaseException as error:  # no exception may cross into C
                trap[0] = guest.refuse_to_go_on(error)

        return WaitingCallback(callback)

    def _make_continuation(self) -> Any:
        guests = self._guests

        def is_done(key: int) -> bool:
            return guests[key].has_its_answer()

        return IsDone(is_done)
