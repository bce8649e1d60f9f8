"""Where slow work is done: worker threads, the engines that guests run in, and compiled code."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.code_cache import CodeCache
from proxy_core.plugin_host.files.manifest import GuestLimits
from proxy_core.plugin_host.guest import Engine
from proxy_core.plugin_host.short_turns import short_turns

WORKERS: Final = 2
"""Threads that compile and load; one plugin that takes its time does not keep another waiting."""

T = TypeVar("T")


class Workshop:
    """Opened as it is needed. Belongs to the core's loop, but for what says otherwise."""

    def __init__(self, cache_directory: Path | None, note: Callable[[LogLevel, str], None]) -> None:
        """Keep compiled code in `cache_directory`; `note` writes a line of the program's own."""
        self._cache_directory = cache_directory
        self._note = note
        self._loop: asyncio.AbstractEventLoop | None = None
        self._workers: ThreadPoolExecutor | None = None
        self._engine: Engine | None = None
        self._engine_beside: Engine | None = None
        """The one for guests whose limits would let them keep the loop."""
        self._cache: CodeCache | None = None

    @property
    def workers(self) -> ThreadPoolExecutor:
        """The threads."""
        if self._workers is None:
            self._loop = asyncio.get_running_loop()
            self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="plugin-loader")
        return self._workers

    @property
    def cache(self) -> CodeCache | None:
        """Compiled code on disk, where there is a place for it."""
        if self._cache is None and self._cache_directory is not None:
            self._cache = CodeCache(self._cache_directory, self.warn)
        return self._cache

    def start(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have a worker do something."""
        return short_turns.start(self.workers, work)

    async def on_worker(self, work: Callable[[], T]) -> T:
        """Have a worker do something, and wait for it."""
        return await self.start(work)

    async def engine_for(self, limits: GuestLimits) -> Engine:
        """Return the engine for guests with these limits."""
        if limits.allow_long_instructions:
            if self._engine_beside is None:
                self._engine_beside = await self.on_worker(_open_beside)
            return self._engine_beside
        if self._engine is None:
            engine, weakness = await self.on_worker(_open)
            self._engine = engine
            if weakness is not None:
                self._note(LogLevel.WARN, f"plugins run on a thread, which is slower: {weakness}")
        return self._engine

    def tell_loop(self, news: Callable[[], None]) -> None:
        """Have the loop call something. From any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody is there
                self._loop.call_soon_threadsafe(news)

    def warn(self, text: str) -> None:
        """Write a line of the program's own. From any thread."""
        self.tell_loop(lambda: self._note(LogLevel.WARN, text))

    def close(self) -> None:
        """End threads and engines; idempotent."""
        if self._workers is not None:
            self._workers.shutdown(wait=False, cancel_futures=True)
            self._workers = None
        for engine in (self._engine, self._engine_beside):
            if engine is not None:
                engine.close()
        self._engine = self._engine_beside = None
        self._cache = None


def _open() -> tuple[Engine, str | None]:
    from proxy_core.plugin_host.runtime import open_engine  # 0.2 s, only where there are plugins

    return open_engine()


def _open_beside() -> Engine:
    from proxy_core.plugin_host.runtime import open_engine_beside

    return open_engine_beside()
