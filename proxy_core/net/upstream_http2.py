"""An HTTP/2 connection to an origin, shared by as many exchanges as the origin lets in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from proxy_core.config import Limits
from proxy_core.errors import (
    ConnectionLost,
    ConnectionTimeout,
    Int3rceptorError,
    LocalProtocolError,
    UpstreamError,
    UpstreamGone,
)
from proxy_core.exchange.ports import ByteStream, Route
from proxy_core.model.connection import ServerConnection
from proxy_core.model.headers import Field
from proxy_core.model.message import RequestHead
from proxy_core.net.channel import Channel
from proxy_core.net.clock import NEVER, Clock
from proxy_core.net.http2_bytes import Http2Bytes
from proxy_core.net.http2_link import Http2Link
from proxy_core.net.http2_stream import Http2Stream
from proxy_core.wire.events import BodyLength, ResponseReceived
from proxy_core.wire.extended_connect import as_switch, connect_fields
from proxy_core.wire.http2_codes import CANCEL, HTTP_1_1_REQUIRED, REFUSED_STREAM, error_name
from proxy_core.wire.http2_fields import request_fields, wants_trailers

_LAST_STREAM = 2**31 - 3
_REFUSALS = {
    REFUSED_STREAM: "refused the stream",
    HTTP_1_1_REQUIRED: "asks for HTTP/1.1",
}
"""What says that the request was not looked at (RFC 9113, sections 7 and 8.7)."""

_SILENT = "did not answer in time"
_SLOW = "did not read the request in time"
_STALLED = "stopped in the middle of its answer"


class Http2UpstreamStream(Http2Stream):
    """Implements `UpstreamStream`."""

    __slots__ = (
        "_answered",
        "_final",
        "_heads",
        "_method",
        "_switched",
        "_upstream",
        "_websocket",
        "left",
        "reused",
        "server",
    )

    def __init__(self, upstream: Http2Upstream, reused: bool) -> None:
        super().__init__(upstream, 0)
        self.server = upstream.server
        self.reused = reused
        self.left = False
        """Nobody reads what the origin may still say."""
        self._upstream = upstream
        self._heads: list[ResponseReceived] = []
        self._answered = False
        self._final = False
        """The final head came; `_answered` after an informational one too."""
        self._method = b""
        self._websocket: RequestHead | None = None
        """The request that an extended CONNECT was made of."""
        self._switched = False

    def send_head(
        self,
        head: RequestHead,
        length: BodyLength,
        clean: bytes | None = None,
        upgrade: bytes | None = None,
    ) -> None:
        """See `UpstreamStream.send_head`; an upgrade becomes an extended CONNECT (RFC 8441)."""
        if upgrade is not None:
            self._method = b"CONNECT"
            self._websocket = head
            self.queue_fields(connect_fields(head))
            self.allow(self._link.limits.response_timeout, _SILENT)
            return
        self._method = head.method
        self.queue_fields(request_fields(head, length, wants_trailers(head.headers.fields)))
        if length == 0:
            self.send_end(None)

    @property
    def method(self) -> bytes:
        """The request's method."""
        return self._method

    def send_end(self, trailers: list[Field] | None) -> None:
        """See `BodySink.send_end`."""
        super().send_end(trailers)
        if not self._final:
            self.allow(self._link.limits.response_timeout, _SILENT)

    def take_head(self, received: ResponseReceived) -> None:
        """Queue a head; the link calls this."""
        self._heads.append(received)
        self.wake()

    async def read_head(self) -> ResponseReceived:
        """See `UpstreamStream.read_head`."""
        while not self._heads:
            if self._ended:
                raise UpstreamError(f"{self._upstream.name} ended its answer without a head")
            await self.wait()
        received = self._heads.pop(0)
        self._answered = True
        if not received.informational:
            if self._websocket is not None:
                received = as_switch(self._websocket, received)
                self._switched = received.upgrade is not None
            self._final = True
            self.deadline = NEVER  # until somebody waits for the body
        return received

    async def read(self) -> bytes:
        """See `BodySource.read`."""
        while (data := self.read_nowait()) is None:
            self.allow(self._link.limits.body_timeout, _STALLED)
            await self.wait()
            self.deadline = NEVER
        return data

    async def drain(self) -> None:
        """See `BodySink.drain`."""
        # Only while we wait for it: a client that is slow to send is not the origin's fault.
        self.allow(self._link.limits.idle_timeout, _SLOW)
        try:
            await super().drain()
        except (ConnectionLost, ConnectionTimeout) as error:
            raise UpstreamError(f"{self._upstream.name} failed: {error}") from error
        if self._final:  # somebody may be waiting for the rest of the answer
            self.allow(self._link.limits.body_timeout, _STALLED)
        else:
            self.deadline = NEVER

    def release(self) -> None:
        """See `UpstreamStream.release`."""
        if self.complete or self._failure is not None:
            self._link.drop(self)
        else:
            # An extended CONNECT was turned down; or the head said that no body comes, and the
            # END_STREAM is still on its way.
            self._link.reset(self, CANCEL)

    def abort(self) -> None:
        """See `UpstreamStream.abort`."""
        self._link.reset(self, CANCEL)
        if self._failure is None:
            self.fail(UpstreamError("the exchange was given up"))

    def finish(self) -> None:
        """See `Http2Stream.finish`: the origin has a while to end its side as well."""
        self.left = True
        self._link.flush()
        if self.complete or self._failure is not None:
            self._link.drop(self)
        else:
            limits = self._link.limits
            seconds = limits.unwanted_timeout if self.sent else limits.idle_timeout
            self.allow(seconds, "did not end its stream")

    def expire(self) -> None:
        """See `Perishable.expire`; nobody else would end a stream that was left."""
        super().expire()
        if self.left:
            self._link.reset(self, CANCEL)

    def become_bytes(self) -> ByteStream:
        """See `UpstreamStream.become_bytes`."""
        if not self._switched:
            raise LocalProtocolError("an HTTP/2 stream without CONNECT cannot be upgraded")
        return Http2Bytes(self._link, self)

    def timed_out(self, error: ConnectionTimeout) -> Int3rceptorError:
        """See `Http2Stream.timed_out`."""
        return UpstreamError(f"{self._upstream.name} {error}", 504)

    def broken(self, what: str, unseen: bool, code: int | None = None) -> None:
        """Fail with the origin's fault, `code` on the wire; the link calls this."""
        text = f"{self._upstream.name} {what}"
        if self._answered or self._heads:
            self.fail(UpstreamError(text, reset_code=code))
        else:
            self.fail(UpstreamGone(text, unseen))


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
        self.name = f"{route.host}:{route.port}"
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
        stream = Http2UpstreamStream(self, self.server.exchanges > 0)
        self.server.exchanges += 1
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
