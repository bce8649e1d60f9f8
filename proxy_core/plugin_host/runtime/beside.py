"""Guests beside the loop: those that could keep it, run by the C entry points on threads.

A call is polled to its end on a thread, in long slices and without the interpreter's lock; between
slices its deadline is looked at. Several run at a time, so one that spins holds up few others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as OutOfTime
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from proxy_core.plugin_host.abi import Contract, Import
from proxy_core.plugin_host.files.manifest import GuestLimits
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.runtime.desk_code import DeskCode
from proxy_core.plugin_host.runtime.on_thread import OnThread
from proxy_core.plugin_host.runtime.raw import RawEngine
from proxy_core.plugin_host.runtime.raw_guest import RawGuest, give, waiting_while_loaded

THREADS: Final = 4


class BesideEngine(RawEngine):
    """Implements `Engine`; guests run on threads."""

    name = "beside"

    def __init__(self) -> None:
        super().__init__()
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="plugin-guest")

    def make_guest(self, key: int, limits: GuestLimits, call: HookCall) -> RawGuest:
        """Make a guest of this engine's kind."""
        return GuestBeside(self, key, limits, call)

    def desk_code(self, contract: Contract) -> DeskCode | None:
        """None: each call has a thread to itself."""
        return None

    def close(self) -> None:
        """Stop what is being compiled, and the threads; guests that are inside are cut short."""
        super().close()
        self.threads.shutdown(wait=False, cancel_futures=True)
        for guest in list(self._guests.values()):
            if isinstance(guest, GuestBeside):
                guest.cut_short()


@dataclass(frozen=True, slots=True)
class _Awaited:
    """A host function's answer that is under way, and where it goes."""

    answer: Future[int]
    item: Import
    results: Any
    trap: Any


class GuestBeside(RawGuest):
    """Implements `Guest`."""

    __slots__ = ("_awaited", "_on_thread")

    def __init__(self, engine: BesideEngine, key: int, limits: GuestLimits, call: HookCall) -> None:
        super().__init__(engine, key, limits, call)
        self._points = engine.releasing
        self._on_thread = OnThread(engine.threads)
        self._awaited: _Awaited | None = None

    def settle(self) -> None:
        """Loading is over: hooks get their own fuel and deadline; slices stay long."""
        self.end_loading()

    def begin(self, entry: str, *arguments: int) -> int | None:
        """Hand the call to a thread; it never ends here."""
        self._on_thread.begin(self.run, entry, arguments)
        return None

    def finish(self) -> Coroutine[Any, Any, int]:
        """Await the thread. Raises GuestFailure."""
        return self._on_thread.finish()

    def wait_for(
        self, answer: int | Coroutine[Any, Any, int], item: Import, results: Any, trap: Any
    ) -> None:
        """Have the loop find the answer; it is given on the guest's own thread."""
        if isinstance(answer, int):
            give(answer, item, results)
        elif self._on_thread.loop is None:
            answer.close()
            raise waiting_while_loaded()
        else:
            awaited = asyncio.run_coroutine_threadsafe(answer, self._on_thread.loop)
            self._awaited = _Awaited(awaited, item, results, trap)

    def has_its_answer(self) -> bool:
        """Whether the host function that the guest waits for has answered."""
        return self._awaited is None

    def between_slices(self) -> None:
        """Wait for an answer, no longer than the call may take. Raises DeadlineExceeded."""
        waiting = self._awaited
        if waiting is not None:
            try:
                number = waiting.answer.result(max(0.0, self._deadline - perf_counter()))
                give(number, waiting.item, waiting.results)
            except (OutOfTime, CancelledError):
                waiting.answer.cancel()
                raise self._too_late() from None
            except BaseException as error:
                waiting.trap[0] = self.refuse_to_go_on(error)
            finally:
                self._awaited = None
        super().between_slices()

    def cut_short(self) -> None:
        """End the call that is under way, at the end of its slice."""
        self._deadline = 0.0
        waiting = self._awaited
        if waiting is not None:
            waiting.answer.cancel()

    def close(self) -> None:
        """Cut short what is under way, then free everything; idempotent."""
        self._on_thread.close(self.cut_short, super().close)

    def free(self) -> None:
        """See `RawGuest.free`; a thread does it."""
        self._on_thread.free(super().free)
