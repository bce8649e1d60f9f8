"""A guest whose calls run on the threads of its engine: one at a time, awaited on the loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class OnThread:
    """What a guest has others do for it; it is a guest's alone."""

    __slots__ = ("_freed", "_threads", "_under_way", "loop")

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where the last call is awaited; None where nobody could."""
        self._threads = threads
        self._under_way: Future[int] | None = None
        self._freed = False

    def begin(self, run: Callable[..., int], entry: str, arguments: tuple[int, ...]) -> None:
        """Hand a call to a thread."""
        with contextlib.suppress(RuntimeError):  # nobody can wait where no loop runs
            self.loop = asyncio.get_running_loop()
        self._under_way = self._threads.submit(run, entry, *arguments)

    async def finish(self) -> int:
        """Await the call. Raises GuestFailure."""
        if self._under_way is None:
            raise RuntimeError("finish() without an unfinished begin()")
        future = self._under_way
        try:
            return await asyncio.wrap_future(future)
        finally:
            if future.done():
                self._under_way = None

    def close(self, cut_short: Callable[[], None], after: Callable[[], None]) -> None:
        """Do `after` once no call is under way; `cut_short` ends one that is."""
        call = self._under_way
        if call is None or call.cancel() or call.done():
            after()
            return
        call.add_done_callback(lambda _: after())
        cut_short()

    def free(self, free: Callable[[], None]) -> None:
        """Give back a guest's memory, once: the system takes 0.05 ms a mebibyte to do so."""
        if self._freed:  # two threads at once would free it twice
            return
        self._freed = True
        try:
            freeing = self._threads.submit(free)
        except RuntimeError:  # the engine is closed
            free()
            return
        # One that waits behind other work when the engine is closed is not done there any more.
        freeing.add_done_callback(lambda done: free() if done.cancelled() else None)
