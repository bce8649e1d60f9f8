"""What a filter has asked for beside any flow: ticks, news of its queues, answers to HTTP calls."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from proxy_core.errors import Int3rceptorError
from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.faults import GuestFailure
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import (
    CallAnswer,
    Instance,
    OutgoingCall,
)
from proxy_core.plugin_host.foreign.proxy_wasm.entrance import Entrance
from proxy_core.plugin_host.foreign.proxy_wasm.room import Room
from proxy_core.plugin_host.hook.call import HookCall

SHORTEST_REST: Final = 1.0
LONGEST_REST: Final = 300.0
"""Seconds; at least so long after a tick that failed there is no other, twice as long each time."""


class Background:
    """Carries out what `look` finds in an instance, in tasks of the room."""

    def __init__(self, room: Room, call: HookCall) -> None:
        self._room = room
        self._call = call
        self._entrance: Entrance | None = None
        self._tick_seconds = 0.0
        self._period_changed = asyncio.Event()
        self._ticking = False
        self._telling = False

    def use(self, entrance: Entrance) -> None:
        """Call back through this."""
        self._entrance = entrance

    def look(self, instance: Instance) -> None:
        """See what is new since the last time."""
        if instance.outbox:
            for call in instance.outbox:
                self._room.spawn(self._exchange(instance, call))
            instance.outbox.clear()
        if instance.on_news is None:
            # Others may put items into its queues at any time, and from other threads.
            loop = asyncio.get_running_loop()
            instance.on_news = partial(loop.call_soon_threadsafe, self._hear, instance)
        self._hear(instance)
        if instance.tick_seconds != self._tick_seconds:
            self._tick_seconds = instance.tick_seconds
            self._period_changed.set()
            if not self._ticking:
                self._ticking = True
                self._room.spawn(self._tick())

    def _hear(self, instance: Instance) -> None:
        if instance.news and not instance.lost and not self._telling:
            self._telling = True
            self._room.spawn(self._tell_news(instance))

    async def _back(
        self,
        name: str,
        *arguments: int,
        of: Instance | None = None,
        answer: CallAnswer | None = None,
    ) -> bool:
        assert self._entrance is not None
        try:
            await self._entrance.about_all(self._call, name, *arguments, of=of, answer=answer)
        except GuestFailure as failure:
            self._room.complain(failure)
            return False
        return True

    async def _tick(self) -> None:
        rest = 0.0
        while self._tick_seconds:
            self._period_changed.clear()
            try:
                async with asyncio.timeout(max(self._tick_seconds, rest)):
                    await self._period_changed.wait()
            except TimeoutError:
                ended_well = await self._back("proxy_on_tick")
                rest = 0.0 if ended_well else min(max(2 * rest, SHORTEST_REST), LONGEST_REST)
        self._ticking = False

    async def _tell_news(self, instance: Instance) -> None:
        while instance.news and not instance.lost:
            await self._back("proxy_on_queue_ready", instance.news.popleft(), of=instance)
        self._telling = False

    async def _exchange(self, instance: Instance, call: OutgoingCall) -> None:
        answer = CallAnswer()
        try:
            fetched = await self._room.fetch(
                call.method, call.url, call.headers, call.body, call.seconds
            )
            head = fetched.head
            pairs = [(b":status", b"%d" % head.status), *head.headers]
            answer = CallAnswer(head.status, "", pairs, fetched.body, list(fetched.trailers))
        except Int3rceptorError as refusal:
            answer.message = str(refusal)
            self._call.journal.write(
                LogLevel.WARN,
                f"HTTP call to {call.url}: {refusal}",
                None if call.stream is None else call.stream.flow.id,
            )
        except BaseException:
            instance.calls_under_way -= 1
            raise
        counts = len(answer.headers), len(answer.body), len(answer.trailers)
        await self._back(
            "proxy_on_http_call_response", call.id, *counts, of=instance, answer=answer
        )
        instance.calls_under_way -= 1
        if call.stream is not None:
            call.stream.calls -= 1
            call.stream.wake()
        for stream in instance.waiting:
            stream.wake()
