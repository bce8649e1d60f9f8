"""The core on a thread and a loop of its own, beside the console's.

The thread only ever posts messages; what the console wants of the core goes through Control.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from textual.message import Message

from int3rceptor_tui.event_loop import loop_factory
from int3rceptor_tui.messages import CoreStarted, CoreStopped
from proxy_core.config import Settings
from proxy_core.control.control import Control
from proxy_core.errors import Int3rceptorError

_SWITCH_INTERVAL = 0.0005
"""Seconds between two turns of the interpreter's threads: a tenth of the default, so that a frame
being drawn holds a request up for less."""


class RunnableCore(Protocol):
    """What is needed of a core."""

    @property
    def listening(self) -> Sequence[str]:
        """`host:port` of each listener, once started."""

    @property
    def ca_path(self) -> Path:
        """The CA certificate's file."""

    async def start(self) -> None:
        """Listen; raise an error of ours where that fails."""

    def control(self) -> Control:
        """Return a handle for other threads."""

    async def wait_stopped(self) -> None:
        """Return once it has stopped; raise what stopped it."""

    async def stop(self) -> None:
        """Stop; idempotent, and harmless after a start that failed."""


MakeCore = Callable[[Settings], RunnableCore]
Companion = Callable[[RunnableCore], Awaitable[None]]


def make_core(settings: Settings) -> RunnableCore:
    """Make the real core; imported here, on its thread, after the first frame was drawn."""
    from proxy_core.core import Core

    return Core(settings)


class CoreWorker:
    """Runs one core after the other; `run` is the body of a thread worker."""

    def __init__(
        self,
        settings: Settings,
        post: Callable[[Message], object],
        companion: Companion | None = None,
        make: MakeCore = make_core,
    ) -> None:
        self._settings = settings
        self._post = post
        self._companion = companion
        self._make = make
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._lock = threading.Lock()
        self._stopping = False
        self._ended = threading.Event()
        self._ended.set()

    @property
    def running(self) -> bool:
        """Whether a core is up, or on its way up or down."""
        return not self._ended.is_set()

    def run(self) -> None:
        """Run a core until `stop`, or until it fails; post how it went."""
        self._ended.clear()
        error: str | None = None
        before = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL)
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(self._serve())
        except Int3rceptorError as failure:
            error = str(failure)
        except Exception as failure:
            summary = traceback.format_exception_only(failure)[-1].strip()
            error = f"a fault of the program: {summary}"
        finally:
            sys.setswitchinterval(before)
            with self._lock:
                self._loop = None
            self._ended.set()
        self._post(CoreStopped(error))

    async def _serve(self) -> None:
        stop = asyncio.Event()
        with self._lock:
            self._loop, self._stop = asyncio.get_running_loop(), stop
            if self._stopping:
                return
        core = self._make(self._settings)
        try:
            await core.start()
            self._post(CoreStarted(core.control()))
            await self._until_over(core, stop)
        finally:
            await core.stop()

    async def _until_over(self, core: RunnableCore, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        asked = loop.create_task(stop.wait())
        died = loop.create_task(core.wait_stopped())
        beside = loop.create_task(self._accompany(core))
        tasks = (asked, died, beside)
        try:
            await asyncio.wait((asked, died), return_when=asyncio.FIRST_COMPLETED)
            if died.done():
                died.result()
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

    async def _accompany(self, core: RunnableCore) -> None:
        if self._companion is not None:
            await self._companion(core)

    def stop(self) -> None:
        """Stop the core, and start none again; from any thread, at any time, before `run` too."""
        with self._lock:
            self._stopping = True
            if self._loop is not None and self._stop is not None:
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._stop.set)

    def wait(self, seconds: float) -> bool:
        """Wait until the thread is done; return whether it is."""
        return self._ended.wait(seconds)
