"""How one direction of a stream passes a filter: its callbacks, and its pauses.

A message that is there whole passes at once: head, body, trailers. Else pieces pass one by one; a
filter that pauses has what follows added to what is there already, until it lets all of it go.
One that pauses the head for its body gets the pieces while the head is held back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from proxy_core.errors import RefusedByHook
from proxy_core.exchange.hooks import AnsweredByHook, TrailersToo
from proxy_core.model.edits import WholeBody
from proxy_core.model.headers import Field
from proxy_core.model.log_line import LogLevel
from proxy_core.model.verdict import Respond
from proxy_core.plugin_host import codes as abi
from proxy_core.plugin_host.byte_copies import join_by_turns, thaw_by_turns
from proxy_core.plugin_host.faults import GuestFailure
from proxy_core.plugin_host.foreign.proxy_wasm.buffers import BUFFER_BYTES
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    CONTINUE,
    PAUSE,
    PAUSE_WITHOUT_BUFFER,
    Map,
    StreamType,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import Side, Stream
from proxy_core.plugin_host.foreign.proxy_wasm.entrance import LOST, Entrance
from proxy_core.plugin_host.foreign.proxy_wasm.map_functions import count_fields
from proxy_core.plugin_host.foreign.proxy_wasm.room import Room
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.commit import sign_pieces

LONGEST_PAUSE: Final = 600.0
"""Seconds a filter may hold a flow while calls of its own are under way."""
FAILED: Final = -1
_LOST_CONTEXT: Final = "what it knew of this flow was lost when its instance failed"


@dataclass(frozen=True, slots=True)
class Callbacks:
    """The names of what is called for one direction."""

    head: str
    body: str
    trailers: str
    map: Map


MESSAGES: Final = {
    StreamType.REQUEST: Callbacks(
        "proxy_on_request_headers",
        "proxy_on_request_body",
        "proxy_on_request_trailers",
        Map.REQUEST_HEADERS,
    ),
    StreamType.RESPONSE: Callbacks(
        "proxy_on_response_headers",
        "proxy_on_response_body",
        "proxy_on_response_trailers",
        Map.RESPONSE_HEADERS,
    ),
}
_PIECES: Final = {
    StreamType.REQUEST: "proxy_on_request_body",
    StreamType.RESPONSE: "proxy_on_response_body",
    StreamType.DOWNSTREAM: "proxy_on_downstream_data",
    StreamType.UPSTREAM: "proxy_on_upstream_data",
}


class Passage:
    """Lets messages and bytes pass the filter behind `entrance`."""

    def __init__(self, room: Room, entrance: Entrance) -> None:
        self._room = room
        self._entrance = entrance
        self._seconds = room.manifest.limits.deadline_ms / 1000
        self._closed_on_failure = room.manifest.on_failure == "closed"
        self._stop_iteration = room.manifest.proxy_wasm.allow_on_headers_stop_iteration
        self._bodies = room.manifest.permissions.access_bodies

    async def message(
        self,
        stream: Stream,
        call: HookCall,
        kind: StreamType,
        whole: WholeBody | None,
        ended: bool,
    ) -> int:
        """Show a message's head, and its body where it is `whole`; return a hook's code.

        `ended` is whether nothing follows the head. Raises GuestFailure.
        """
        names, side = MESSAGES[kind], stream.sides[kind]
        side.shown = whole is not None
        fields = count_fields(stream, names.map)
        opened = stream.flow.open_body if whole is None and self._bodies else None
        there = whole is not None or opened is not None
        followed = there and not ended and self._entrance.has(names.body)
        code = await self._step(stream, call, kind, names.head, fields, ended, followed=followed)
        if code == abi.CONTINUE and side.head_waits and opened is not None:
            return await self._read_ahead(stream, call, kind)
        if code != abi.CONTINUE or whole is None or ended:
            return code
        trailers = list(whole.trailers or ())
        side.data = await thaw_by_turns(whole.data)
        try:
            if whole.data or not trailers:
                # Trailers may be added where none follow.
                side.trailers = None if trailers else []
                last = not trailers
                code = await self._step(stream, call, kind, names.body, len(side.data), last)
                trailers = side.trailers or trailers
            if code == abi.CONTINUE and whole.trailers:
                side.trailers = trailers
                code = await self._step(stream, call, kind, names.trailers, len(trailers))
            if code == abi.CONTINUE:
                whole.data = await _take(side)
                whole.trailers = trailers or None
        finally:
            side.data = side.trailers = None
        return code

    async def _step(
        self,
        stream: Stream,
        call: HookCall,
        kind: StreamType,
        name: str,
        *arguments: int,
        followed: bool = False,
    ) -> int:
        """Make one callback, and wait where it pauses; return a hook's code.

        A filter that pauses a head which is `followed` by its body waits for that, as soon as
        nothing else can let it go on: such a pause holds back the head alone.
        """
        side = stream.sides[kind]
        side.resumed = False
        action = await self._entrance.about(stream, call, name, *arguments)
        if action == LOST:
            return self._lost(stream, call)
        if action == PAUSE_WITHOUT_BUFFER and side.data:
            side.data.clear()
        side.head_waits = False
        if action == CONTINUE:
            return _verdict(stream)
        for_body = followed and action == PAUSE and self._stop_iteration is not False
        if for_body and self._stop_iteration:
            side.head_waits = not (side.resumed or stream.decided)
        elif not await self._resumed(stream, side, or_idle=for_body):
            if stream.instance.lost:
                return self._lost(stream, call)
            call.journal.write(LogLevel.ERROR, self._stuck(name), stream.flow.id)
            if self._closed_on_failure:
                return FAILED
        return _verdict(stream)

    def _lost(self, stream: Stream, call: HookCall) -> int:
        if not self._closed_on_failure:
            return abi.CONTINUE
        call.journal.write(LogLevel.ERROR, _LOST_CONTEXT, stream.flow.id)
        return FAILED

    async def _resumed(self, stream: Stream, side: Side, *, or_idle: bool = False) -> bool:
        """Wait until the filter lets a direction go on, or decides about it otherwise.

        False where it does not in time. While HTTP calls of the stream are under way, their time
        counts. With `or_idle` the head waits for its body once nothing else can let it go on.
        """
        end = asyncio.get_running_loop().time() + LONGEST_PAUSE
        instance = stream.instance
        side.wake = asyncio.Event()
        instance.waiting.add(stream)
        try:
            while not (side.resumed or stream.decided):
                if instance.lost:
                    return False
                if or_idle and not instance.expects:
                    side.head_waits = True
                    return True
                side.wake.clear()
                left = end - asyncio.get_running_loop().time()
                try:
                    async with asyncio.timeout(left if stream.calls else min(left, self._seconds)):
                        await side.wake.wait()
                except TimeoutError:
                    return False
        finally:
            side.wake = None
            instance.waiting.discard(stream)
        return True

    async def _read_ahead(self, stream: Stream, call: HookCall, kind: StreamType) -> int:
        """Show pieces of a body while its head waits, until both may go on; return a hook's code.

        What was shown by then goes on behind the head; the rest passes piece by piece. Raises
        GuestFailure, and what reading a body raises.
        """
        flow, side = stream.flow, stream.sides[kind]
        opened = self._room.open_body(call.hook, flow)
        if opened is None:
            return abi.CONTINUE
        side.data = bytearray()
        ended, paused, problem = False, True, None
        trailers: list[Field] | None = None
        try:
            while paused and not (side.resumed or stream.decided or stream.instance.lost):
                side.wake = asyncio.Event()
                piece = await opened.next(side.wake.wait())
                if piece is not None:
                    side.data += piece
                    ended = not piece
                    if ended:
                        side.trailers = trailers = list(opened.trailers or ())
                    paused, problem = await self._show_piece(stream, call, kind, side, ended)
        finally:
            side.wake, side.shown, side.trailers = None, True, None
            rest = Pieces(self, stream, self._room.call(call.hook, flow), kind)
            name = self._room.manifest.name
            opened.pass_through(name, rest, await _take(side), ended, trailers or None)
        if stream.instance.lost:
            return self._lost(stream, call)
        if problem is not None:
            call.journal.write(LogLevel.ERROR, problem, flow.id)
            if self._closed_on_failure:
                return FAILED
        return _verdict(stream)

    async def piece(
        self, stream: Stream, call: HookCall, kind: StreamType, data: bytes, ended: bool
    ) -> bytes:
        """Show a piece of a body or a tunnel; return what goes on. Raises RefusedByHook."""
        side = stream.sides[kind]
        let_go = await _take(side) if side.resumed else b""  # since the piece before
        if side.data is None:
            side.data = bytearray()
        side.data += data
        try:
            paused, problem = await self._show_piece(stream, call, kind, side, ended)
        except GuestFailure as failure:
            self._room.complain(failure)
            paused, problem = False, str(failure)
        else:
            if problem is not None:
                call.journal.write(LogLevel.ERROR, problem, stream.flow.id)
            elif paused:
                paused = not await self._let_go_by_a_call(stream, side)
        by = f"plugin {self._room.manifest.name}"
        head = stream.last_call.respond_head
        if stream.local_response and head is not None:
            raise AnsweredByHook(Respond(by, head, stream.last_call.respond_body))
        if stream.closed:
            raise RefusedByHook(f"ended by {by}")
        if problem is not None and self._closed_on_failure:
            raise RefusedByHook(f"plugin {self._room.manifest.name}: {problem}")
        return let_go if paused else await _take(side, let_go)

    async def _show_piece(
        self, stream: Stream, call: HookCall, kind: StreamType, side: Side, ended: bool
    ) -> tuple[bool, str | None]:
        """Make the callback; whether what is there waits for more, and what went wrong.

        Raises GuestFailure.
        """
        name, size = _PIECES[kind], len(side.data or b"")
        side.resumed = False
        if ended and side.trailers and self._entrance.has(MESSAGES[kind].trailers):
            # They are the end; the filter has been shown all of the body.
            name = MESSAGES[kind].trailers
            action = await self._entrance.about(stream, call, name, len(side.trailers))
        else:
            action = await self._entrance.about(stream, call, name, size, ended)
        if side.edited and kind in MESSAGES:
            side.edited = False
            of_response = kind is StreamType.RESPONSE
            sign_pieces(stream.flow, self._room.manifest.name, of_response=of_response)
        if action == LOST:
            return False, _LOST_CONTEXT if self._closed_on_failure else None
        if action == CONTINUE or side.resumed:
            return False, None
        if action == PAUSE_WITHOUT_BUFFER and kind in MESSAGES and side.data:
            side.data.clear()
        if not ended:
            if size <= BUFFER_BYTES:
                return True, None
            return False, f"{name} held back more than {BUFFER_BYTES} bytes; they go on"
        if await self._resumed(stream, side):
            return False, None
        return False, _LOST_CONTEXT if stream.instance.lost else self._stuck(name)

    async def _let_go_by_a_call(self, stream: Stream, side: Side) -> bool:
        """Wait for the stream's own HTTP calls; whether one has let a paused piece go on.

        Whoever sends may have nothing more to say before that.
        """
        while stream.calls and not (side.resumed or stream.decided or stream.instance.lost):
            side.wake = asyncio.Event()
            await side.wake.wait()
        side.wake = None
        return side.resumed or stream.decided or stream.instance.lost

    def _stuck(self, name: str) -> str:
        return (
            f"{name} paused the flow, and nothing has let it go on for {self._seconds:g} s; see "
            "limits.deadline_ms"
        )

    async def wait(self, stream: Stream, kind: StreamType, name: str) -> None:
        """Make a callback without data, and wait where it pauses. Raises RefusedByHook."""
        side = stream.sides[kind]
        code = await self._step(stream, stream.last_call, kind, name)
        side.resumed = False
        if code != abi.CONTINUE:
            raise RefusedByHook(f"ended by plugin {self._room.manifest.name}")


class Pieces(TrailersToo):
    """What one message's body goes through on its way: a `BodyFilter`."""

    def __init__(self, passage: Passage, stream: Stream, call: HookCall, kind: StreamType) -> None:
        self._passage = passage
        self._stream = stream
        self._call = call
        self._kind = kind

    async def __call__(self, data: bytes, ended: bool) -> bytes:
        """See `BodyFilter`."""
        side = self._stream.sides[self._kind]
        out = b""
        if ended:
            trailers = self.trailers
            if data and trailers:  # which are shown by themselves
                out = await self._passage.piece(self._stream, self._call, self._kind, data, False)
                data = b""
            side.trailers = list(trailers or ())
        try:
            out += await self._passage.piece(self._stream, self._call, self._kind, data, ended)
        finally:
            if ended:
                self.trailers, side.trailers = side.trailers or None, None
        return out


def _verdict(stream: Stream) -> int:
    """What the filter wants done with the exchange, as a hook's code."""
    if stream.local_response:
        return abi.RESPOND
    return abi.BLOCK if stream.closed else abi.CONTINUE


async def _take(side: Side, before: bytes = b"") -> bytes:
    data, side.data = side.data, None
    return await join_by_turns(before, data or b"")
