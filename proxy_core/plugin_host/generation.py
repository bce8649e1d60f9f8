"""One loaded version of a plugin: its code, and the instances that live on between calls.

One instance is there from the beginning. Where calls overlap, up to MOST_INSTANCES are made, off
the loop, and those that are not needed any more are closed after a while. A failure costs the
instance it happened in. A retired generation serves who is in the queue and then closes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.abi import VERSION_EXPORT, Contract, Signature, check_version
from proxy_core.plugin_host.belongings.belongings import Belongings
from proxy_core.plugin_host.code_cache import CodeCache
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.dialects import Driver, agree_with, dialect_of
from proxy_core.plugin_host.faults import GuestFailure, ModuleRefused, TooBusy
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.files.module_file import check_bytes, has_start
from proxy_core.plugin_host.functions.host_functions import HOST_FUNCTIONS
from proxy_core.plugin_host.guest import Code, Engine, Guest
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.logs import PluginLog, StartLog
from proxy_core.plugin_host.short_turns import short_turns

SHUTDOWN: Final = "plugin_shutdown"
MOST_INSTANCES: Final = 4
TRIM_SECONDS: Final = 30.0
"""An instance that was not used for one to two times this long is closed, but for the last."""


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
        cls,
        engine: Engine,
        manifest: Manifest,
        data: bytes,
        belongings: Belongings | None = None,
        cache: CodeCache | None = None,
    ) -> Blueprint:
        """Check and compile a module's bytes, or find them compiled; blocks.

        Raises ModuleRefused.
        """
        check_bytes(data)
        code = engine.compile(data) if cache is None else cache.compile(engine, data)
        contract = replace(agree_with(code, HOST_FUNCTIONS), starts=has_start(data))
        if contract.dialect:
            manifest = manifest.for_foreign()
        return cls(engine, manifest, code, contract, belongings or Belongings())

    def build(self, log: StartLog) -> Guest:
        """Make an instance that is ready for hooks; blocks.

        Raises ModuleRefused, and GuestFailure where its own code does not get that far.
        """
        call = self.start_call(log)
        entries = self.contract.entries
        guest = self.engine.instantiate(self.code, self.contract, self.manifest.limits, call)
        dialect = dialect_of(self.code.exports)
        try:
            if dialect is not None:
                dialect.load(guest, self.contract, call)
            else:
                _start(guest, entries)
            guest.settle()
        except BaseException:
            guest.close()
            raise
        return guest

    def start_call(self, log: StartLog) -> HookCall:
        """Describe an entry that is about no flow."""
        return HookCall(Hook.START, self.manifest, log, belongings=self.belongings)


def _start(guest: Guest, entries: Mapping[str, Signature]) -> None:
    if "_initialize" in entries:
        guest.run("_initialize")
    if VERSION_EXPORT in entries:
        check_version(guest.run(VERSION_EXPORT))
    if "plugin_init" in entries:
        answer = guest.run("plugin_init")
        if answer != 0:
            raise ModuleRefused(f"plugin_init returned {answer}; 0 means ready")


class Generation:
    """A blueprint with its instances, and the queue for them. Used on the core's loop only.

    Every instance is in `idle`, in use by a call, being built, or being shut down. Calls take one
    from `idle`, or `acquire` one, and then `release` or `discard` it.
    """

    def __init__(
        self, number: int, blueprint: Blueprint, guest: Guest, log: PluginLog, workers: Executor
    ) -> None:
        self.number = number
        self.blueprint = blueprint
        self.idle: list[Guest] = [guest]
        """Those that nobody uses; the last one was used last. Empty while anybody waits."""
        self.count = 1
        """How many instances there are, being built and shut down not counted."""
        alone = blueprint.manifest.single_instance or blueprint.contract.dialect
        self._most = 1 if alone else MOST_INSTANCES
        self.driver: Driver | None = None
        """Who runs the hooks, where the module speaks another ABI than ours."""
        self._leave: Callable[[], Awaitable[None]] | None = None
        self._log = log
        self._workers = workers
        self._queue: deque[asyncio.Future[Guest]] = deque()
        self._building = False
        self._ending = 0
        self._retired = False
        self._on_closed: Callable[[], None] | None = None
        self._trimmer: asyncio.TimerHandle | None = None
        self._unused = blueprint.start_call(StartLog(1))
        self.used = blueprint.start_call(StartLog(1))
        """What an instance stands for that several flows have used."""

    def employ(self, driver: Driver, leave: Callable[[], Awaitable[None]]) -> None:
        """Have hooks run by `driver`, and `leave` awaited before the generation retires."""
        self.driver, self._leave = driver, leave

    async def take_leave(self) -> None:
        """Let the driver go."""
        leave, self._leave = self._leave, None
        if leave is not None:
            await leave()

    async def acquire(self) -> Guest:
        """Wait for an instance, no longer than a call may take if there is one.

        A further one is made meanwhile, off the loop, where there may be more; whichever is there
        first is taken. Raises TooBusy; ModuleRefused and GuestFailure where there is no other and
        none can be made.
        """
        if self.idle:
            return self.idle.pop()
        turn: asyncio.Future[Guest] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        limit = self.blueprint.manifest.limits.deadline_ms
        # The making of the only one has a deadline of its own.
        seconds = limit / 1000 if self.count else None
        self._grow()
        try:
            async with asyncio.timeout(seconds):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(turn.result())  # our turn came while we were giving up
            if isinstance(error, TimeoutError):
                raise TooBusy(
                    f"was busy with other calls for {limit} ms; see limits.deadline_ms"
                ) from error
            raise

    def release(self, guest: Guest) -> None:
        """Give an instance to the next in the queue, or put it away."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(guest)
                return
        if self._retired:
            self._shut_down(guest)
        else:
            self.idle.append(guest)

    def discard(self, guest: Guest) -> None:
        """Throw an instance away that was in use."""
        self.count -= 1
        self._grow()
        self._close(guest)

    def close(self) -> None:
        """Throw away the instances that nobody uses, without a word."""
        while self.idle:
            self.discard(self.idle.pop())
        if self._trimmer is not None:
            self._trimmer.cancel()

    def retire(self, on_closed: Callable[[], None]) -> None:
        """Serve those in the queue, then shut all instances down and call `on_closed`."""
        self._retired = True
        self._on_closed = on_closed
        if self._trimmer is not None:
            self._trimmer.cancel()
        while self.idle:
            self._shut_down(self.idle.pop())
        self._look_whether_closed()

    # More instances, and fewer.

    def _waiting(self) -> bool:
        while self._queue and self._queue[0].done():
            self._queue.popleft()
        return bool(self._queue)

    def _grow(self) -> None:
        """Begin to make an instance if somebody waits and there may be one more."""
        if self._building or self.count >= self._most or not self._waiting():
            return
        log = StartLog(self.blueprint.manifest.limits.log_lines_per_second)
        try:
            building = short_turns.start(self._workers, partial(self.blueprint.build, log))
        except RuntimeError as error:  # the host has stopped
            self._fail(GuestFailure(f"cannot be started: {error}"))
            return
        self._building = True
        building.add_done_callback(lambda done: self._built(done, log))

    def _built(self, done: asyncio.Future[Guest], log: StartLog) -> None:
        self._building = False
        self._log.replay(log)
        problem = GuestFailure("the host is stopping") if done.cancelled() else done.exception()
        if problem is None:
            self.count += 1
            self._arm_trimmer()
            self.release(done.result())
        elif self.count:
            # The others go on; one attempt is enough to know.
            self._most = self.count
            self._log.notice(LogLevel.WARN, f"no further instance: {problem}")
        else:
            self._fail(problem)
        self._grow()
        if self._retired:
            self._look_whether_closed()

    def _fail(self, problem: BaseException) -> None:
        """Tell the first in the queue that there is no instance, and why."""
        if self._waiting():
            self._queue.popleft().set_exception(problem)

    def _arm_trimmer(self) -> None:
        if self.count > 1 and not self._retired and self._trimmer is None:
            loop = asyncio.get_running_loop()
            self._trimmer = loop.call_later(TRIM_SECONDS, self._trim)

    def _trim(self) -> None:
        """Close what was not used since the last time, but for one."""
        self._trimmer = None
        for guest in list(self.idle):
            if guest.host.call is not self._unused:
                guest.host.call = self._unused  # which the next call replaces
            elif self.count > 1:
                self.idle.remove(guest)
                self._shut_down(guest)
        self._arm_trimmer()

    # The end of instances.

    def _shut_down(self, guest: Guest) -> None:
        self.count -= 1
        if SHUTDOWN not in self.blueprint.contract.entries:
            self._close(guest)
            return
        log = StartLog(self.blueprint.manifest.limits.log_lines_per_second)
        guest.host.call = self.blueprint.start_call(log)
        try:
            ending = short_turns.start(self._workers, partial(_shut_down, guest))
        except RuntimeError:  # the host has stopped, and did not wait any longer
            self._close(guest)
            return
        self._ending += 1

        def ended(done: asyncio.Future[str | None]) -> None:
            self._ending -= 1
            self._log.replay(log)
            if not done.cancelled() and (problem := done.exception() or done.result()) is not None:
                self._log.notice(LogLevel.WARN, f"{SHUTDOWN}: {problem}")
            if self._retired:
                self._look_whether_closed()

        ending.add_done_callback(ended)

    def _close(self, guest: Guest) -> None:
        guest.close()
        if self._retired:
            self._look_whether_closed()

    def _look_whether_closed(self) -> None:
        if self.count or self._ending or self._building or self._waiting():
            return
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            on_closed()


def _shut_down(guest: Guest) -> str | None:
    try:
        guest.run(SHUTDOWN)
    except GuestFailure as failure:
        return str(failure)
    finally:
        guest.close()
    return None
