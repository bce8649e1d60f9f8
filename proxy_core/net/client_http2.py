"""The client's side of HTTP/2: every stream (`client_http2_stream`) is an exchange of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from proxy_core.config import Limits
from proxy_core.errors import ClientDisconnected, RemoteProtocolError
from proxy_core.model.connection import ClientConnection
from proxy_core.model.message import RequestHead
from proxy_core.net.channel import Channel
from proxy_core.net.client_http2_stream import Http2ClientStream
from proxy_core.net.clock import Clock
from proxy_core.net.http2_link import Http2Link
from proxy_core.net.http2_pace import Pace, least_moved, looks_allowed
from proxy_core.net.http2_stream import Http2Stream
from proxy_core.net.routing import Router
from proxy_core.wire.events import RequestReceived
from proxy_core.wire.extended_connect import as_upgrade
from proxy_core.wire.http1_fields import shown
from proxy_core.wire.http2_codes import REFUSED_STREAM
from proxy_core.wire.http2_folded import Folded


class Http2Client(Http2Link):
    """One client connection that speaks HTTP/2."""

    __slots__ = (
        "_client",
        "_folded",
        "_frame",
        "_frame_came",
        "_last_stream",
        "_least",
        "_leaving",
        "_on_fault",
        "_refuse",
        "_resumes",
        "_router",
        "_run_exchange",
        "_tasks",
    )

    def __init__(
        self,
        channel: Channel,
        client: ClientConnection,
        router: Router,
        clock: Clock,
        limits: Limits,
        run_exchange: Callable[[Http2ClientStream, RequestReceived], Awaitable[None]],
        refuse: Callable[[RemoteProtocolError], None],
        on_fault: Callable[[BaseException], None],
        folded: Folded | None = None,
    ) -> None:
        """`refuse` is told of what is no request; `on_fault` of errors that should not be.

        `folded` is what `serve` returned to another one before.
        """
        super().__init__(channel, clock, limits, client_side=False, folded=folded)
        self._client = client
        self._router = router
        self._run_exchange = run_exchange
        self._refuse = refuse
        self._on_fault = on_fault
        self._tasks: set[asyncio.Task[None]] = set()
        self._least = least_moved(limits)
        self._frame = Pace()
        self._frame_came = 0
        """Bytes of what has begun to come, and is not whole, since it was looked at last."""
        self._leaving = False
        self._last_stream: int | None = None
        """The last stream that is served, where we have said so."""
        self._resumes = folded is not None
        self._folded: Folded | None = None

    async def serve(self) -> Folded | None:
        """Serve streams until the connection ends, then end what they still do.

        Where it rests instead, return what another one needs to go on with it.
        """
        if self._resumes:
            self.channel.doze()
        else:
            self.channel.allow_idle(self.limits.idle_timeout, "no request came")
        self.channel.on_stopping = self.leave
        error: Exception | None = None
        try:
            error = await self.run(begun=self._resumes)
            if isinstance(error, RemoteProtocolError):
                self._refuse(error)
        finally:
            self.channel.on_stopping = None
            if self._folded is None:
                await self._end(error)
            else:
                del self.engine  # which knows us: only the garbage collector would find the two
        return self._folded

    async def _end(self, error: Exception | None) -> None:
        for stream in self.streams.values():
            self.clock.forget(stream)  # which would keep it, and all of this, for ever
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for stream in list(self.streams.values()):
            self.drop(stream)  # what is left of it still waits for the client
        if isinstance(error, RemoteProtocolError):
            await self.linger()
        await self.close()

    # --- requests

    def on_request(self, stream_id: int, received: RequestReceived) -> None:
        """See `Listener.on_request`."""
        if self._last_stream is not None and stream_id > self._last_stream:
            self.engine.reset(stream_id, REFUSED_STREAM)
            return
        if received.upgrade is not None:
            received = as_upgrade(received)
        stream = self._open(stream_id, received.head, received.upgrade)
        task = asyncio.get_running_loop().create_task(self._exchange(stream, received))
        stream.task = task
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def _exchange(self, stream: Http2ClientStream, received: RequestReceived) -> None:
        try:
            if received.head.method == b"CONNECT":
                raise RemoteProtocolError(_no_connect(received), 501)
            if self._router.passwords is not None:
                await self._router.let_in(received.head)
            self._router.adopt(received)
        except RemoteProtocolError as error:
            self._refuse(error)
            stream.turn_away(error)
        else:
            await self._run_exchange(stream, received)
        stream.finish()

    def on_refused(self, stream_id: int, ended: bool, error: RemoteProtocolError) -> None:
        """See `Listener.on_refused`."""
        stream = self._open(stream_id, RequestHead(b"-", "http", b"", b""))
        if ended:
            stream.end(None)
        self._refuse(error)
        stream.turn_away(error)
        stream.finish()

    def _open(
        self, stream_id: int, head: RequestHead, upgrade: bytes | None = None
    ) -> Http2ClientStream:
        if self.channel.write_blocked:
            self.engine.budget.unread()
        stream = Http2ClientStream(self, stream_id, self._client, self._router, head, upgrade)
        self.streams[stream_id] = stream
        self.clock.watch(stream)
        self.channel.allow_for_ever()
        return stream

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_fault(error)

    # --- how streams end

    def settle(self, stream: Http2Stream) -> None:
        """See `Http2Link.settle`; gives what the exchange left unread of a request its time."""
        super().settle(stream)
        if isinstance(stream, Http2ClientStream) and stream.left and not stream.complete:
            stream.await_end()

    def drop(self, stream: Http2Stream) -> None:
        """See `Http2Link.drop`."""
        super().drop(stream)
        if not self.streams:
            self.channel.allow_idle(self.limits.idle_timeout, "no request came")
            self._close_if_done()

    def on_malformed(self, stream_id: int, error: RemoteProtocolError) -> None:
        """See `Listener.on_malformed`; the exchange, where there is one, says why it ends."""
        stream = self.streams.get(stream_id)
        if stream is None:
            self._refuse(error)
        else:
            stream.fail(ClientDisconnected(f"the client broke its stream: {error}"))
            self.drop(stream)

    def on_reset(self, stream_id: int, code: int, reason: str) -> None:
        """See `Listener.on_reset`."""
        stream = self.streams.get(stream_id)
        if isinstance(stream, Http2ClientStream):
            stream.fail(ClientDisconnected(f"the client went away: {reason}"))
            self.drop(stream)
            if stream.task is not None:
                stream.task.cancel()

    # --- resting

    def may_rest(self) -> bool:
        """See `Http2Link.may_rest`."""
        if not (self.streams or self._tasks or self._flush_due or self._leaving):
            self._folded = self.engine.fold()
        if self._folded is None:
            self.channel.doze()
        return self._folded is not None

    # --- leaving

    def leave(self) -> None:
        """Take no more requests than are on their way, finish those, then close."""
        if not self._leaving and not self.channel.closed:
            self._leaving = True
            self.engine.leave()
            self.flush()

    def on_leave_seen(self) -> None:
        """See `Listener.on_leave_seen`."""
        if self._leaving and self._last_stream is None:
            self._last_stream = self.engine.refuse_further()
            self._flush_soon()
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self._last_stream is not None and not self.streams:
            self.flush()
            self.channel.close()

    # --- what is too slow

    def on_partial(self, size: int) -> None:
        """See `Http2Link.on_partial`."""
        super().on_partial(size)
        self._frame_came += size
        self.watch()

    def on_whole(self) -> None:
        """See `Http2Link.on_whole`."""
        super().on_whole()
        self._frame_came = self._frame.slow = 0

    def look(self) -> tuple[bool, str | None]:
        """See `Http2Link.look`."""
        came, self._frame_came = self._frame_came, 0
        self._frame.look(came, self._least)
        slow, what = self._frame.slow, "a frame that comes by the byte"
        again = False
        for stream in self.streams.values():
            assert isinstance(stream, Http2ClientStream)
            stream.look(self._least)
            again |= stream.stalled
            slow, what = max((slow, what), stream.slowness())
        if slow < looks_allowed(self.limits):
            return again, None
        limits = self.limits
        return again, (
            f"{what}: less than {limits.http2_least_rate} bytes a second,"
            f" for {limits.http2_slow_for:g} s in all"
        )


def _no_connect(received: RequestReceived) -> str:
    if received.upgrade is None:
        return "CONNECT inside HTTP/2 is not supported"
    return f"CONNECT for {shown(received.upgrade)} is not supported, only for websocket"
