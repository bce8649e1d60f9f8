"""The way into a filter: one callback at a time, in a context, and what it asked for afterwards.

A context lives in one instance. Where that was thrown away, its contexts are gone with it, and
calls about them answer LOST.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar, cast

from proxy_core.model.flow import Flow
from proxy_core.plugin_host.abi import Signature
from proxy_core.plugin_host.faults import GuestFailure
from proxy_core.plugin_host.foreign.proxy_wasm.codes import CONTINUE, ROOT
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import (
    CallAnswer,
    Instance,
    Stream,
    instance_of,
)
from proxy_core.plugin_host.foreign.proxy_wasm.room import Room
from proxy_core.plugin_host.guest import Guest
from proxy_core.plugin_host.hook.call import HookCall

LOST: Final = -1
"""What a call answers whose context is gone."""
T = TypeVar("T")
_U32: Final = 0xFFFFFFFF


class Entrance:
    """Calls the exports of one generation's only instance."""

    def __init__(
        self,
        room: Room,
        entries: Mapping[str, Signature],
        on_return: Callable[[Instance], None],
    ) -> None:
        """Tell `on_return` of the instance each time a callback has returned."""
        self.entries = entries
        self._room = room
        self._on_return = on_return
        self._instance: Instance | None = None

    def has(self, *names: str) -> bool:
        """Whether any of these callbacks is there."""
        return any(name in self.entries for name in names)

    async def open(self, call: HookCall, flow: Flow, keep: Callable[[Stream], None]) -> Stream:
        """Make a context for a flow, and let it be kept before the filter knows it.

        Raises GuestFailure.
        """

        async def work(guest: Guest) -> Stream:
            instance = self._meet(guest)
            stream = Stream(instance.new_id(), instance, call, flow)
            instance.streams[stream.id] = stream
            keep(stream)
            if "proxy_on_context_create" in self.entries:
                await self._run(
                    guest, instance, None, call, "proxy_on_context_create", stream.id, ROOT
                )
            return stream

        return await self._enter(work)

    async def about(self, stream: Stream, call: HookCall, name: str, *arguments: int) -> int:
        """Call back about a stream; CONTINUE where there is no such callback.

        Answers LOST where the context is gone. Raises GuestFailure.
        """
        if name not in self.entries:
            return LOST if stream.instance.lost else CONTINUE
        # 0.1.0 does not tell the callbacks about headers whether that is all.
        given = (stream.id, *arguments)[: len(self.entries[name][0])]

        async def work(guest: Guest) -> int:
            instance = self._meet(guest)
            if stream.instance is not instance:
                return LOST
            return await self._run(guest, instance, stream, call, name, *given)

        return await self._enter(work)

    async def about_all(
        self,
        call: HookCall,
        name: str,
        *arguments: int,
        of: Instance | None = None,
        answer: CallAnswer | None = None,
    ) -> int:
        """Call back about the plugin itself; LOST where that is about another instance.

        `answer` is at hand meanwhile. Raises GuestFailure.
        """
        if name not in self.entries:
            return CONTINUE

        async def work(guest: Guest) -> int:
            instance = self._meet(guest)
            if of is not None and of is not instance:
                return LOST
            instance.answer = answer
            try:
                return await self._run(guest, instance, None, call, name, ROOT, *arguments)
            finally:
                instance.answer = None

        return await self._enter(work)

    async def look_in(self) -> None:
        """Take up what the filter asked for while it was started. Raises GuestFailure."""

        async def work(guest: Guest) -> None:
            self._meet(guest)

        await self._enter(work)

    def leave(self) -> None:
        """Nothing more is to be told to the instance."""
        if self._instance is not None:
            self._instance.lose()

    async def _enter(self, work: Callable[[Guest], Awaitable[T]]) -> T:
        """Enter in a task of the room's.

        Whoever asked may be cancelled meanwhile, because its client has gone; an instance that is
        left half-way would be lost to all other flows. What has not begun by then is not done.
        """
        done: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()

        async def unless_gone(guest: Guest) -> T | None:
            return None if done.done() else await work(guest)

        async def enter() -> None:
            try:
                result = await self._room.enter(unless_gone)
            except asyncio.CancelledError:
                done.cancel()
                raise
            except BaseException as error:
                if not done.done():
                    done.set_exception(error)
                elif not isinstance(error, GuestFailure):
                    raise
            else:
                if not done.done():
                    done.set_result(result)

        self._room.spawn(enter())
        return cast("T", await done)

    def _meet(self, guest: Guest) -> Instance:
        instance = instance_of(guest.host)
        if instance is not self._instance:
            if self._instance is not None:
                self._instance.lose()
            self._instance = instance
            self._on_return(instance)
        return instance

    async def _run(
        self,
        guest: Guest,
        instance: Instance,
        stream: Stream | None,
        call: HookCall,
        name: str,
        *arguments: int,
    ) -> int:
        guest.host.call = call
        instance.begin(stream)
        try:
            result = guest.begin(name, *arguments)
            if result is None:
                result = await guest.finish()
        except GuestFailure:
            instance.lose()
            raise
        except BaseException:
            # Cancelled half-way: its state is anybody's guess.
            instance.lose()
            raise
        finally:
            instance.begin(None)
        self._on_return(instance)
        return result & _U32
