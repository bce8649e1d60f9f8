"""What both sides of HTTP/2 share on the wire: one connection, many streams, one writer.

A stream (`http2_stream`) marks itself when it has something to send; the link sends for all marked
streams at once, at the end of the loop's turn, so that a burst of answers is one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from proxy_core.config import Limits
from proxy_core.errors import (
    ConnectionLost,
    ConnectionTimeout,
    ProtocolError,
    RemoteProtocolError,
    TlsError,
)
from proxy_core.model.headers import Field
from proxy_core.net.channel import Channel, FellIdle
from proxy_core.net.clock import NEVER, Clock
from proxy_core.net.http2_stream import Http2Stream
from proxy_core.wire.http2 import Http2Engine
from proxy_core.wire.http2_budget import Http2Budget
from proxy_core.wire.http2_codes import ENHANCE_YOUR_CALM, NO_ERROR
from proxy_core.wire.http2_folded import Folded
from proxy_core.wire.http2_listener import Listener

_LAST_SECONDS = 1.0
_LAST_BYTES = 1024 * 1024
_REST_AFTER = 2.0  # seconds without a stream


class Http2Link(Listener):
    """One HTTP/2 connection over a channel; client and upstream side build on it."""

    __slots__ = (
        "_cut",
        "_dirty",
        "_flush_due",
        "_head_since",
        "channel",
        "clock",
        "deadline",
        "engine",
        "limits",
        "streams",
    )

    def __init__(
        self,
        channel: Channel,
        clock: Clock,
        limits: Limits,
        client_side: bool,
        folded: Folded | None = None,
    ) -> None:
        """`folded` is the connection to go on with, where it has begun."""
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
            folded=folded,
        )
        self.deadline = NEVER
        """When to look again at what stands still; see `expire`."""
        self._head_since: float | None = None
        self._cut: RemoteProtocolError | None = None
        self._dirty: list[Http2Stream] = []
        self._flush_due = False

    async def run(self, begun: bool = False) -> Exception | None:
        """Serve the connection until it ends or rests; return why, where it did not end well."""
        try:
            if not begun:
                self.engine.begin()
                self.flush()
            while True:
                try:
                    data = await self.channel.receive()
                except FellIdle:
                    if self._cut is not None:  # meanwhile
                        raise self._cut from None
                    if self.may_rest():
                        break
                    continue
                if not data:
                    break
                size = len(data)
                while self.engine.receive_data(data):
                    self.flush()
                    data = b""
                    await asyncio.sleep(0)
                    if self._cut is not None:
                        raise self._cut
                if self.engine.mid_frame:
                    self.on_partial(size)
                else:
                    self.on_whole()
                self.flush()
        except RemoteProtocolError as error:
            self._send(self.engine.take())
            return error
        except (ConnectionLost, ConnectionTimeout, TlsError) as error:
            return error
        finally:
            self.clock.forget(self)
        return None

    def may_rest(self) -> bool:
        """Put what has to live on aside, and return whether that was done; nothing has come."""
        return False

    # --- what stands still

    def on_partial(self, size: int) -> None:
        """Take note that so many bytes came, and that they end within a frame or a head."""
        if not self.engine.mid_head:
            self._head_since = None
        elif self._head_since is None:
            self._head_since = self.clock.now
            self.watch()

    def on_whole(self) -> None:
        """Take note that all that came was whole."""
        self._head_since = None

    def watch(self) -> None:
        """Look at the next sweep whether anything moves."""
        self._look_again(0.0)

    def fall_idle(self) -> None:
        """Take note that no stream is left."""
        self._look_again(_REST_AFTER)

    def _look_again(self, seconds: float) -> None:
        when = self.clock.now + seconds
        if self.deadline > when:
            self.deadline = when
            self.clock.watch(self)

    def expire(self) -> None:
        """See `Perishable.expire`: cut a head that does not end, and what moves by the byte."""
        now, since = self.clock.now, self._head_since
        if not self.streams:
            self.streams.clear()  # the room that there was for them
            self.engine.rest()
        if since is not None and now - since > self.limits.head_timeout:
            self.cut(RemoteProtocolError("HTTP/2: a head took too long", 408))
            return
        again, too_slow = self.look()
        if too_slow is not None:
            self.cut(RemoteProtocolError(f"HTTP/2: {too_slow}"))
        elif again or since is not None:
            self.deadline = now
        else:
            self.clock.forget(self)

    def look(self) -> tuple[bool, str | None]:
        """Return whether to look again at the next sweep, and what has been too slow for too long.

        An origin may take its time: how long is the matter of whoever waits for it.
        """
        return False, None

    def cut(self, error: RemoteProtocolError) -> None:
        """Say goodbye, because of what does not come; `run` ends with `error`."""
        self._cut = error
        self.engine.close(ENHANCE_YOUR_CALM)
        self.channel.interrupt(error)

    # --- sending

    def mark(self, stream: Http2Stream) -> None:
        """Note that a stream has something to send; flush at the end of the loop's turn."""
        if not stream.marked:
            stream.marked = True
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

    def settle(self, stream: Http2Stream) -> None:
        """Take note that our side of a stream is complete."""
        if stream.complete:
            self.drop(stream)

    def give_credit(self, stream_id: int, size: int, of_all: int) -> None:
        """Let the peer send `size` bytes more on a stream, `of_all` on the connection."""
        self.engine.give_credit(stream_id, size, of_all)
        self._flush_soon()

    def drop(self, stream: Http2Stream) -> None:
        """Forget a stream that is over."""
        stream.drop_incoming()
        stream.drop_outgoing()
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
            self.give_credit(stream_id, credit, credit)
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
            if stream.stalled:
                self.mark(stream)
