"""The client's side of HTTP/2: every stream is an exchange of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from proxy_core.config import Limits
from proxy_core.errors import (
    ClientDisconnected,
    ConnectionLost,
    ConnectionTimeout,
    Int3rceptorError,
    LocalProtocolError,
    RemoteProtocolError,
    UpstreamError,
)
from proxy_core.exchange.ports import ByteStream, Route
from proxy_core.model.connection import ClientConnection
from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.net.body_pace import BodyPace
from proxy_core.net.channel import Channel
from proxy_core.net.clock import NEVER, Clock
from proxy_core.net.http2_bytes import Http2Bytes
from proxy_core.net.http2_link import Http2Link
from proxy_core.net.http2_pace import Pace, least_moved, looks_allowed
from proxy_core.net.http2_stream import Http2Stream
from proxy_core.net.routing import Router
from proxy_core.wire.events import BodyLength, RequestReceived
from proxy_core.wire.extended_connect import accepts, as_answer, as_upgrade
from proxy_core.wire.http1_fields import shown
from proxy_core.wire.http2_budget import TINY_BYTES
from proxy_core.wire.http2_codes import CANCEL, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM
from proxy_core.wire.http2_fields import response_fields
from proxy_core.wire.http2_folded import Folded

_SMALL = 256
"""A piece of body with fewer bytes may be one of many."""
_FAST_PIECES = 4
"""Pieces between two looks that nobody types one by one."""


class Http2ClientStream(Http2Stream):
    """Implements `ClientStream`."""

    __slots__ = (
        "_arrived",
        "_came",
        "_connection",
        "_fresh",
        "_inward",
        "_outward",
        "_owed",
        "_pace",
        "_pieces",
        "_seen",
        "_switched",
        "_unwanted",
        "_upgrade",
        "client",
        "head_sent",
        "left",
        "task",
    )

    def __init__(
        self,
        connection: Http2Client,
        stream_id: int,
        arrived: RequestHead,
        upgrade: bytes | None = None,
    ) -> None:
        """`upgrade` is the protocol of an extended CONNECT, `arrived` what it was made into."""
        super().__init__(connection, stream_id)
        self.client = connection.client
        self.head_sent = False
        self.left = False
        """The exchange is over, or asks no more of the client."""
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._arrived = arrived
        self._upgrade = upgrade
        self._switched = False
        self._owed = 0
        """What the client may send more on the connection, once this stream is over."""
        self._unwanted = 0
        """Bytes of body that were thrown away."""
        self._pace: BodyPace | None = None
        """How its body comes, once it was waited for."""
        self._fresh = 0
        """Bytes of it that came since somebody waited for it last."""
        self._inward = Pace()
        self._came = 0
        self._pieces = 0
        """Bytes and pieces of body that came since it was looked at last."""
        self._outward = Pace()
        self._seen = 0
        """Bytes of body that had gone when it was looked at last, dribbles left out."""

    def route(self, head: RequestHead) -> Route:
        """See `ClientStream.route`."""
        if self._upgrade is None:
            return self._connection.router.route(head, self._arrived)
        return replace(
            self._connection.router.route(head, self._arrived, http1_only=True), websocket=True
        )

    async def wait(self) -> None:
        """See `Http2Stream.wait`."""
        limits, clock = self._link.limits, self._link.clock
        pace = self._pace
        if pace is None:
            pace = self._pace = BodyPace(limits)
        pace.came(self._fresh)
        self._fresh = 0
        self.allow(limits.body_timeout, "the request's body stopped coming")
        since = clock.now
        await super().wait()
        self.deadline = NEVER
        pace.waited(clock.now - since)
        pace.came(self._fresh)
        self._fresh = 0
        if not self._ended:
            pace.judge(counted=self._whole_is_due, answered=self.head_sent)

    def timed_out(self, error: ConnectionTimeout) -> Int3rceptorError:
        """See `Http2Stream.timed_out`."""
        return ClientDisconnected(f"the client went away: {error}")

    def send_informational(self, head: ResponseHead) -> None:
        """See `ClientStream.send_informational`."""
        self._link.send_head(self, response_fields(head, 0), False)
        self._link.mark(self)

    def send_head(self, head: ResponseHead, length: BodyLength, clean: bytes | None = None) -> None:
        """See `ClientStream.send_head`; a 101 becomes what HTTP/2 has for it.

        Raises UpstreamError for one that does not answer the key we made.
        """
        if self._upgrade is not None:
            if head.status == 101 and not accepts(self._arrived, head):
                raise UpstreamError("the origin switched protocols without the right key")
            self._switched = head.status == 101
            head = as_answer(head)
        self.head_sent = True
        self.queue_fields(response_fields(head, length))

    def send_end(self, trailers: list[Field] | None) -> None:
        """See `BodySink.send_end`; the answer to an extended CONNECT ends nothing."""
        if self._switched:
            return
        if not self._ended:
            # Nobody reads its body any more. Some clients (curl) send on, but see no more of what
            # we say once the answer is complete: so what they may send goes out before that.
            self._link.engine.widen(self.id, self._link.limits.unwanted_body)
            self.left = True
            self._throw_away()
        super().send_end(trailers)

    async def drain(self) -> None:
        """See `BodySink.drain`."""
        self.allow(self._link.limits.idle_timeout, "the client stopped reading")
        try:
            await super().drain()
        except (ConnectionLost, ConnectionTimeout) as error:
            raise ClientDisconnected(f"the client went away: {error}") from error
        self.deadline = NEVER

    def abort(self, reason: str, reset_code: int | None = None) -> None:
        """See `ClientStream.abort`."""
        self._link.flush()
        # An origin that gave no error has cut its answer short all the same.
        self._link.reset(self, reset_code or INTERNAL_ERROR)
        self._finished = True

    def become_bytes(self) -> ByteStream:
        """See `ClientStream.become_bytes`."""
        if not self._switched:
            raise LocalProtocolError("an HTTP/2 stream without CONNECT cannot be upgraded")
        return Http2Bytes(self._link, self)

    def finish(self) -> None:
        """Note that the exchange is over; what it sent may still wait for the client's window."""
        self.left = True
        if self._failure is not None:
            return
        self._throw_away()
        self._link.flush()
        self._link.settle(self)
        if not self._finished:
            self.allow(self._link.limits.idle_timeout, "the client stopped reading")

    def feed(self, data: bytes, credit: int) -> None:
        """See `Http2Stream.feed`; what comes after the exchange is over nobody will read."""
        super().feed(data, credit)
        self._came += len(data)
        self._fresh += len(data)
        self._pieces += 1
        if len(data) < _SMALL:
            self._link.watch()
        if self.left:
            self._throw_away()
            if self._finished and self._too_long:
                self._link.reset(self, NO_ERROR)

    def on_stalled(self) -> None:
        """See `Http2Stream.on_stalled`."""
        self._seen = self._gone - self._dribbled
        self._link.watch()

    def look(self, least: int) -> None:
        """Take note of how it has moved since the last time; `least` bytes are well."""
        if self.stalled:
            useful = self._gone - self._dribbled
            moved, self._seen = useful - self._seen, useful
            useless = self.let_through < self._link.limits.http2_least_window
            self._outward.look(moved, least, hopeless=useless)
        came, self._came = self._came, 0
        pieces, self._pieces = self._pieces, 0
        if came >= least or self._whole_is_due or self._is_shredded(came, pieces):
            self._inward.look(came, least)

    @property
    def _whole_is_due(self) -> bool:
        """Whether more of its body is to come, of which the client has said how much there is."""
        return bool(self._link.engine.to_come(self.id))

    def _is_shredded(self, came: int, pieces: int) -> bool:
        """Whether its body, of unknown length, comes by the byte, and faster than anybody types.

        Where there is an answer already the two may be talking.
        """
        return not self.head_sent and pieces >= _FAST_PIECES and came <= pieces * TINY_BYTES

    def slowness(self) -> tuple[int, str]:
        """Return at how many looks it was slow, and what was."""
        return max(
            (self._outward.slow, "windows too small to answer in"),
            (self._inward.slow, "a body that comes by the byte"),
        )

    def _throw_away(self) -> None:
        for data, credit, owed in self._incoming:
            self._buffers.held -= len(data)
            self._unwanted += len(data)
            if self._too_long:
                self._owed += owed
            else:
                self._link.give_credit(self.id, credit, owed)
        self._incoming.clear()

    @property
    def _too_long(self) -> bool:
        return self._unwanted > self._link.limits.unwanted_body

    def drop_incoming(self) -> None:
        """See `Http2Stream.drop_incoming`."""
        super().drop_incoming()
        if self._owed:
            self._link.give_credit(0, 0, self._owed)

    def await_end(self) -> None:
        """Let the client end its request, for a while, where its answer is complete.

        It may be told to stop at once (RFC 9113, section 8.1), but some look for an answer only
        when they have sent everything, and take a reset before that for a failure.
        """
        if not self._finished:
            return
        if self._too_long:
            self._link.reset(self, NO_ERROR)
        else:
            self.allow(self._link.limits.unwanted_timeout, "the rest of the body was late")

    def expire(self) -> None:
        """See `Perishable.expire`; nobody else would end a stream whose exchange is over."""
        if self.left and self._finished:
            self._link.reset(self, NO_ERROR)
            return
        super().expire()
        if self.left:
            self._link.reset(self, CANCEL)


class Http2Client(Http2Link):
    """One client connection that speaks HTTP/2."""

    __slots__ = (
        "_folded",
        "_frame",
        "_frame_came",
        "_last_stream",
        "_least",
        "_leaving",
        "_on_fault",
        "_refuse",
        "_resumes",
        "_run_exchange",
        "_tasks",
        "client",
        "router",
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
        self.client = client
        self.router = router
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

    def may_rest(self) -> bool:
        """See `Http2Link.may_rest`."""
        if not (self.streams or self._tasks or self._flush_due or self._leaving):
            self._folded = self.engine.fold()
        if self._folded is None:
            self.channel.doze()
        return self._folded is not None

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

    # --- requests

    def _open(
        self, stream_id: int, head: RequestHead, upgrade: bytes | None = None
    ) -> Http2ClientStream:
        if self.channel.write_blocked:
            self.engine.budget.unread()
        stream = Http2ClientStream(self, stream_id, head, upgrade)
        self.streams[stream_id] = stream
        self.clock.watch(stream)
        self.channel.allow_for_ever()
        return stream

    def on_refused(self, stream_id: int, ended: bool, error: RemoteProtocolError) -> None:
        """See `Listener.on_refused`."""
        stream = self._open(stream_id, RequestHead(b"-", "http", b"", b""))
        if ended:
            stream.end(None)
        self._refuse(error)
        self._answer(stream, error)
        stream.finish()

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

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_fault(error)

    async def _exchange(self, stream: Http2ClientStream, received: RequestReceived) -> None:
        try:
            if received.head.method == b"CONNECT":
                raise RemoteProtocolError(_no_connect(received), 501)
            if self.router.passwords is not None:
                await self.router.let_in(received.head)
            self.router.adopt(received)
        except RemoteProtocolError as error:
            self._refuse(error)
            self._answer(stream, error)
        else:
            await self._run_exchange(stream, received)
        stream.finish()

    def _answer(self, stream: Http2ClientStream, error: RemoteProtocolError) -> None:
        body = f"int3rceptor: {error}\n".encode(errors="replace")
        fields = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
        ]
        stream.head_sent = True
        head = response_fields(ResponseHead(error.status, b"", Headers(fields)), len(body))
        # Behind the rest: a challenge is ours to send, but passes no proxy.
        stream.queue_fields([*head, *((name.lower(), value) for name, value in error.fields)])
        stream.send_data(body)
        stream.send_end(None)

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


def _no_connect(received: RequestReceived) -> str:
    if received.upgrade is None:
        return "CONNECT inside HTTP/2 is not supported"
    return f"CONNECT for {shown(received.upgrade)} is not supported, only for websocket"
