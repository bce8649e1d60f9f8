"""From the hooks of this proxy to the callbacks of a filter: a context for each flow, to its end.

A request's body is shown whole where it can be gathered, so that the filter may still answer. A
response's is where its length is announced; else it is shown piece by piece, as it comes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final

from proxy_core.exchange.hooks import BodyFilter, TunnelFilter
from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from proxy_core.model.ids import FlowId
from proxy_core.model.message import HTTP_2, RequestHead
from proxy_core.plugin_host import codes as abi
from proxy_core.plugin_host.abi import Signature
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import GuestFailure
from proxy_core.plugin_host.foreign.proxy_wasm.background import Background
from proxy_core.plugin_host.foreign.proxy_wasm.codes import Peer, StreamType
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import Instance, Stream
from proxy_core.plugin_host.foreign.proxy_wasm.entrance import Entrance
from proxy_core.plugin_host.foreign.proxy_wasm.passage import MESSAGES, Passage, Pieces
from proxy_core.plugin_host.foreign.proxy_wasm.room import Room
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.draft import ResponseDraft

MOST_CONTEXTS: Final = 10_000
"""Flows that a filter knows at a time; others pass it by."""
MOST_UNFINISHED: Final = 1000
"""Contexts of flows that are over, and that the filter wants kept."""
_HTTP: Final = tuple(
    name for each in MESSAGES.values() for name in (each.head, each.body, each.trailers)
)
_STREAM: Final = (
    "proxy_on_new_connection",
    "proxy_on_downstream_data",
    "proxy_on_upstream_data",
    "proxy_on_downstream_connection_close",
    "proxy_on_upstream_connection_close",
)
_OF_HTTP: Final = (Hook.REQUEST, Hook.RESPONSE)
_NO_BODY: Final = (204, 304)
_USUALLY_EMPTY: Final = (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT")


class ProxyWasmDriver:
    """Implements `Driver`."""

    def __init__(self, room: Room, entries: Mapping[str, Signature]) -> None:
        self._room = room
        self._bodies = room.manifest.permissions.access_bodies
        kind = room.manifest.proxy_wasm.kind
        speaks_http = any(name in entries for name in _HTTP)
        speaks_stream = any(name in entries for name in _STREAM)
        self._is_http = speaks_http if kind is None else kind == "http"
        self._is_stream = speaks_stream and not speaks_http if kind is None else kind == "stream"
        self.hooks = frozenset({Hook.CAPTURE, *(_OF_HTTP if self._is_http else ())})
        self._entries = entries
        self._call = room.call(Hook.START)
        self._background = Background(room, self._call)
        self._entrance = Entrance(room, entries, self._look)
        self._background.use(self._entrance)
        self._passage = Passage(room, self._entrance)
        self.streams: dict[FlowId, Stream] = {}
        self._unfinished: deque[Stream] = deque()
        room.spawn(self._look_in())

    async def _look_in(self) -> None:
        try:
            await self._entrance.look_in()
        except GuestFailure as failure:
            self._room.complain(failure)

    def _look(self, instance: Instance) -> None:
        """Take up what a callback has left behind."""
        self._background.look(instance)
        if instance.touched:
            touched, instance.touched = instance.touched, set()
            for stream in touched:
                stream.wake()
                if stream.over and stream.finished and stream in self._unfinished:
                    self._unfinished.remove(stream)
                    self._room.spawn(self._bury(stream))

    # Exchanges.

    async def hook(self, hook: Hook, call: HookCall) -> int:
        """Make the callbacks that belong to a hook. Raises GuestFailure."""
        flow = call.flow
        if flow is None:
            return abi.CONTINUE
        match hook:
            case Hook.REQUEST:
                return await self._request(call, flow) if self._is_http else abi.CONTINUE
            case Hook.RESPONSE:
                return await self._response(call, flow)
            case Hook.CAPTURE:
                stream = self.streams.pop(flow.id, None)
                if stream is not None:
                    await self._end(stream, call)
        return abi.CONTINUE

    async def _request(self, call: HookCall, flow: Flow) -> int:
        if len(self.streams) >= MOST_CONTEXTS and not self._make_room():
            return abi.CONTINUE
        stream = await self._entrance.open(call, flow, self._keep)
        stream.request_call = call
        whole = flow.whole
        if whole is None:
            ended = flow.open_body is None and not _may_have_body(flow.request)
        else:
            ended = not whole.data and not whole.trailers
        try:
            code = await self._passage.message(stream, call, StreamType.REQUEST, whole, ended)
        finally:
            stream.request_call = None
        return await self._own_response(stream, call) if code == abi.RESPOND else code

    async def _own_response(self, stream: Stream, call: HookCall) -> int:
        """Show the filter the answer that it has made itself; return a hook's code.

        In other proxies such an answer takes its way back through the filters. A filter that fails
        at it has answered all the same.
        """
        head, body = call.respond_head, call.respond_body
        assert head is not None
        draft = stream.own_response = ResponseDraft(head)
        stream.local_response = False
        whole = WholeBody(body) if self._bodies else None
        try:
            code = await self._passage.message(
                stream, call, StreamType.RESPONSE, whole, ended=not body
            )
        except GuestFailure as failure:
            self._room.complain(failure)
            return abi.RESPOND
        finally:
            stream.own_response, stream.local_response = None, True
        if code == abi.CONTINUE:
            call.respond_head = draft.build() or head
            if whole is not None and whole.data != body:
                call.respond_body = whole.data
                call.respond_head.headers.set(b"content-length", b"%d" % len(whole.data))
            return abi.RESPOND
        return code

    def _keep(self, stream: Stream) -> None:
        self.streams[stream.flow.id] = stream

    async def _response(self, call: HookCall, flow: Flow) -> int:
        stream = self.streams.get(flow.id)
        if stream is None or stream.is_tunnel:
            return abi.CONTINUE  # it was not there when the request was
        stream.response_call = stream.last_call = call
        whole = flow.whole
        if whole is None:
            ended = flow.open_body is None and _has_no_body(flow)
        else:
            ended = not whole.data and not whole.trailers
        try:
            return await self._passage.message(stream, call, StreamType.RESPONSE, whole, ended)
        finally:
            stream.response_call = None

    def wants_body(self, hook: Hook, flow: Flow) -> bool:
        """Whether a message's body is to be gathered before its hook is called."""
        if not self._bodies or not self._is_http:
            return False
        if hook is Hook.REQUEST:
            names = MESSAGES[StreamType.REQUEST]
            return self._entrance.has(names.body, names.trailers)
        names = MESSAGES[StreamType.RESPONSE]
        response = flow.response
        if response is None or flow.id not in self.streams:
            return False
        announced = b"content-length" in response.headers or _has_no_body(flow)
        return announced and self._entrance.has(names.body, names.trailers)

    def body_filter(self, hook: Hook, flow: Flow) -> BodyFilter | None:
        """Return what a body goes through that was not there whole."""
        kind = StreamType.REQUEST if hook is Hook.REQUEST else StreamType.RESPONSE
        stream = self.streams.get(flow.id)
        if stream is None or stream.is_tunnel or stream.sides[kind].shown or not self._bodies:
            return None
        if not self._entrance.has(MESSAGES[kind].body, MESSAGES[kind].trailers):
            return None
        return Pieces(self._passage, stream, self._room.call(hook, flow), kind)

    # Tunnels.

    def tunnel_filter(self, flow: Flow) -> TunnelFilter | None:
        """Return what the bytes of a tunnel go through."""
        if not self._is_stream or not self._bodies or len(self.streams) >= MOST_CONTEXTS:
            return None
        call = self._room.call(Hook.REQUEST, flow)
        opening = asyncio.Lock()

        async def through(from_client: bool, data: bytes, ended: bool) -> bytes:
            async with opening:
                stream = self.streams.get(flow.id) or await self._connect(flow, call)
            if stream is None:
                return data
            kind = StreamType.DOWNSTREAM if from_client else StreamType.UPSTREAM
            out = await self._passage.piece(stream, call, kind, data, ended)
            if ended:
                await self._closed(stream, call, kind, Peer.REMOTE)
            return out

        return through

    async def _connect(self, flow: Flow, call: HookCall) -> Stream | None:
        try:
            stream = await self._entrance.open(call, flow, self._keep)
            stream.is_tunnel = True
            await self._passage.wait(stream, StreamType.DOWNSTREAM, "proxy_on_new_connection")
        except GuestFailure as failure:
            self._room.complain(failure)
            return self.streams.get(flow.id)
        return stream

    async def _closed(self, stream: Stream, call: HookCall, kind: StreamType, by: Peer) -> None:
        stream.sides[kind].closed = True
        side = "downstream" if kind is StreamType.DOWNSTREAM else "upstream"
        name = f"proxy_on_{side}_connection_close"
        try:
            await self._entrance.about(stream, call, name, by)
        except GuestFailure as failure:
            self._room.complain(failure)

    # The end of contexts.

    async def _end(self, stream: Stream, call: HookCall) -> None:
        """A flow is over: ask whether its context may go. Raises GuestFailure."""
        stream.over = True
        stream.last_call = call
        for side in stream.sides.values():
            side.data = side.trailers = None
        if stream.instance.lost:
            return
        if stream.is_tunnel:
            for kind in (StreamType.DOWNSTREAM, StreamType.UPSTREAM):
                if not stream.sides[kind].closed:
                    await self._closed(stream, call, kind, Peer.LOCAL)
        stream.done = True
        if "proxy_on_done" in self._entries:
            stream.finished = await self._entrance.about(stream, call, "proxy_on_done") != 0 or (
                stream.finished
            )
        else:
            stream.finished = True
        if stream.finished:
            await self._finish(stream, call)
            return
        self._unfinished.append(stream)
        if len(self._unfinished) > MOST_UNFINISHED:
            await self._finish(self._unfinished.popleft(), call)

    async def _finish(self, stream: Stream, call: HookCall) -> None:
        await self._entrance.about(stream, call, "proxy_on_log")
        await self._entrance.about(stream, call, "proxy_on_delete")
        stream.instance.streams.pop(stream.id, None)

    async def _bury(self, stream: Stream) -> None:
        try:
            await self._finish(stream, self._call)
        except GuestFailure as failure:
            self._room.complain(failure)

    def _make_room(self) -> bool:
        """Forget flows that are over, but were not shown at their end."""
        for flow_id, stream in list(self.streams.items()):
            if stream.flow.ended is not None:
                del self.streams[flow_id]
                stream.over = stream.done = True
                self._room.spawn(self._bury(stream))
        return len(self.streams) < MOST_CONTEXTS

    async def close(self) -> None:
        """Tell the filter that it is over: its flows, and itself."""
        try:
            for stream in [*self.streams.values(), *self._unfinished]:
                stream.over = True
                await self._entrance.about(stream, self._call, "proxy_on_done")
                await self._finish(stream, self._call)
            await self._entrance.about_all(self._call, "proxy_on_done")
            await self._entrance.about_all(self._call, "proxy_on_delete")
        except GuestFailure as failure:
            self._room.complain(failure)
        self._entrance.leave()
        self.streams.clear()
        self._unfinished.clear()


def _may_have_body(request: RequestHead) -> bool:
    """Whether something follows a head whose body nobody has gathered."""
    headers = request.headers
    length = headers.get(b"content-length")
    if length is not None:
        return length != b"0"
    if request.version == HTTP_2:
        return request.method not in _USUALLY_EMPTY
    return b"transfer-encoding" in headers


def _has_no_body(flow: Flow) -> bool:
    response = flow.response
    return response is not None and (
        flow.request.method == b"HEAD"
        or response.status in _NO_BODY
        or response.headers.get(b"content-length") == b"0"
    )
