"""One loaded version of a plugin: its code, and the instance that lives on between calls.

Calls queue for the instance. After a failure it is thrown away, and whoever comes next has a
fresh one made, off the loop. A retired generation serves who is in the queue and then closes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.abi import VERSION_EXPORT, Contract, agree, check_version
from proxy_core.plugin_host.belongings import Belongings
from proxy_core.plugin_host.call import HookCall
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import DeadlineExceeded, GuestFailure, ModuleRefused
from proxy_core.plugin_host.guest import Code, Engine, Guest
from proxy_core.plugin_host.host_functions import HOST_FUNCTIONS
from proxy_core.plugin_host.logs import PluginLog, StartLog
from proxy_core.plugin_host.manifest import Manifest
from proxy_core.plugin_host.module_file import check_bytes

SHUTDOWN = "plugin_shutdown"


@dataclass(frozen=True, slots=True)
class Blueprint:
    """Everything needed to make instances of one version of a plugin."""

    engine: Engine
    manifest: Manifest
    code: Code
    contract: Contract
    belongings: Belongings = field(default_factory=Belongings)

    @classmethod
    def draw(
        cls, engine: Engine, manifest: Manifest, data: bytes, belongings: Belongings | None = None
    ) -> Blueprint:
        """Check and compile a module's bytes; blocks. Raises ModuleRefused."""
        check_bytes(data)
        code = engine.compile(data)
        contract = agree(code.imports, code.exports, HOST_FUNCTIONS)
        return cls(engine, manifest, code, contract, belongings or Belongings())

    def build(self, log: StartLog) -> Guest:
        """Make an instance that is ready for hooks; blocks.

        Raises ModuleRefused, and GuestFailure where its own code does not get that far.
        """
        call = self.start_call(log)
        entries = self.contract.entries
        guest = self.engine.instantiate(self.code, self.contract, self.manifest.limits, call)
        try:
            if "_initialize" in entries:
                guest.run("_initialize")
            if VERSION_EXPORT in entries:
                check_version(guest.run(VERSION_EXPORT))
            if "plugin_init" in entries:
                answer = guest.run("plugin_init")
                if answer != 0:
                    raise ModuleRefused(f"plugin_init returned {answer}; 0 means ready")
            guest.settle()
        except BaseException:
            guest.close()
            raise
        return guest

    def start_call(self, log: StartLog) -> HookCall:
        """Describe an entry that is about no flow."""
        return HookCall(Hook.START, self.manifest, log, belongings=self.belongings)


class Generation:
    """A blueprint with its instance and its queue. Used on the core's loop only."""

    def __init__(
        self, number: int, blueprint: Blueprint, guest: Guest, log: PluginLog, workers: Executor
    ) -> None:
        self.number = number
        self.blueprint = blueprint
        self.guest: Guest | None = guest
        self.busy = False
        self._log = log
        self._workers = workers
        self._queue: deque[asyncio.Future[None]] = deque()
        self._retired = False
        self._on_closed: Callable[[], None] | None = None

    async def wait(self) -> None:
        """Queue for the instance, no longer than a call may take. Raises DeadlineExceeded."""
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        limit = self.blueprint.manifest.limits.deadline_ms
        try:
            async with asyncio.timeout(limit / 1000):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.release()  # our turn came while we were giving up
            if isinstance(error, TimeoutError):
                raise DeadlineExceeded(
                    f"was busy with other calls for {limit} ms; see limits.deadline_ms"
                ) from error
            raise

    async def renew(self) -> Guest:
        """Make a fresh instance, off the loop; the caller has its turn.

        Raises ModuleRefused and GuestFailure.
        """
        log = StartLog(self.blueprint.manifest.limits.log_lines_per_second)
        loop = asyncio.get_running_loop()
        building = loop.run_in_executor(self._workers, self.blueprint.build, log)
        try:
            guest = await asyncio.shield(building)
        except asyncio.CancelledError:
            building.add_done_callback(_close_result)
            raise
        finally:
            self._log.replay(log)
        self.guest = guest
        return guest

    def discard(self) -> None:
        """Throw the instance away; the caller has its turn."""
        guest, self.guest = self.guest, None
        if guest is not None:
            guest.close()

    def release(self) -> None:
        """Give the turn to the next in the queue."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.busy = False
        if self._retired:
            self._finish()

    def retire(self, on_closed: Callable[[], None]) -> None:
        """Serve those in the queue, then shut down and call `on_closed`."""
        self._retired = True
        self._on_closed = on_closed
        if not self.busy:
            self._finish()

    def _finish(self) -> None:
        self.busy = True  # nobody gets in any more
        guest, self.guest = self.guest, None
        if guest is None or SHUTDOWN not in self.blueprint.contract.entries:
            if guest is not None:
                guest.close()
            self._closed()
            return
        log = StartLog(self.blueprint.manifest.limits.log_lines_per_second)
        guest.host.call = self.blueprint.start_call(log)
        ending = asyncio.get_running_loop().run_in_executor(self._workers, _shut_down, guest)

        def ended(done: asyncio.Future[str | None]) -> None:
            self._log.replay(log)
            if not done.cancelled() and (problem := done.exception() or done.result()) is not None:
                self._log.notice(LogLevel.WARN, f"{SHUTDOWN}: {problem}")
            self._closed()

        ending.add_done_callback(ended)

    def _closed(self) -> None:
        if self._on_closed is not None:
            self._on_closed()


def _shut_down(guest: Guest) -> str | None:
    try:
        guest.run(SHUTDOWN)
    except GuestFailure as failure:
        return str(failure)
    finally:
        guest.close()
    return None


def _close_result(building: asyncio.Future[Guest]) -> None:
    if not building.cancelled() and building.exception() is None:
        building.result().close()
