"""A generation without a manager: a real engine, one instance, and fetches that tests answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from proxy_core.errors import UpstreamError
from proxy_core.exchange.fetch import Fetched
from proxy_core.model.edits import OpenBody, WholeBody
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
from proxy_core.model.plugin_status import AskedPermission, PermissionState
from proxy_core.plugin_host.abi import Contract
from proxy_core.plugin_host.belongings.belongings import Belongings
from proxy_core.plugin_host.belongings.grants import Permits
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import GuestFailure, ModuleRefused
from proxy_core.plugin_host.files.manifest import GuestLimits, Manifest
from proxy_core.plugin_host.foreign.proxy_wasm.abi import settle_terms
from proxy_core.plugin_host.foreign.proxy_wasm.driver import ProxyWasmDriver
from proxy_core.plugin_host.foreign.proxy_wasm.start import start
from proxy_core.plugin_host.guest import Engine, Guest
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.commit import commit
from proxy_core.plugin_host.logs import StartLog
from tests.plugin_host.guests import respond_with

T = TypeVar("T")


class FakeRoom:
    """Implements `Room`."""

    def __init__(self, engine: Engine, data: bytes, manifest: Manifest) -> None:
        self.manifest = manifest
        self.log = StartLog(10_000)
        self.belongings = Belongings()
        self.belongings.permits = Permits(
            "", [AskedPermission("network", ("auth",), PermissionState.GRANTED)]
        )
        self.answers: dict[str, Fetched] = {}
        """What `fetch` answers, by URL; it fails for others."""
        self.asked: list[tuple[bytes, str, bytes]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.failures: list[GuestFailure] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self._engine = engine
        self._code = engine.compile(data)
        self._turn = asyncio.Lock()
        self._guest: Guest | None = None
        self._building: asyncio.Future[Guest] | None = None
        self.terms = settle_terms(self._code.imports, self._code.exports)

    def call(self, hook: Hook, flow: Flow | None = None) -> HookCall:
        return HookCall(hook, self.manifest, self.log, flow, self.belongings)

    def build(self) -> Guest:
        terms = self.terms
        contract = Contract(1, terms.imports, terms.entries, frozenset(), (), terms.has_memory)
        call = self.call(Hook.START)
        guest = self._engine.instantiate(self._code, contract, self.manifest.limits, call)
        try:
            start(guest, terms.entries, terms.version)
        except BaseException:
            guest.close()
            raise
        guest.settle()
        return guest

    async def enter(self, work: Callable[[Guest], Awaitable[T]]) -> T:
        async with self._turn:
            if self._guest is None:
                loop = asyncio.get_running_loop()
                self._building = loop.run_in_executor(None, self.build)
                self._guest = await asyncio.shield(self._building)
            try:
                return await work(self._guest)
            except BaseException:
                self._guest.close()
                self._guest = None
                raise

    async def fetch(
        self, method: bytes, url: str, headers: Sequence[Field], body: bytes, seconds: float
    ) -> Fetched:
        self.asked.append((method, url, body))
        await self.may_answer.wait()
        if url not in self.answers:
            raise UpstreamError("nobody is there")
        return self.answers[url]

    def open_body(self, hook: Hook, flow: Flow) -> OpenBody | None:
        return flow.open_body

    def spawn(self, work: Coroutine[Any, Any, None]) -> object:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def complain(self, failure: GuestFailure) -> None:
        self.failures.append(failure)

    @property
    def lines(self) -> list[str]:
        """What was logged."""
        return [text for _, text, _ in self.log.lines]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that a task of the room's does."""
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        """End all tasks and the instance."""
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if self._building is not None:
            # Also where whoever waited for it was cancelled.
            with contextlib.suppress(ModuleRefused, GuestFailure):
                (await self._building).close()


class Driven:
    """A filter in a room, driven as the exchange would."""

    def __init__(
        self, engine: Engine, data: bytes, deadline_ms: int = 5000, **manifest: Any
    ) -> None:
        limits = GuestLimits(deadline_ms=deadline_ms)
        self.room = FakeRoom(engine, data, Manifest("p", "p.wasm", limits=limits, **manifest))
        self.driver = ProxyWasmDriver(self.room, self.room.terms.entries)

    async def request(self, flow: Flow, whole: WholeBody | None = None) -> tuple[int, HookCall]:
        """Run the hook, and commit what it did where it ended well."""
        return await self._hook(Hook.REQUEST, flow, whole)

    async def response(
        self, flow: Flow, whole: WholeBody | None = None, fields: Sequence[Field] = ()
    ) -> tuple[int, HookCall]:
        """Give the flow a response, and do the same."""
        if flow.response is None:
            respond_with(flow, 200, fields)
        return await self._hook(Hook.RESPONSE, flow, whole)

    async def _hook(self, hook: Hook, flow: Flow, whole: WholeBody | None) -> tuple[int, HookCall]:
        if flow.open_body is None:
            flow.whole = WholeBody(b"") if whole is None else whole
        call = self.room.call(hook, flow)
        code = await self.driver.hook(hook, call)
        if code >= 0:
            commit(call)
        return code, call

    async def capture(self, flow: Flow) -> None:
        """The flow is over."""
        await self.driver.hook(Hook.CAPTURE, self.room.call(Hook.CAPTURE, flow))
