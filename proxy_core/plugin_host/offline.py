"""One plugin with its real host, away from any proxy: no network, and no chance in it.

The clock stands where `now_ns` puts it and random bytes come from a seed, so that the same calls
give the same edits, answers and log lines. Nothing is dropped for being too much at once, and a
plugin that traps is called again: a test wants to see all of it.
"""

from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Final

from proxy_core.bus.topic import Topic
from proxy_core.exchange.hooks import Hooks
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLevel, LogLine
from proxy_core.plugin_host.belongings import Belongings
from proxy_core.plugin_host.codes import BAD_POINTER, NOT_PERMITTED, OVER_LIMIT
from proxy_core.plugin_host.dialects import agree_with
from proxy_core.plugin_host.discovery import Source
from proxy_core.plugin_host.dispatch import Dispatcher
from proxy_core.plugin_host.generation import Blueprint, Generation
from proxy_core.plugin_host.health import Health
from proxy_core.plugin_host.host_functions import HOST_FUNCTIONS, RANDOM_BYTES
from proxy_core.plugin_host.host_side import HostFunction, HostSide
from proxy_core.plugin_host.logs import LogRing, PluginLog, StartLog
from proxy_core.plugin_host.module_file import MODULE_BYTES, check_bytes, read_file
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


class OfflineHost:
    """Fills `hooks` with one plugin. Use it as an asynchronous context."""

    def __init__(self, source: Source) -> None:
        """Read and check `source`, blocking. Raises ManifestError and ModuleRefused."""
        from proxy_core.plugin_host.runtime import open_engine  # 0.2 s

        manifest, module = source.read()
        limits = replace(manifest.limits, log_lines_per_second=_RATE)
        manifest = replace(manifest, limits=limits)
        data = read_file(module, MODULE_BYTES)
        check_bytes(data)
        # Of its own: an engine keeps the first host functions of each name that it is given.
        self._engine, _ = open_engine()
        code = self._engine.compile(data)
        contract = agree_with(code, self._functions())
        belongings = Belongings(
            now_ns=lambda: self.now_ns,
            steady_ns=lambda: self.now_ns,
            random_bytes=lambda length: self._random.randbytes(length),
        )
        self._blueprint = Blueprint(self._engine, manifest, code, contract, belongings)
        self._topic: Topic[LogLine] = Topic()
        self._lines = self._topic.subscribe(LINES)
        self._log = _EveryLine(manifest.name, LogRing(1, self._topic))
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="plugin")
        self._random = random.Random(0)  # noqa: S311 - chance is what must not be in it
        self.plugin = Plugin(manifest.name, source, self._log)
        self.plugin.manifest = manifest
        self.plugin.belongings = self._blueprint.belongings
        ticks = itertools.count()
        self.plugin.health = Health(lambda: next(ticks) * _HOUR)
        self.hooks = Hooks()
        self.now_ns = EPOCH_NS
        """What every clock of the plugin's shows."""

    @property
    def failures(self) -> int:
        """Calls that failed so far, and whose edits were dropped."""
        return self._log.failures

    @property
    def lost_lines(self) -> int:
        """Log lines that nobody took in time."""
        return self._lines.lost

    def take_lines(self) -> list[LogLine]:
        """Return what was logged since the last time."""
        return list(self._lines.drain())

    def seed(self, number: int) -> None:
        """Begin a new row of random bytes."""
        self._random.seed(number)

    async def __aenter__(self) -> OfflineHost:
        """Start the plugin. Raises ModuleRefused and GuestFailure."""
        log = StartLog(_RATE)
        try:
            guest = self._blueprint.build(log)
        except BaseException:
            self._end()
            raise
        finally:
            self._log.replay(log)
        self.plugin.generation = Generation(1, self._blueprint, guest, self._log, self._worker)
        furnish(self.plugin.generation, self._log, self.plugin.complain)
        Dispatcher(self.hooks, lambda plugin: None).subscribe([self.plugin])
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
        self._end()

    def _end(self) -> None:
        self._worker.shutdown()
        self._engine.close()

    def _functions(self) -> dict[str, HostFunction]:
        functions = dict(HOST_FUNCTIONS)
        for name, run in (
            ("host_now_ns", self._now),
            ("host_random", self._fill),
            ("host_http_request", self._no_network),
        ):
            if name in functions:
                functions[name] = replace(functions[name], run=run)
        return functions

    def _now(self, host: HostSide) -> int:
        return self.now_ns

    def _fill(self, host: HostSide, buf: int, length: int) -> int:
        if length > RANDOM_BYTES:
            return OVER_LIMIT
        return length if host.memory.write(buf, self._random.randbytes(length)) else BAD_POINTER

    def _no_network(self, host: HostSide, *arguments: int) -> int:
        return NOT_PERMITTED
