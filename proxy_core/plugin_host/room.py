"""The room in which a driver works, made of a generation and what belongs to its plugin."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from proxy_core.errors import UpstreamError
from proxy_core.exchange.fetch import Fetched
from proxy_core.model.edits import OpenBody
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
from proxy_core.plugin_host.belongings.belongings import Fetches
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.dialects import dialect_of
from proxy_core.plugin_host.faults import GuestFailure
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.generation import Generation
from proxy_core.plugin_host.guest import Guest
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.logs import PluginLog

T = TypeVar("T")
Opens = Callable[[Hook, Flow], OpenBody | None]


def furnish(
    generation: Generation,
    log: PluginLog,
    complain: Callable[[GuestFailure], None],
    open_body: Opens,
    fetcher: Fetches | None = None,
) -> None:
    """Give a generation its driver, where its module speaks another ABI than ours.

    Bodies are read ahead by `open_body`. HTTP calls go through `fetcher`; without one they fail.
    """
    blueprint = generation.blueprint
    dialect = dialect_of(blueprint.code.exports)
    if dialect is not None:
        room = GenerationRoom(generation, log, complain, open_body, fetcher)
        driver = dialect.drive(room, blueprint.contract)

        async def leave() -> None:
            await driver.close()
            await room.close()

        generation.employ(driver, leave)


class GenerationRoom:
    """Implements `dialects.Room`; used on the core's loop only."""

    def __init__(
        self,
        generation: Generation,
        log: PluginLog,
        complain: Callable[[GuestFailure], None],
        open_body: Opens,
        fetcher: Fetches | None,
    ) -> None:
        """`complain` accounts for failures that no hook is told of."""
        self._generation = generation
        self._log = log
        self._fetcher = fetcher
        self._tasks: set[asyncio.Task[None]] = set()
        self.complain = complain
        self.open_body = open_body

    @property
    def manifest(self) -> Manifest:
        """See `Room.manifest`."""
        return self._generation.blueprint.manifest

    def call(self, hook: Hook, flow: Flow | None = None) -> HookCall:
        """See `Room.call`."""
        belongings = self._generation.blueprint.belongings
        return HookCall(hook, self.manifest, self._log, flow, belongings)

    async def enter(self, work: Callable[[Guest], Awaitable[T]]) -> T:
        """See `Room.enter`."""
        generation = self._generation
        guest = generation.idle.pop() if generation.idle else await generation.acquire()
        guest.fuel_used, guest.seconds = 0, 0.0  # it may not come to an entry
        try:
            result = await work(guest)
        except BaseException:
            generation.discard(guest)
            raise
        finally:
            profile = generation.blueprint.belongings.profile
            record = profile.records[guest.host.call.hook.index]
            record.fuel += guest.fuel_used
            record.seconds += guest.seconds
        profile.pages = guest.host.memory.pages()
        generation.release(guest)
        return result

    async def fetch(
        self, method: bytes, url: str, headers: Sequence[Field], body: bytes, seconds: float
    ) -> Fetched:
        """See `Room.fetch`."""
        if self._fetcher is None:
            raise UpstreamError("there is no network here")
        return await self._fetcher.fetch(method, url, headers, body, seconds)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """See `Room.spawn`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End the tasks."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
