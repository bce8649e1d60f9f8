"""A room with one instance and no plugin around it, for driving handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from proxy_core.plugin_host import codes
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import GuestFailure
from proxy_core.plugin_host.files.manifest import GuestLimits, Manifest, Permissions
from proxy_core.plugin_host.foreign.http_wasm.dialect import HttpWasm
from proxy_core.plugin_host.guest import Guest
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.commit import commit
from proxy_core.plugin_host.logs import StartLog
from proxy_core.plugin_host.runtime.raw import RawEngine
from tests.plugin_host.guests import respond_with

T = TypeVar("T")


class OneRoom:
    """Implements what the driver needs of `Room`, and calls the driver as a plugin does."""

    def __init__(self, module: bytes, **permissions: Any) -> None:
        allowed = Permissions(**permissions)
        self.manifest = Manifest("p", "p.wasm", permissions=allowed, config=b'{"a":1}')
        self.log = StartLog(10_000)
        self.engine = RawEngine()
        self.code = self.engine.compile(module)
        self.dialect = HttpWasm()
        self.contract = self.dialect.agree(self.code.imports, self.code.exports)
        self.turn = asyncio.Lock()
        self.guest = self.build()
        self.built = 1
        self.tasks: list[asyncio.Task[None]] = []
        self.driver = self.dialect.drive(self, self.contract)

    def spawn(self, work: Coroutine[Any, Any, None]) -> object:
        self.tasks.append(asyncio.get_running_loop().create_task(work))
        return None

    def complain(self, failure: GuestFailure) -> None:
        raise failure

    def build(self) -> Guest:
        call = HookCall(Hook.START, self.manifest, self.log)
        guest = self.engine.instantiate(
            self.code, self.contract, GuestLimits(fuel=100_000_000), call
        )
        self.dialect.load(guest, self.contract, call)
        guest.settle()
        return guest

    async def enter(self, work: Callable[[Guest], Awaitable[T]]) -> T:
        async with self.turn:
            try:
                return await work(self.guest)
            except GuestFailure:
                self.guest.close()
                self.guest = self.build()
                self.built += 1
                raise

    async def request(self, flow: Flow, body: bytes = b"") -> int:
        """Show a request, its body where the driver wants it."""
        if self.driver.wants_body(Hook.REQUEST, flow):
            flow.whole = WholeBody(body)
        return (await self.call(Hook.REQUEST, flow))[0]

    async def response(self, flow: Flow, body: bytes = b"") -> None:
        """Show a response, its body where the driver wants it."""
        if flow.response is None:
            respond_with(flow, 200, [(b"Content-Type", b"text/plain")])
        flow.whole = WholeBody(body) if self.driver.wants_body(Hook.RESPONSE, flow) else None
        code, _ = await self.call(Hook.RESPONSE, flow)
        assert code == codes.CONTINUE

    async def call(self, hook: Hook, flow: Flow) -> tuple[int, HookCall]:
        """Call the driver, and commit as a plugin does."""
        call = HookCall(hook, self.manifest, self.log, flow)
        code = await self.driver.hook(hook, call)
        if code >= 0:
            commit(call)
        return code, call

    async def close(self) -> None:
        await asyncio.gather(*self.tasks)
        await self.driver.close()
        self.guest.close()
        self.engine.close()

    @property
    def texts(self) -> list[str]:
        return [text for _, text, _ in self.log.lines]
