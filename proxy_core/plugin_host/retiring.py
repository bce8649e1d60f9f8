"""Generations on their way out: they serve who waits, take their leave, and close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy_core.plugin_host.generation import Generation


class Retirement:
    """Those that have not closed yet. Used on the core's loop only."""

    def __init__(self) -> None:
        self._closing: set[asyncio.Future[None]] = set()
        self._leaving: set[asyncio.Task[None]] = set()

    def take(self, generation: Generation, on_closed: Callable[[], None] | None = None) -> None:
        """Let a generation end; `on_closed` is called when it has."""
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closing.add(closed)
        closed.add_done_callback(self._closing.discard)

        def end() -> None:
            if not closed.done():
                closed.set_result(None)
            if on_closed is not None:
                on_closed()

        if generation.driver is None:
            generation.retire(end)
            return
        leaving = asyncio.get_running_loop().create_task(_leave(generation, end))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def stop(self, seconds: float) -> None:
        """Wait for all of them, for so long, and then no more."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=seconds)
        for leaving in self._leaving:
            leaving.cancel()


async def _leave(generation: Generation, on_closed: Callable[[], None]) -> None:
    try:
        await generation.take_leave()
    finally:
        generation.retire(on_closed)
