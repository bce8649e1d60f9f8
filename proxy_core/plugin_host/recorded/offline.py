"""A plugin with its real host, away from any proxy: no network, and no chance in it.

The clock stands where `now_ns` puts it and random bytes come from a seed, so that the same calls
give the same edits, answers and log lines. Nothing is dropped for being too much at once, and a
plugin that traps is called again: a test wants to see all of it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Final, Self

from proxy_core.bus.topic import Topic
from proxy_core.exchange.hooks import Hooks
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLevel, LogLine
from proxy_core.plugin_host.belongings.belongings import Belongings
from proxy_core.plugin_host.belongings.health import Health
from proxy_core.plugin_host.belongings.state import KeyValueState
from proxy_core.plugin_host.building import read_plugin
from proxy_core.plugin_host.dispatch import Dispatcher
from proxy_core.plugin_host.files.discovery import Source
from proxy_core.plugin_host.generation import Blueprint, Generation
from proxy_core.plugin_host.guest import Guest
from proxy_core.plugin_host.logs import LogRing, PluginLog, StartLog
from proxy_core.plugin_host.plugin import Plugin
from proxy_core.plugin_host.room import furnish

EPOCH_NS: Final = 946_684_800 * 10**9
"""Where the clock stands at first: the year 2000."""
LINES: Final = 10_000
"""Log lines kept between two calls of `take_lines`."""
_RATE: Final = 100_000
_HOUR: Final = 3600.0


class _EveryLine(PluginLog):
    """A journal without rate limits; what it holds is bounded by who reads it."""

    __slots__ = ("failures",)

    def __init__(self, name: str, ring: LogRing) -> None:
        super().__init__(name, ring, _RATE)
        self.failures = 0

    def write(self, level: LogLevel, text: str, flow_id: FlowId | None) -> bool:
        self.written += 1
        self.notice(level, text, flow_id)
        return True

    def complain(self, level: LogLevel, text: str, flow_id: FlowId | None) -> None:
        self.failures += 1
        self.notice(level, text, flow_id)


class _World:
    """What time it is, and what chance brings; apart from the plugin, which it must outlive."""

    __slots__ = ("delayed", "now_ns", "random")

    def __init__(self) -> None:
        self.now_ns = EPOCH_NS
        self.random = random.Random(0)  # noqa: S311 - chance is what must not be in it
        self.delayed = 0.0

    async def sleep(self, seconds: float) -> None:
        """Let no time pass."""
        self.delayed += seconds


class OfflinePlugin:
    """Fills `hooks` with one version of a plugin. Use it as an asynchronous context.

    It has figures and a log of its own, and may reach nothing.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        source: Source,
        workers: Executor,
        state: KeyValueState | None = None,
    ) -> None:
        """Begin with `state`; instances are made on `workers`."""
        manifest = blueprint.manifest
        limits = replace(manifest.limits, log_lines_per_second=_RATE)
        self._world = world = _World()
        self._workers = workers
        self._blueprint = replace(
            blueprint,
            manifest=replace(manifest, limits=limits),
            belongings=Belongings(
                state=state or KeyValueState(),
                stores=blueprint.belongings.stores,
                now_ns=lambda: world.now_ns,
                steady_ns=lambda: world.now_ns,
                sleep=world.sleep,
                random_bytes=lambda length: world.random.randbytes(length),
            ),
        )
        self._topic: Topic[LogLine] = Topic()
        self._lines = self._topic.subscribe(LINES)
        self._log = _EveryLine(manifest.name, LogRing(1, self._topic))
        self.plugin = Plugin(manifest.name, source, self._log)
        self.plugin.manifest = self._blueprint.manifest
        self.plugin.belongings = self._blueprint.belongings
        ticks = itertools.count()
        self.plugin.standing.health = Health(lambda: next(ticks) * _HOUR)
        self.hooks = Hooks()
        self._dispatcher = Dispatcher(self.hooks, lambda plugin: None)

    @property
    def now_ns(self) -> int:
        """What every clock of the plugin's shows; settable."""
        return self._world.now_ns

    @now_ns.setter
    def now_ns(self, now_ns: int) -> None:
        self._world.now_ns = now_ns

    @property
    def delayed(self) -> float:
        """Seconds that it has delayed things so far; nobody has waited for them."""
        return self._world.delayed

    @property
    def failures(self) -> int:
        """Calls that failed so far, and whose edits were dropped."""
        return self._log.failures

    def take_lines(self) -> list[LogLine]:
        """Return what was logged since the last time."""
        return list(self._lines.drain())

    def seed(self, number: int) -> None:
        """Begin a new row of random bytes."""
        self._world.random.seed(number)

    async def __aenter__(self) -> Self:
        """Start the plugin. Raises ModuleRefused and GuestFailure."""
        log = StartLog(_RATE)
        loop = asyncio.get_running_loop()
        building = loop.run_in_executor(self._workers, self._blueprint.build, log)
        try:
            guest = await asyncio.shield(building)
        except asyncio.CancelledError:
            building.add_done_callback(_close_unused)
            raise
        finally:
            self._log.replay(log)
        self.plugin.generation = Generation(1, self._blueprint, guest, self._log, self._workers)
        open_body = partial(self._dispatcher.open_body, self.plugin)
        furnish(self.plugin.generation, self._log, self.plugin.complain, open_body)
        self._dispatcher.subscribe([self.plugin])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Throw the plugin away."""
        generation = self.plugin.generation
        if generation is not None:
            await generation.take_leave()
            generation.close()
            # Nothing may point in a circle to the code: the collector that would find it comes once
            # in half an hour of traffic (see the console's `garbage`).
            self.plugin.generation = None
            self._dispatcher.subscribe([])


class OfflineHost(OfflinePlugin):
    """The same for what lies in files, with an engine of its own."""

    def __init__(self, source: Source) -> None:
        """Read and check `source`, blocking. Raises ManifestError and ModuleRefused."""
        from proxy_core.plugin_host.runtime import open_engine, open_engine_beside  # 0.2 s

        manifest, data = read_plugin(source)
        beside = manifest.limits.allow_long_instructions
        self._engine = open_engine_beside() if beside else open_engine()[0]
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="plugin")
        try:
            blueprint = Blueprint.draw(self._engine, manifest, data)
        except BaseException:
            self._end()
            raise
        super().__init__(blueprint, source, self._worker)

    async def __aenter__(self) -> Self:
        """Start the plugin. Raises ModuleRefused and GuestFailure."""
        try:
            return await super().__aenter__()
        except BaseException:
            self._end()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Throw the plugin away, and the engine with it."""
        await super().__aexit__(kind, error, trace)
        self._end()

    def _end(self) -> None:
        self._worker.shutdown()
        self._engine.close()


def _close_unused(building: asyncio.Future[Guest]) -> None:
    """Close the guest that nobody waited for."""
    if not building.cancelled() and building.exception() is None:
        building.result().close()
