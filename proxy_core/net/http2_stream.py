"""One HTTP/2 stream, of a client or to an origin: what came and was not read, what is to go.

It queues what it wants to send and marks itself; its link sends. Flow control holds each stream
back by itself: its window is given back as its reader reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from proxy_core.errors import ConnectionTimeout, Int3rceptorError
from proxy_core.model.headers import Field
from proxy_core.net.clock import NEVER
from proxy_core.wire.http2 import Http2Engine
from proxy_core.wire.http2_budget import TINY_BYTES
from proxy_core.wire.http2_fields import lower_case

if TYPE_CHECKING:
    from proxy_core.net.http2_link import Http2Link


class Http2Stream:
    """One stream: what came and was not read, what is to go and was not sent."""

    __slots__ = (
        "_buffers",
        "_drainers",
        "_dribbled",
        "_end",
        "_ended",
        "_expiry",
        "_failure",
        "_fields",
        "_finished",
        "_gone",
        "_incoming",
        "_link",
        "_out",
        "_out_size",
        "_out_trailers",
        "_reader",
        "deadline",
        "id",
        "marked",
        "stalled",
        "trailers",
    )

    def __init__(self, link: Http2Link, stream_id: int) -> None:
        self.id = stream_id
        """0 until a stream that we open has sent its head."""
        self.trailers: list[Field] | None = None
        self.deadline = NEVER
        self._expiry = ""
        self._link = link
        self._incoming: deque[tuple[bytes, int, int]] = deque()
        """What came: each with what it is worth of the stream's window, and the connection's."""
        self._buffers = link.channel.buffers
        self._ended = False
        self._failure: Int3rceptorError | None = None
        self._reader: asyncio.Future[None] | None = None
        self._fields: list[Field] | None = None
        self._out: deque[bytes | memoryview] = deque()
        self._out_size = 0
        self._out_trailers: list[Field] | None = None
        self._end = False
        self._finished = False
        """Our side of the stream is complete."""
        self.stalled = False
        """What is queued waits for the peer's window."""
        self._gone = 0
        """Bytes of body that went."""
        self._dribbled = 0
        """Bytes of them in frames that the window has made tiny."""
        self.marked = False
        """The link knows that there is something to send."""
        self._drainers: list[asyncio.Future[None]] = []

    # --- what comes; the link calls these

    def feed(self, data: bytes, credit: int) -> None:
        """Queue a piece of body.

        While there is memory streams hold each other back no more than others' connections.
        """
        buffers = self._buffers
        buffers.held += len(data)
        if buffers.held > buffers.together:
            self._incoming.append((data, credit, credit))
        else:
            self._link.give_credit(0, 0, credit)
            self._incoming.append((data, credit, 0))
        self.wake()

    def end(self, trailers: list[Field] | None) -> None:
        """Note that the peer's side is complete."""
        self._ended = True
        self.trailers = trailers
        self.wake()

    def fail(self, error: Int3rceptorError) -> None:
        """Note that the stream is broken; what came before can still be read."""
        if self._failure is None:
            self._failure = error
        self.drop_outgoing()
        self.wake()
        self._wake_drainers()

    def wake(self) -> None:
        """Let the reader look again."""
        reader = self._reader
        if reader is not None:
            self._reader = None
            if not reader.done():
                reader.set_result(None)

    def expire(self) -> None:
        """Fail, because the deadline passed."""
        self.fail(self.timed_out(ConnectionTimeout(self._expiry)))

    def allow(self, seconds: float, expiry: str) -> None:
        """Give what comes next so many seconds."""
        self.deadline = self._link.clock.now + seconds
        self._expiry = expiry

    def timed_out(self, error: ConnectionTimeout) -> Int3rceptorError:
        """Return what a reader is to be told."""
        return error

    # --- reading

    async def wait(self) -> None:
        """Wait until something has come. Raises what the stream failed with."""
        if self._failure is not None:
            raise self._failure
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def read_nowait(self) -> bytes | None:
        """See `BodySource.read_nowait`."""
        while self._incoming:
            data, credit, owed = self._incoming.popleft()
            self._buffers.held -= len(data)
            self._link.give_credit(self.id, credit, owed)
            if data:
                return data
        return b"" if self._ended else None

    async def read(self) -> bytes:
        """See `BodySource.read`."""
        while (data := self.read_nowait()) is None:
            await self.wait()
        return data

    # --- sending

    def queue_fields(self, fields: list[Field]) -> None:
        """Send fields, when the link flushes."""
        self._fields = fields
        self._link.mark(self)

    @property
    def blocked(self) -> bool:
        """See `BodySink.blocked`."""
        return (
            self.stalled
            or self._out_size > self._link.limits.stream_buffer
            or self._link.channel.write_blocked
            or self._failure is not None
        )

    def send_data(self, data: bytes) -> None:
        """See `BodySink.send_data`."""
        if self._finished or self._failure is not None:
            return
        self._out.append(data)
        self._out_size += len(data)
        self._buffers.held += len(data)
        self._link.mark(self)

    def send_end(self, trailers: list[Field] | None) -> None:
        """See `BodySink.send_end`."""
        if self._finished or self._failure is not None:
            return
        self._end = True
        self._out_trailers = trailers
        self._link.mark(self)

    async def drain(self) -> None:
        """See `BodySink.drain`."""
        self._link.flush()
        while self._failure is None and self._out:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._drainers.append(waiter)
            await waiter
        channel = self._link.channel
        while self._failure is None and channel.write_blocked and not channel.closed:
            waiter = channel.writable()
            self._drainers.append(waiter)  # a stream can be late though its connection is not
            await waiter
        if self._failure is not None:
            raise self._failure
        await channel.drain()

    def _wake_drainers(self) -> None:
        drainers, self._drainers = self._drainers, []
        for waiter in drainers:
            if not waiter.done():
                waiter.set_result(None)

    def emit(self) -> None:
        """Hand to the engine what may be sent now; the link calls this."""
        self.marked = False
        if self._finished or self._failure is not None:
            return
        engine = self._link.engine
        if self._fields is not None and not self._emit_fields():
            return
        if self._out:
            self._emit_data(engine)
        if self._end and not self._out and not self._finished:
            self._finished = True
            if self._out_trailers:
                engine.send_fields(self.id, lower_case(self._out_trailers), True)
            else:
                engine.send_data(self.id, b"", True)
        if self._finished:
            self._link.settle(self)
        if not self._out:
            self.stalled = False
            self._wake_drainers()

    def _emit_fields(self) -> bool:
        """Send the head; return whether the stream has survived it."""
        fields, self._fields = self._fields, None
        assert fields is not None
        end = self._end and not self._out and not self._out_trailers
        self._link.send_head(self, fields, end)
        self._finished = end
        return self._failure is None

    def _emit_data(self, engine: Http2Engine) -> None:
        out = self._out
        waiting = self._out_size
        room = engine.room(self.id)
        limit = engine.max_frame
        size = 0
        while out and room > 0:
            piece = out.popleft()
            size = len(piece)
            if size > room or size > limit:
                take = min(room, limit)
                view = memoryview(piece)
                out.appendleft(view[take:])
                piece, size = view[:take], take
            last = self._end and not out and not self._out_trailers
            engine.send_data(self.id, bytes(piece), last)
            self._out_size -= size
            room -= size
            self._gone += size
            if not self._link.channel.write_blocked:
                engine.budget.sent(size, room > 0 or not out)
            if last:
                self._finished = True
        self._buffers.held -= waiting - self._out_size
        if out:
            if size <= TINY_BYTES:
                self._dribbled += size
            if not self.stalled:
                self.stalled = True
                self.on_stalled()

    def on_stalled(self) -> None:
        """Take note that what is queued waits for the peer's window from now on."""

    @property
    def let_through(self) -> int:
        """How many bytes of body the peer's window for it has let through, or would."""
        return self._gone + self._link.engine.granted(self.id)

    @property
    def sent(self) -> bool:
        """Whether our side is complete."""
        return self._finished

    @property
    def complete(self) -> bool:
        """Whether both sides are."""
        return self._finished and self._ended

    def finish(self) -> None:
        """Note that nobody reads it any more; what was sent may still wait for the peer."""
        raise NotImplementedError

    def drop_incoming(self) -> None:
        """Give back the credit of what nobody will read."""
        while self._incoming:
            data, credit, owed = self._incoming.popleft()
            self._buffers.held -= len(data)
            self._link.give_credit(self.id, credit, owed)

    def drop_outgoing(self) -> None:
        """Forget what cannot be sent any more."""
        self._out.clear()
        self._buffers.held -= self._out_size
        self._out_size = 0
