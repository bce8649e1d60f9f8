"""The library's Python API: slower and on threads, for where the C entry points do not fit.

A guest runs on a worker thread while the loop awaits it; an epoch that a watchdog moves enforces
the deadline.
The API keeps the last exception of a host function in one global, so guests run one at a time.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import math
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from time import perf_counter
from typing import Any, Final

import wasmtime

from proxy_core.plugin_host.abi import Contract, Import
from proxy_core.plugin_host.faults import (
    DeadlineExceeded,
    GuestFailure,
    GuestTrapped,
)
from proxy_core.plugin_host.files.manifest import START_FACTOR, GuestLimits
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.guest import Code, Desk
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.runtime.compiling import Compiler
from proxy_core.plugin_host.runtime.memory import LinearMemory
from proxy_core.plugin_host.runtime.on_thread import OnThread
from proxy_core.plugin_host.runtime.settings import (
    describe_settings,
    deserialize_code,
    failure_of,
    first_line,
    library_version,
    limit_store,
    make_config,
    not_instantiated,
    serialize_code,
    value_type,
)
from proxy_core.plugin_host.short_turns import short_turns

_TRAP_OF_EPOCH: Final = "INTERRUPT"
_MASKS: Final = {"i32": 0xFFFFFFFF, "i64": 0xFFFFFFFFFFFFFFFF}


class Watchdog:
    """Moves an engine's epoch when the one guest that is inside has had its time."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._change = threading.Condition()
        self._inside: OfficialGuest | None = None
        self._until = self._looks_at = math.inf
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="plugin-epoch", daemon=True)
        self._thread.start()

    def admit(self, guest: OfficialGuest, store: wasmtime.Store, until: float) -> float:
        """Watch a guest that goes inside; return until when, a moment of `perf_counter`."""
        with self._change:
            store.set_epoch_deadline(1)
            self._inside = guest
            self._until = 0.0 if self._closed or guest.is_cut else until
            if self._closed:  # nobody looks any more
                self._engine.increment_epoch()
            elif self._until < self._looks_at:
                self._change.notify()
            return self._until

    def release(self) -> None:
        """Nobody is inside."""
        with self._change:
            self._inside = None
            self._until = math.inf
            if self._closed:
                self._change.notify()

    def cut_short(self, guest: OfficialGuest) -> None:
        """End a guest's call now, where it is inside."""
        with self._change:
            guest.is_cut = True
            if self._inside is guest:
                self._until = 0.0
                self._change.notify()

    def close(self) -> None:
        """End whoever is inside, and whoever comes yet; then the thread."""
        with self._change:
            self._closed = True
            self._until = 0.0
            self._change.notify()
            alone = self._inside is None
        if alone:
            self._thread.join()

    def _watch(self) -> None:
        with self._change:
            while not self._closed or self._inside is not None:
                left = self._until - perf_counter()
                if left <= 0:
                    self._engine.increment_epoch()
                    self._until = math.inf  # once is enough; the next guest has an epoch of its own
                    left = math.inf
                self._looks_at = self._until
                self._change.wait(None if left == math.inf else left)


class OfficialEngine:
    """Implements `Engine`; guests run on one thread, one at a time."""

    name = "threads"

    def __init__(self) -> None:
        self.library = library_version()
        self.settings = describe_settings() + " epoch_interruption=True"
        config = make_config()
        config.epoch_interruption = True
        self.engine = wasmtime.Engine(config)
        self._compiler = Compiler(self.engine, epochs=True)
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="plugin-guest")
        self.one_at_a_time = threading.Lock()
        self.keys = itertools.count(1)
        self.watchdog = Watchdog(self.engine)

    def compile(self, data: bytes) -> Code:
        """Compile a binary module. Raises ModuleRefused."""
        return self._compiler.compile(data)

    def serialize(self, code: Code) -> bytes:
        """Return compiled code as bytes."""
        return serialize_code(code)

    def deserialize(self, blob: bytes, start: int = 0) -> Code:
        """Take what `serialize` gave, from `start` on. Raises ModuleRefused."""
        return deserialize_code(self.engine, blob, start)

    def instantiate(
        self, code: Code, contract: Contract, limits: GuestLimits, call: HookCall
    ) -> OfficialGuest:
        """Make an instance and run its start function. Raises ModuleRefused, GuestFailure."""
        guest = OfficialGuest(self, limits, call)
        try:
            guest.start(code, contract)
        except BaseException:
            guest.close()
            raise
        return guest

    def close(self) -> None:
        """Stop the threads; a guest that is inside is cut short, and so is a compilation."""
        self._compiler.close()
        self.thread.shutdown(wait=False, cancel_futures=True)
        self.watchdog.close()


class OfficialGuest:
    """Implements `Guest`."""

    desk: Desk | None = None

    def __init__(self, engine: OfficialEngine, limits: GuestLimits, call: HookCall) -> None:
        self.fuel_used = 0
        self.seconds = 0.0
        self.is_cut = False
        self._engine = engine
        self._limits = limits
        self._fuel = limits.fuel * START_FACTOR
        self._seconds_allowed = limits.deadline_ms / 1000
        self._loading_until: float | None = None
        self._deadline = 0.0
        self._store = wasmtime.Store(engine.engine)
        self._key = next(engine.keys)
        self._stores = call.belongings.stores
        self._stores.add(self._key)
        self._memory = LinearMemory(None)
        self.host = HostSide(call, self._memory, self._enter_again)
        self._on_thread = OnThread(engine.thread)
        self._entries: dict[str, wasmtime.Func] = {}
        self._awaited: Future[int] | None = None

    def start(self, code: Code, contract: Contract) -> None:
        """Instantiate; the start function, if any, runs here."""
        limit_store(self._store, self._limits)
        self._store.set_fuel(self._fuel)
        self._loading_until = perf_counter() + self._seconds_allowed
        linker = wasmtime.Linker(self._engine.engine)
        for item in contract.imports:
            self._define(linker, item)
        instance = self._enter(lambda: linker.instantiate(self._store, code.handle), loading=True)
        exports = instance.exports(self._store)
        for name in contract.entries:
            self._entries[name] = exports[name]
        if contract.has_memory:
            self._watch_memory(exports["memory"])

    def _watch_memory(self, memory: object) -> None:
        if not isinstance(memory, wasmtime.Memory):
            return

        def locate() -> tuple[int, int]:
            size = memory.data_len(self._store)
            return ctypes.addressof(memory.data_ptr(self._store).contents), size

        self._memory = self.host.memory = LinearMemory(locate)

    def _define(self, linker: wasmtime.Linker, item: Import) -> None:
        function = item.function
        masks = [_MASKS.get(kind) for kind in function.params]
        mask = _MASKS[item.results[0]] if item.results else 0
        sign = (mask >> 1) + 1

        def callback(caller: wasmtime.Caller, *arguments: int) -> int | None:
            if not self._entries:  # its start function calls, and the instance is not ours yet
                self._watch_memory(caller.get("memory"))
            if perf_counter() > self._deadline:
                raise self._too_late()
            unsigned = (n if m is None else n & m for n, m in zip(arguments, masks, strict=True))
            result = function.run(self.host, *unsigned)
            if not isinstance(result, int):
                result = self._wait(result)
            return ((result & mask) ^ sign) - sign if mask else None

        declared = wasmtime.FuncType(
            [value_type(kind) for kind in function.params],
            [value_type(kind) for kind in item.results],
        )
        linker.define_func(function.module, function.name, declared, callback, access_caller=True)

    def _wait(self, answer: Coroutine[Any, Any, int]) -> int:
        """Await an answer on the loop, no longer than the call may take."""
        if self._on_thread.loop is None:
            answer.close()
            raise GuestTrapped("called a function that waits while it was loaded")
        waiting = self._awaited = asyncio.run_coroutine_threadsafe(answer, self._on_thread.loop)
        try:
            return waiting.result(max(0.0, self._deadline - perf_counter()))
        except (TimeoutError, CancelledError):
            waiting.cancel()
            raise self._too_late() from None
        finally:
            self._awaited = None

    def run(self, entry: str, *arguments: int) -> int:
        """Call an export to its end. Raises GuestFailure."""
        if self._loading_until is None:
            self._store.set_fuel(self._fuel)
        result = self._enter(lambda: self._entries[entry](self._store, *arguments))
        return 0 if result is None else int(result)

    def _enter_again(self, entry: str, *arguments: int) -> int:
        """Call an export while a host function runs. Raises GuestFailure."""
        try:
            result = self._entries[entry](self._store, *arguments)
        except wasmtime.Trap as trap:
            raise self._told(trap) from trap
        return 0 if result is None else int(result)

    def _enter(self, work: Callable[[], Any], loading: bool = False) -> Any:
        def inside() -> Any:
            began = perf_counter()
            allowed = self._loading_until or began + self._seconds_allowed
            self._deadline = self._engine.watchdog.admit(self, self._store, allowed)
            try:
                return work()
            finally:
                self._engine.watchdog.release()
                self.seconds = perf_counter() - began
                self.fuel_used = self._fuel - self._store.get_fuel()

        try:
            with self._engine.one_at_a_time, short_turns:
                return inside()
        except wasmtime.Trap as trap:
            raise self._told(trap) from trap
        except wasmtime.WasmtimeError as error:
            if loading:
                raise not_instantiated(first_line(error)) from error
            raise GuestTrapped(first_line(error)) from error

    def _told(self, trap: wasmtime.Trap) -> GuestFailure:
        code = trap.trap_code
        if code is not None and code.name == _TRAP_OF_EPOCH:
            return self._too_late()
        return failure_of(trap, self._fuel)

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"did not return within {self._limits.deadline_ms} ms; see limits.deadline_ms in its "
            "manifest"
        )

    def settle(self) -> None:
        """Loading is over."""
        self._loading_until = None
        self._fuel = self._limits.fuel

    def begin(self, entry: str, *arguments: int) -> int | None:
        """Hand the call to the thread; it never ends here."""
        self._on_thread.begin(self.run, entry, arguments)
        return None

    def finish(self) -> Coroutine[Any, Any, int]:
        """Await the thread. Raises GuestFailure."""
        return self._on_thread.finish()

    def close(self) -> None:
        """Cut short what is under way, then free everything; idempotent."""
        self._on_thread.close(self._cut_short, self._let_go)

    def _cut_short(self) -> None:
        self._engine.watchdog.cut_short(self)
        self._deadline = 0.0  # host functions refuse it too
        awaited = self._awaited
        if awaited is not None:
            awaited.cancel()

    def _let_go(self) -> None:
        self._memory.forget()
        self.host.forget()
        self._stores.discard(self._key)
        self._on_thread.free(self._store.close)
