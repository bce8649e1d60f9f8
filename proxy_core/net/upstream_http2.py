"""An HTTP/2 connection to an origin, shared by as many exchanges as the origin lets in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from proxy_core.config import Limits
from proxy_core.exchange.ports import Route
from proxy_core.model.connection import ServerConnection
from proxy_core.model.headers import Field
from proxy_core.net.channel import Channel
from proxy_core.net.clock import Clock
from proxy_core.net.http2_link import Http2Link
from proxy_core.net.http2_stream import Http2Stream
from proxy_core.net.upstream_http2_stream import Http2UpstreamStream
from proxy_core.wire.events import ResponseReceived
from proxy_core.wire.http2_codes import HTTP_1_1_REQUIRED, REFUSED_STREAM, error_name

_LAST_STREAM = 2**31 - 3
_REFUSALS = {
    REFUSED_STREAM: "refused the stream",
    HTTP_1_1_REQUIRED: "asks for HTTP/1.1",
}
"""What says that the request was not looked at (RFC 9113, sections 7 and 8.7)."""


class Http2Upstream(Http2Link):
    """One shared connection."""

    def __init__(
        self,
        channel: Channel,
        server: ServerConnection,
        route: Route,
        clock: Clock,
        limits: Limits,
        drop: Callable[[Http2Upstream], None],
    ) -> None:
        """`drop` is told when no new stream may be opened any more."""
        super().__init__(channel, clock, limits, client_side=True)
        self.server = server
        self.route = route
        self._name = f"{route.host}:{route.port}"
        self.wants_http1 = False
        """The origin has said that it is to be spoken to in HTTP/1.1."""
        self._drop_me = drop
        self._open: set[Http2UpstreamStream] = set()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve; the connection owns the task."""
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        error: Exception | None = None
        try:
            error = await self.run()
        finally:
            self._retire()
            why = "closed the connection" if error is None else f"failed: {error}"
            for stream in list(self._open):
                stream.broken(why, unseen=stream.id == 0)
            self._open.clear()
            self.streams.clear()
            self.channel.close()

    def _retire(self) -> None:
        self._closing = True
        self._drop_me(self)

    @property
    def has_room(self) -> bool:
        """Whether one more stream may be opened."""
        return (
            not self._closing
            and not self.channel.ended
            and len(self._open) < self.engine.peer_max_streams
        )

    @property
    def takes_websockets(self) -> bool:
        """Whether the origin offers WebSockets over HTTP/2 (RFC 8441)."""
        return self.engine.takes_extended_connect

    def open_stream(self) -> Http2UpstreamStream:
        """Return a new stream; it takes its id when its head is sent."""
        server = self.server
        stream = Http2UpstreamStream(
            self,
            server,
            self._name,
            reused=server.exchanges > 0,
            asks_proxy=self.route.asks_proxy,
        )
        server.exchanges += 1
        self._open.add(stream)
        self.clock.watch(stream)
        self.channel.allow_for_ever()
        return stream

    def send_head(self, stream: Http2Stream, fields: list[Field], end: bool) -> None:
        """See `Http2Link.send_head`."""
        assert isinstance(stream, Http2UpstreamStream)
        if self._closing:
            stream.broken("takes no new streams", unseen=True)
            return
        if len(self.streams) >= self.engine.peer_max_streams:  # it changed its mind meanwhile
            stream.broken("has no room for another stream", unseen=True)
            return
        stream.id = self.engine.next_stream_id()
        self.streams[stream.id] = stream
        self.engine.send_request(stream.id, stream.method, fields, end)
        if stream.id >= _LAST_STREAM:
            self._retire()

    def settle(self, stream: Http2Stream) -> None:
        """See `Http2Link.settle`: the exchange releases the stream, unless it has left it."""
        if isinstance(stream, Http2UpstreamStream) and stream.left:
            super().settle(stream)

    def drop(self, stream: Http2Stream) -> None:
        """See `Http2Link.drop`."""
        super().drop(stream)
        self._open.discard(stream)
        if not self._open:
            if self._closing:
                self.channel.close()
            else:
                self.fall_idle()
                self.channel.allow(self.limits.upstream_idle, "nothing to do")

    def on_response(self, stream_id: int, received: ResponseReceived) -> None:
        """See `Listener.on_response`."""
        stream = self.streams.get(stream_id)
        if isinstance(stream, Http2UpstreamStream):
            stream.take_head(received)

    def on_reset(self, stream_id: int, code: int, reason: str) -> None:
        """See `Listener.on_reset`."""
        stream = self.streams.get(stream_id)
        if isinstance(stream, Http2UpstreamStream):
            del self.streams[stream_id]  # there is nothing left to reset
            if code == HTTP_1_1_REQUIRED:
                self.wants_http1 = True
                self._retire()
            refusal = _REFUSALS.get(code)
            stream.broken(refusal or f"broke off: {reason}", refusal is not None, code)

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        """See `Listener.on_goaway`."""
        self.wants_http1 |= code == HTTP_1_1_REQUIRED
        self._retire()
        for stream in list(self._open):
            if stream.id > last_stream_id or not stream.id:
                stream.broken(f"said goodbye ({error_name(code)})", unseen=True)
        if not self._open:
            self.channel.close()

    async def close(self, code: int = 0) -> None:
        """See `Http2Link.close`; ends the task too."""
        await super().close(code)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
