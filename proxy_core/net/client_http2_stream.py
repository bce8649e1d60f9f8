"""One request of an HTTP/2 client: the stream that its exchange reads from and answers on."""

from __future__ import annotations

import asyncio
from dataclasses import replace

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
from proxy_core.net.clock import NEVER
from proxy_core.net.http2_bytes import Http2Bytes
from proxy_core.net.http2_link import Http2Link
from proxy_core.net.http2_pace import Pace
from proxy_core.net.http2_stream import Http2Stream
from proxy_core.net.parent import challenges_of
from proxy_core.net.routing import Router
from proxy_core.wire.events import BodyLength
from proxy_core.wire.extended_connect import accepts, as_answer
from proxy_core.wire.http2_budget import TINY_BYTES
from proxy_core.wire.http2_codes import CANCEL, INTERNAL_ERROR, NO_ERROR
from proxy_core.wire.http2_fields import lower_case, response_fields

_SMALL = 256
"""A piece of body with fewer bytes may be one of many."""
_FAST_PIECES = 4
"""Pieces between two looks that nobody types one by one."""


class Http2ClientStream(Http2Stream):
    """Implements `ClientStream`; its connection opens it, and notes how it ends."""

    __slots__ = (
        "_arrived",
        "_came",
        "_fresh",
        "_inward",
        "_outward",
        "_owed",
        "_pace",
        "_pieces",
        "_router",
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
        link: Http2Link,
        stream_id: int,
        client: ClientConnection,
        router: Router,
        arrived: RequestHead,
        upgrade: bytes | None,
    ) -> None:
        """`upgrade` is the protocol of an extended CONNECT, `arrived` what it was made into."""
        super().__init__(link, stream_id)
        self.client = client
        self.head_sent = False
        self.left = False
        """The exchange is over, or asks no more of the client."""
        self.task: asyncio.Task[None] | None = None
        self._router = router
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
            return self._router.route(head, self._arrived)
        return replace(self._router.route(head, self._arrived, http1_only=True), websocket=True)

    # --- the request's body

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

    # --- the answer

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
        fields = response_fields(head, length)
        if head.status == 407 and self._router.asks_proxy(self._arrived):
            fields += lower_case(challenges_of(head))
        self.queue_fields(fields)

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

    def turn_away(self, error: RemoteProtocolError) -> None:
        """Answer a request that is not served, and say why."""
        body = f"int3rceptor: {error}\n".encode(errors="replace")
        fields = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
        ]
        self.head_sent = True
        head = response_fields(ResponseHead(error.status, b"", Headers(fields)), len(body))
        # Behind the rest: a challenge is ours to send, but passes no proxy.
        self.queue_fields(head + lower_case(list(error.fields)))
        self.send_data(body)
        self.send_end(None)

    # --- the end, and what comes behind it

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

    # --- what is too slow

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
