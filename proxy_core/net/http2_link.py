"""What both sides of HTTP/2 share on the wire: one connection, many streams, one writer.

A stream queues what it wants to send and marks itself; the link sends for all marked streams at
once, at the end of the loop's turn, so that a burst of answers is one write. Flow control holds
each stream back by itself: its window is given back as its reader reads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from proxy_core.config import Limits
from proxy_core.errors import (
    ConnectionLost,
    ConnectionTimeout,
    Int3rceptorError,
    ProtocolError,
    RemoteProtocolError,
    TlsError,
)
from proxy_core.model.headers import Field
from proxy_core.net.channel import Channel
from proxy_core.net.clock import NEVER, Clock
from proxy_core.wire.http2 import ENHANCE_YOUR_CALM, NO_ERROR, Http2Engine, Listener
from proxy_core.wire.http2_budget import Http2Budget, OverBudget

if TYPE_CHECKING:
    from collections.abc import Iterable

_STARVED = 1024
"""A stream that may send less than so many bytes in all says nothing."""
_LAST_SECONDS = 1.0
_LAST_BYTES = 1024 * 1024


class Http2Stream:
    """One stream: what came and was not read, what is to go and was not sent."""

    __slots__ = (
        "_drainers",
        "_end",
        "_ended",
        "_expiry",
        "_failure",
        "_fields",
        "_finished",
        "_gone",
        "_incoming",
        "_link",
        "_marked",
        "_out",
        "_out_size",
        "_out_trailers",
        "_reader",
        "_stalled",
        "deadline",
        "id",
        "trailers",
    )

    def __init__(self, link: Http2Link, stream_id: int) -> None:
        self.id = stream_id
        """0 until a stream that we open has sent its head."""
        self.trailers: list[Field] | None = None
        self.deadline = NEVER
        self._expiry = ""
        self._link = link
        self._incoming: deque[tuple[bytes, int]] = deque()
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
        self._stalled = False
        self._gone = 0
        """Bytes of body that went."""
        self._marked = False
        self._drainers: list[asyncio.Future[None]] = []

    # --- what comes; the link calls these

    def feed(self, data: bytes, credit: int) -> None:
        """Queue a piece of body."""
        self._incoming.append((data, credit))
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
        self._out.clear()
        self._out_size = 0
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
            data, credit = self._incoming.popleft()
            self._link.give_credit(self.id, credit)
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
            self._stalled
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
        self._marked = False
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
                engine.send_fields(self.id, self._link.spell(self._out_trailers), True)
            else:
                engine.send_data(self.id, b"", True)
        if self._finished:
            self._link.settle(self)
        if not self._out:
            self._stalled = False
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
        room = engine.room(self.id)
        limit = engine.max_frame
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
        self._stalled = bool(out)
        if self._stalled:
            self._link.watch_stalled()

    @property
    def starved(self) -> bool:
        """Whether it waits for a window that never was of any use."""
        return self._stalled and self._gone + self._link.engine.granted(self.id) < _STARVED

    @property
    def sent(self) -> bool:
        """Whether our side is complete."""
        return self._finished

    @property
    def complete(self) -> bool:
        """Whether both sides are."""
        return self._finished and self._ended

    def drop_incoming(self) -> None:
        """Give back the credit of what nobody will read."""
        while self._incoming:
            self._link.give_credit(self.id, self._incoming.popleft()[1])


class Http2Link(Listener):
    """One HTTP/2 connection over a channel; client and upstream side build on it."""

    def __init__(self, channel: Channel, clock: Clock, limits: Limits, client_side: bool) -> None:
        self.channel = channel
        self.clock = clock
        self.limits = limits
        self.streams: dict[int, Http2Stream] = {}
        # One connection to an origin carries many clients' exchanges.
        budget = limits.http2_budget * (10 if client_side else 1)
        self.engine = Http2Engine(
            client_side,
            self,
            stream_window=limits.stream_buffer,
            max_streams=limits.streams,
            max_head=limits.head_bytes,
            max_target=limits.target_bytes,
            max_fields=limits.header_count,
            budget=Http2Budget(budget, limits.http2_forgiven, lambda: clock.now),
        )
        self.deadline = NEVER
        """When to look again at what stands still; see `expire`."""
        self._head_since: float | None = None
        self._dirty: list[Http2Stream] = []
        self._flush_due = False

    async def run(self) -> Exception | None:
        """Serve the connection until it ends; return why, where it did not end well."""
        try:
            self.engine.begin()
            self.flush()
            while data := await self.channel.receive():
                self.engine.receive_data(data)
                if self.engine.mid_head:
                    self._watch_head()
                else:
                    self._head_since = None
                self.flush()
        except RemoteProtocolError as error:
            self._send(self.engine.take())
            return error
        except (ConnectionLost, ConnectionTimeout, TlsError) as error:
            return error
        finally:
            self.clock.forget(self)
        return None

    # --- what stands still

    def watch_stalled(self) -> None:
        """Look at the next sweep whether the peer lets anything through."""
        if self.deadline == NEVER:
            self.deadline = self.clock.now
            self.clock.watch(self)

    def _watch_head(self) -> None:
        if self._head_since is None:
            self._head_since = self.clock.now
            self.watch_stalled()

    def expire(self) -> None:
        """See `Perishable.expire`: count streams that starve, cut a head that does not end."""
        now, since = self.clock.now, self._head_since
        if since is not None and now - since > self.limits.head_timeout:
            self.cut(RemoteProtocolError("HTTP/2: a head took too long", 408))
            return
        stalled = [stream for stream in self.streams.values() if stream._stalled]
        try:
            self.engine.budget.starved(sum(stream.starved for stream in stalled))
        except OverBudget as error:
            self.cut(RemoteProtocolError(f"HTTP/2: {error}"))
            return
        if stalled or since is not None:
            self.deadline = now
        else:
            self.clock.forget(self)

    def cut(self, error: RemoteProtocolError) -> None:
        """End the connection, because of what does not come."""
        self.engine.close(ENHANCE_YOUR_CALM)
        self._send(self.engine.take())
        self.channel.close()

    # --- sending

    def mark(self, stream: Http2Stream) -> None:
        """Note that a stream has something to send; flush at the end of the loop's turn."""
        if not stream._marked:
            stream._marked = True
            self._dirty.append(stream)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Send what streams and engine have to send."""
        self._flush_due = False
        if self.channel.closed:
            self._dirty.clear()
            return
        dirty, self._dirty = self._dirty, []
        for stream in dirty:
            try:
                stream.emit()
            except ProtocolError as error:
                stream.fail(error)
        self._send(self.engine.take())

    def _send(self, data: bytes) -> None:
        if data:
            self.channel.write(data)

    def send_head(self, stream: Http2Stream, fields: list[Field], end: bool) -> None:
        """Send a stream's head; the upstream side opens the stream with it."""
        self.engine.send_fields(stream.id, fields, end)

    def spell(self, fields: list[Field]) -> list[Field]:
        """Return trailer fields as HTTP/2 spells them."""
        return [(name.lower(), value) for name, value in fields]

    def settle(self, stream: Http2Stream) -> None:
        """Take note that our side of a stream is complete."""
        if stream.complete:
            self.drop(stream)

    def give_credit(self, stream_id: int, size: int) -> None:
        """Let the peer send more on a stream."""
        self.engine.give_credit(stream_id, size)
        self._flush_soon()

    def drop(self, stream: Http2Stream) -> None:
        """Forget a stream that is over."""
        stream.drop_incoming()
        if stream.complete and not self.channel.write_blocked:
            self.engine.budget.finished()
        self.clock.forget(stream)
        self.streams.pop(stream.id, None)
        self.engine.forget(stream.id)

    def reset(self, stream: Http2Stream, code: int) -> None:
        """Break a stream off, unless the peer has, or both sides are complete."""
        if stream.id in self.streams and not stream.complete:
            self.engine.reset(stream.id, code)
            self._flush_soon()
        self.drop(stream)

    async def close(self, code: int = NO_ERROR) -> None:
        """Say goodbye and close."""
        if not self.channel.closed:
            self.engine.close(code)
            self._send(self.engine.take())
            self.channel.close()

    async def linger(self) -> None:
        """Close so that the peer sees the goodbye, though it still sends itself."""
        if not self.channel.closed:
            await self.channel.linger(_LAST_SECONDS, _LAST_BYTES)

    # --- what came

    def on_data(self, stream_id: int, data: bytes, credit: int) -> None:
        """See `Listener.on_data`."""
        stream = self.streams.get(stream_id)
        if stream is None:
            self.give_credit(stream_id, credit)
        else:
            stream.feed(data, credit)

    def on_end(self, stream_id: int, trailers: list[Field] | None) -> None:
        """See `Listener.on_end`."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.end(trailers)
            self.settle(stream)

    def on_window(self, stream_id: int) -> None:
        """See `Listener.on_window`."""
        affected: Iterable[Http2Stream]
        if stream_id:
            stream = self.streams.get(stream_id)
            affected = () if stream is None else (stream,)
        else:
            affected = list(self.streams.values())
        for stream in affected:
            if stream._stalled:
                self.mark(stream)
