"""One guest, run in slices through the library's C entry points.

A call is a future on a stack of its own; polling it runs the guest until it returns or has burnt
SLICE_FUEL, which takes about 0.1 ms. Short hooks return at the first poll, without a turn of the
loop. Long ones are polled again at each turn, so the loop goes on. A guest that waits for a host
function is not polled before that has its answer.

Fuel is looked at in loops and calls only, and not while host functions run. So time is looked at
as they are called: past SLICE_SECONDS the guest is made to yield at its next loop or call, and one
that goes on calling the host without either is stopped after OVERRUN_SECONDS more.

Host functions may call back into the guest (`HostSide.enter`); such a call is made at once.

This file is longer than most: what belongs to one call cannot be told apart.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Coroutine
from time import perf_counter, thread_time
from typing import Any, Final, Protocol

import wasmtime
from wasmtime import _ffi as ffi

from proxy_core.plugin_host import guest
from proxy_core.plugin_host.abi import Contract, Import, Signature
from proxy_core.plugin_host.faults import (
    DeadlineExceeded,
    GuestTrapped,
    SliceOverrun,
)
from proxy_core.plugin_host.files.manifest import START_FACTOR, GuestLimits
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.guest import Code
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.runtime.desk import Desk
from proxy_core.plugin_host.runtime.desk_code import DeskCode
from proxy_core.plugin_host.runtime.desk_text import MOST_FLOWS, every
from proxy_core.plugin_host.runtime.entries import Entry, Values, put_number
from proxy_core.plugin_host.runtime.entry_points import Fuel, Ptr, take_error, take_trap
from proxy_core.plugin_host.runtime.guest_store import GuestStore, Linking
from proxy_core.plugin_host.runtime.memory import WRITABLE, LinearMemory, view_of
from proxy_core.plugin_host.runtime.settings import failure_of, first_line, not_instantiated
from proxy_core.plugin_host.short_turns import short_turns

SLICE_FUEL: Final = 100_000
START_SLICE_FUEL: Final = 10_000_000
CHECK_EVERY: Final = 16
"""Host calls between two looks at the clock, where they are short ones; a power of two."""
SLICE_SECONDS: Final = 0.001
OVERRUN_SECONDS: Final = 0.0015
"""Of processor time: that another process had the processor is not the guest's fault."""
NESTED_SLICES: Final = 20
"""How long a call from within a host function may take, which cannot leave the loop to others."""


class Home(Linking, Protocol):
    """What a guest needs of its engine."""

    def desk_code(self, contract: Contract) -> DeskCode | None:
        """What makes a desk for guests of that contract, or None."""

    def forget(self, key: int) -> None:
        """Drop a guest that is closing."""


class RawGuest:
    """Implements `Guest`."""

    __slots__ = (
        "_answer",
        "_at",
        "_cell",
        "_cut",
        "_cut_at",
        "_deadline",
        "_engine",
        "_entries",
        "_error",
        "_fuel",
        "_full",
        "_future",
        "_left",
        "_left_at",
        "_limits",
        "_loading_until",
        "_memory",
        "_pending",
        "_points",
        "_seconds_allowed",
        "_slice_began",
        "_slice_fuel",
        "_store",
        "_stores",
        "_trap",
        "_values",
        "desk",
        "fuel_used",
        "host",
        "host_calls",
        "key",
        "seconds",
    )

    def __init__(self, engine: Home, key: int, limits: GuestLimits, call: HookCall) -> None:
        self.key = key
        self.fuel_used = 0
        self.seconds = 0.0
        self.host_calls = -1
        self._engine = engine
        self._points = engine.holding
        self._limits = limits
        self._fuel = limits.fuel * START_FACTOR
        self._full = Fuel(self._fuel)
        self._slice_fuel = START_SLICE_FUEL
        self._seconds_allowed = limits.deadline_ms / 1000
        self._store = GuestStore(engine)
        self._at = self._store.at
        self._stores = call.belongings.stores
        self._stores.add(key)
        self._memory = LinearMemory(None)
        self.host = HostSide(call, self._memory, self._enter)
        self.desk: guest.Desk | None = None
        self._entries: dict[str, Entry] = {}
        self._future: int | None = None
        self._answer: asyncio.Task[None] | None = None
        self._pending: BaseException | None = None
        self._cut = False
        self._cut_at = 0.0
        self._slice_began = self._deadline = self._loading_until = 0.0
        self._trap, self._error, self._left = Ptr(), Ptr(), Fuel()
        self._left_at = Ptr(ctypes.addressof(self._left))
        self._values = Values()
        self._cell = self._values.cells[()]

    # Loading: on a worker thread, slices are long, the interpreter's lock is released.

    def start(self, code: Code, contract: Contract) -> None:
        """Instantiate; the start function, if any, runs here."""
        store = self._store
        desk = self._engine.desk_code(contract)
        store.set_up(self.key, contract.imports, self._limits, desk=desk is not None)
        self._points.set_slice(store.context, START_SLICE_FUEL)
        self._points.set_fuel(self._at, self._full)
        self._deadline = self._loading_until = perf_counter() + self._seconds_allowed
        front = None if desk is None else self._set_up_front(desk)
        instance = self._instantiate(code.handle)
        for name, signature in contract.entries.items():
            self._add_entry(instance, name, signature)
        if contract.has_memory:
            self._watch_memory(store.export(instance, "memory"))
        if desk is not None:
            self._set_up_back(desk, front, instance)

    def _instantiate(self, module: wasmtime.Module) -> Any:
        trap_at, error_at = ctypes.addressof(self._trap), ctypes.addressof(self._error)
        instance, future = self._store.begin_instance(module, trap_at, error_at)
        self._poll_to_end(future)
        if self._error.value and self._pending is None:
            # Not a trap: the module asks for what the limits do not allow.
            raise not_instantiated(self._conclude_badly(future))
        self._conclude(future)
        return instance

    def _add_entry(self, instance: Any, name: str, signature: Signature) -> None:
        function = ctypes.addressof(self._store.export(instance, name).of.func)
        entry = self._entries[name] = Entry(function, signature, self._values)
        entry.prepared = entry.arguments(self._at, self._values, self._trap, self._error)

    def _watch_memory(self, item: Any) -> None:
        locate = self._store.locator(item)
        self._memory = self.host.memory = LinearMemory(locate, self._look_soon)

    def _set_up_front(self, desk: DeskCode) -> Any:
        """Have the guest import the front's functions in place of those that are noted."""
        front = self._instantiate(desk.front)
        for item in desk.shape.noted:
            self._store.offer(item.function.module, item.function.name, front)
        return front

    def _set_up_back(self, desk: DeskCode, front: Any, instance: Any) -> None:
        store, shape = self._store, desk.shape
        for name in ("memory", *(hook.export for hook in shape.hooks)):
            store.offer("guest", name, instance)
        for name in ("desk", "noters"):
            store.offer("desk", name, front)
        back = self._instantiate(desk.back)
        for hook in shape.hooks:
            self._add_entry(back, every(hook), ((), ("i32",)))
        view = view_of(*store.locator(store.export(front, "desk"))(), WRITABLE)
        most = MOST_FLOWS if self._limits.fuel >= 2 * SLICE_FUEL else 0
        self.desk = Desk(self, view, shape, most)

    def run(self, entry: str, *arguments: int) -> int:
        """Call an export to its end, on a worker thread. Raises GuestFailure."""
        export = self._entries[entry]
        if self._loading_until:
            self._deadline = self._loading_until
        else:
            self._points.set_fuel(self._at, self._full)
            self._deadline = perf_counter() + self._seconds_allowed
        self._values.put(export.kinds, arguments)
        self._cell = export.cell
        self._poll_to_end(self._engine.releasing.call_async(*export.prepared))
        return self._conclude(self._future)

    def _poll_to_end(self, future: int) -> None:
        points = self._engine.releasing
        self._future = future
        self._slice_began = began = perf_counter()
        with short_turns:
            while not points.poll(future):
                try:
                    self.between_slices()
                except BaseException:
                    self._drop_future()
                    raise
        self.seconds = perf_counter() - began

    def between_slices(self) -> None:
        """Look at the deadline, and begin another slice. Raises DeadlineExceeded."""
        self._slice_began = perf_counter()
        if self._slice_began > self._deadline:
            raise self._too_late()
        self._restore_slice()

    def end_loading(self) -> None:
        """Hooks get their own fuel and deadline."""
        self._loading_until = 0.0
        self._fuel = self._limits.fuel
        self._full = Fuel(self._fuel)

    def settle(self) -> None:
        """Loading is over: hooks get their own fuel, deadline and short slices."""
        self.end_loading()
        self._slice_fuel = SLICE_FUEL
        self._points.set_slice(self._store.context, SLICE_FUEL)

    # Hooks: on the loop, slices are short, the interpreter's lock is kept.

    def begin(self, entry: str, *arguments: int) -> int | None:
        """Enter the guest for at most one slice; None where it has not returned yet."""
        if self._cut:
            self._restore_slice()
        points = self._points
        export = self._entries[entry]
        if arguments:
            self._values.put(export.kinds, arguments)
        self._cell = cell = export.cell
        points.set_fuel(self._at, self._full)
        self._slice_began = began = perf_counter()
        self._deadline = began + self._seconds_allowed
        future = points.call_async(*export.prepared)
        done = points.poll(future)
        self.seconds = perf_counter() - began
        if not done:
            self._future = future
            return None
        # What `_conclude` does, which is not worth a call of its own here.
        points.delete_future(future)
        points.get_fuel(self._at, self._left_at)
        self.fuel_used = self._fuel - self._left.value
        if self._trap.value or self._error.value or self._pending is not None:
            raise self._failure()
        result: int = cell.value
        return result

    def begin_anew(self) -> None:
        """Give what is under way the whole of an entry's fuel and time, from now on."""
        points = self._points
        points.get_fuel(self._at, self._left_at)
        self.fuel_used = self._fuel - self._left.value
        points.set_fuel(self._at, self._full)
        self._deadline = perf_counter() + self._seconds_allowed

    async def finish(self) -> int:
        """Go on, one slice at each turn of the loop. Raises GuestFailure."""
        future = self._future
        if future is None:
            raise RuntimeError("finish() without an unfinished begin()")
        points = self._points
        try:
            while True:
                answer = self._answer
                if answer is None:
                    await asyncio.sleep(0)
                    short_turns.let_others_in()
                elif not answer.done():
                    waited = perf_counter()
                    await asyncio.wait((answer,), timeout=max(0.0, self._deadline - waited))
                    self.seconds += perf_counter() - waited
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

    def _conclude(self, future: int | None) -> int:
        """Free a future that is done, and return or raise what came of it."""
        points = self._points
        self._future = None
        points.delete_future(future)
        points.get_fuel(self._at, self._left_at)
        self.fuel_used = self._fuel - self._left.value
        if self._trap.value or self._error.value or self._pending is not None:
            raise self._failure()
        result: int = self._cell.value
        return result

    def _conclude_badly(self, future: int) -> BaseException:
        """Free a future that is known to have failed, and return why."""
        self._future = None
        self._points.delete_future(future)
        return self._failure()

    def _failure(self) -> BaseException:
        pending, self._pending = self._pending, None
        trap, self._trap.value = self._trap.value, None
        error, self._error.value = self._error.value, None
        told = failure_of(take_trap(trap), self._fuel) if trap else None
        if error:
            told = told or GuestTrapped(first_line(take_error(error)))
        return pending or told or GuestTrapped("failed without a reason")

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(
            f"did not return within {self._limits.deadline_ms} ms; see limits.deadline_ms in its "
            "manifest"
        )

    def _drop_future(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.cancel()
        future, self._future = self._future, None
        if future is not None:
            self._points.delete_future(future)

    # Called back from within the guest.

    def _enter(self, entry: str, *arguments: int) -> int:
        """Call an export while a host function runs; the guest's clock and fuel go on.

        Raises GuestFailure, which the host function passes on, and KeyError.
        """
        export = self._entries[entry]
        values, trap, error = Values(), Ptr(), Ptr()
        values.put(export.kinds, arguments)
        points = self._points
        future = points.call_async(*export.arguments(self._at, values, trap, error))
        try:
            for _ in range(NESTED_SLICES):
                if points.poll(future):
                    break
                if perf_counter() > self._deadline:
                    raise self._too_late()
            else:
                raise SliceOverrun(f"took too long in {entry!r}, called while the host waited")
        finally:
            points.delete_future(future)
        pending, self._pending = self._pending, None
        told = failure_of(take_trap(trap.value), self._fuel) if trap.value else None
        if error.value:
            told = told or GuestTrapped(first_line(take_error(error.value)))
        if pending is not None:
            raise pending
        if told is not None:
            raise told
        result: int = values.cells[export.result_kinds].value
        return result

    def look_around(self, caller: int) -> None:
        """Look at the clock, and at the first call of all for the guest's memory."""
        if not self._entries:
            # Its start function calls: the instance is not ours yet, and `caller` knows it.
            item = self._store.export_of_caller(caller, "memory")
            if item is not None and item.kind == ffi.WASMTIME_EXTERN_MEMORY.value:
                self._watch_memory(item)
        self.look_at_the_clock()

    def _look_soon(self) -> None:
        """Have the next host call look at the clock: this one may take as long as many."""
        self.host_calls |= CHECK_EVERY - 1

    def look_at_the_clock(self) -> None:
        """Stop a guest that is past its deadline; make it yield where its slice is used up."""
        now = perf_counter()
        if now > self._deadline:
            raise self._too_late()
        if self._cut:
            on_loop = self._slice_fuel == SLICE_FUEL
            if on_loop and thread_time() - self._cut_at > OVERRUN_SECONDS:
                raise SliceOverrun(
                    "called the host too often without a loop or a call of its own in between"
                )
        elif now - self._slice_began > SLICE_SECONDS:
            self._cut = True
            self._cut_at = thread_time()
            self._points.set_slice(self._store.context, 1)

    def _restore_slice(self) -> None:
        if self._cut:
            self._cut = False
            self._points.set_slice(self._store.context, self._slice_fuel)

    def refuse_to_go_on(self, reason: BaseException) -> int | None:
        """Keep the reason, and give the trap that unwinds the guest."""
        self._pending = reason
        message = b"stopped by the host"
        trap: int | None = self._points.trap_new(message, len(message))
        return trap

    def wait_for(
        self, answer: int | Coroutine[Any, Any, int], item: Import, results: Any, trap: Any
    ) -> None:
        """Keep the guest where it is until the host function's answer is there, and give it."""
        if isinstance(answer, int):
            give(answer, item, results)
            return

        async def answered() -> None:
            try:
                give(await answer, item, results)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                trap[0] = self.refuse_to_go_on(error)

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            answer.close()
            raise waiting_while_loaded() from None
        self._answer = loop.create_task(answered())

    def has_its_answer(self) -> bool:
        """Whether the host function that the guest waits for has answered."""
        answer = self._answer
        if answer is None:
            return True
        if not answer.done():
            return False
        self._answer = None
        return True

    def close(self) -> None:
        """Free everything; idempotent."""
        self._drop_future()
        desk, self.desk = self.desk, None
        if desk is not None:
            desk.forget()
        self._memory.forget()
        self.host.forget()
        self._engine.forget(self.key)
        self._stores.discard(self.key)
        self.free()

    def free(self) -> None:
        """Give back what the library keeps of it, memory above all; idempotent."""
        self._store.close()


def give(number: int, item: Import, results: Any) -> None:
    """Put a host function's answer where the guest finds it."""
    for kind in item.results:  # none or one
        put_number(results[0], kind, number)


def waiting_while_loaded() -> GuestTrapped:
    """Say that nobody can wait for an answer where no loop runs."""
    return GuestTrapped("called a function that waits while it was loaded")
