"""The client's side of HTTP/1.1: one request after the other on one channel.

Implements `ClientStream` for the exchange at hand. Pipelined requests wait in the reader until
the answer before them is out (RFC 9112, section 9.3.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from proxy_core.config import Limits
from proxy_core.errors import (
    ClientDisconnected,
    ConnectionLost,
    ConnectionTimeout,
    RemoteProtocolError,
    TlsError,
)
from proxy_core.exchange.ports import Route
from proxy_core.model.connection import ClientConnection
from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import HTTP_10, HTTP_11, RequestHead, ResponseHead
from proxy_core.net.body_pace import BodyPace
from proxy_core.net.channel import Channel
from proxy_core.net.parent import challenges_of
from proxy_core.net.routing import Router
from proxy_core.wire.events import CHUNKED, UNTIL_CLOSE, BodyLength, EndOfMessage, RequestReceived
from proxy_core.wire.http1 import ConnectionClosed, RequestReader
from proxy_core.wire.http1_chunked import encode_chunk, encode_last_chunk
from proxy_core.wire.http1_encode import encode_response_head

_CONTINUE = 100
_PATIENCE = 1.0
"""Seconds that a client waits to be told to send its body, after which we tell it."""
_JOIN_BELOW = 16384
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1024 * 1024


class Http1Client:
    """One client connection that speaks HTTP/1."""

    __slots__ = (
        "_body_read",
        "_channel",
        "_chunked",
        "_continued",
        "_gone",
        "_held_back",
        "_keep_alive",
        "_limits",
        "_pace",
        "_pending",
        "_reader",
        "_refuse",
        "_request",
        "_router",
        "_run_exchange",
        "client",
        "head_sent",
        "trailers",
    )

    def __init__(
        self,
        channel: Channel,
        client: ClientConnection,
        router: Router,
        limits: Limits,
        run_exchange: Callable[[Http1Client, RequestReceived], Awaitable[None]],
        refuse: Callable[[RemoteProtocolError], None],
        lenient: bool = False,
    ) -> None:
        """`refuse` is told of bytes that are no request; they get an answer, and the end."""
        self.client = client
        self.trailers: list[Field] | None = None
        self.head_sent = False
        self._channel = channel
        self._router = router
        self._limits = limits
        self._run_exchange = run_exchange
        self._refuse = refuse
        self._reader = RequestReader(
            router.scheme, limits.head_bytes, limits.header_count, limits.target_bytes, lenient
        )
        self._request: RequestReceived
        self._body_read = True
        self._pace: BodyPace | None = None
        """How the request's body comes, once it was waited for."""
        self._keep_alive = True
        self._chunked = False
        self._pending = b""
        self._gone = False
        """The connection was handed over, or broken off."""
        self._held_back = False
        """The client may wait to be told to send its body (RFC 9110, section 10.1.1)."""
        self._continued = False
        """It was told so by us, for the origin said nothing."""

    async def run(self, rested: bool = False) -> RequestReceived | None:
        """Serve requests until the connection ends; return a CONNECT that is to be tunnelled.

        Raises FellIdle between two requests: another one may go on then, which is told that it
        `rested`.
        """
        while True:
            received = await self._next_request(rested)
            rested = False
            if received is None:
                return None
            if received.head.method == b"CONNECT":
                return received
            self._begin(received)
            await self._run_exchange(self, received)
            if self._gone:
                return None
            if not self._keep_alive:
                await self._linger_over_body()
                return None
            if not self._body_read and not await self._read_rest_of_body():
                await self._channel.linger(_LINGER_SECONDS, _LINGER_BYTES)
                return None
            self._reader.start_next()
            del received, self._request  # the next one may be long in coming

    async def _next_request(self, rested: bool) -> RequestReceived | None:
        reader, channel, limits = self._reader, self._channel, self._limits
        if rested:
            channel.doze()
        else:
            channel.allow_idle(limits.idle_timeout, "no request came")
        begun = False
        event = None
        try:
            while True:
                event = reader.next_event()
                if event is None:
                    if reader.mid_message and not begun:
                        begun = True  # from its first byte on: a trickle buys no more time
                        channel.allow(limits.head_timeout, "the request's head took too long")
                    reader.receive_data(await channel.receive())
                elif isinstance(event, RequestReceived):
                    channel.allow_for_ever()
                    if self._router.passwords is not None:
                        await self._router.let_in(event.head)
                    return self._router.adopt(event)
                elif isinstance(event, ConnectionClosed):
                    channel.close()
                    return None
                else:
                    raise RuntimeError(f"{event!r} where a request should begin")
        except RemoteProtocolError as error:
            self._reject(error)
            if isinstance(event, RequestReceived):
                await self._linger_over_body()
            else:
                await channel.linger(_LINGER_SECONDS, _LINGER_BYTES)
        except ConnectionTimeout as error:
            if reader.mid_message:
                self._reject(RemoteProtocolError(str(error), 408))
                await channel.linger(_LINGER_SECONDS, _LINGER_BYTES)
            else:
                channel.close()
        except (ConnectionLost, TlsError):
            channel.abort()
        return None

    def _reject(self, error: RemoteProtocolError) -> None:
        self._refuse(error)
        body = f"int3rceptor: {error}\n".encode(errors="replace")
        fields = [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Length", b"%d" % len(body)),
        ]
        head = ResponseHead(error.status, b"", Headers(fields))
        raw = encode_response_head(head, len(body), connection=b"close")
        # Behind the rest: a challenge is ours to send, but passes no proxy.
        self._channel.write(_with_lines(raw, error.fields) + body)

    def _begin(self, received: RequestReceived) -> None:
        self._request = received
        self._keep_alive = received.keep_alive
        self._body_read = received.length == 0
        self._held_back = received.expect_continue
        self._continued = False
        self._pace = None
        self.head_sent = False
        self.trailers = None
        if self._body_read:
            self._reader.next_event()  # the end, which follows at once

    async def _linger_over_body(self) -> None:
        """Close, but let a client that still sends get to its answer."""
        await self._channel.linger(self._limits.unwanted_timeout, self._limits.unwanted_body)

    async def _read_rest_of_body(self) -> bool:
        """Read over a body that the exchange did not want; return whether it came to its end.

        Some clients read no answer before they have sent everything (RFC 9112, section 9.3).
        """
        channel, left = self._channel, self._limits.unwanted_body
        channel.allow(self._limits.unwanted_timeout, "the rest of the request's body was late")
        try:
            while left >= 0:
                data = self._body_event(self._reader.next_event())
                if data is None:
                    received = await channel.receive()
                    self._reader.receive_data(received)
                    if not received:
                        return False
                elif self._body_read:
                    return True
                else:
                    left -= len(data)
                if self._reader.has_more:
                    await asyncio.sleep(0)
        except (RemoteProtocolError, ConnectionLost, ConnectionTimeout, TlsError):
            pass  # the answer went out: whoever is to read it knows all there is to know
        return False

    def route(self, head: RequestHead) -> Route:
        """See `ClientStream.route`."""
        return self._router.route(head, self._request.head, self._request.upgrade is not None)

    # --- the request's body

    def read_nowait(self) -> bytes | None:
        """See `BodySource.read_nowait`."""
        if self._reader.has_more:
            return None  # `read` lets others go first
        event = self._reader.next_event()
        if event is None:
            data = self._channel.take()
            if not data:
                return None
            if self._pace is not None:
                self._pace.came(len(data))
            self._reader.receive_data(data)
            event = self._reader.next_event()
        return self._body_event(event)

    def _body_event(self, event: object) -> bytes | None:
        if isinstance(event, bytes):
            return event
        if isinstance(event, EndOfMessage):
            self.trailers = event.trailers
            self._body_read = True
            return b""
        return None

    async def read(self) -> bytes:
        """See `BodySource.read`."""
        if self._reader.has_more:
            await asyncio.sleep(0)
        try:
            while True:
                data = self._body_event(self._reader.next_event())
                if data is not None:
                    return data
                self._channel.allow(self._limits.body_timeout, "the request's body stopped coming")
                since = self._channel.now
                received = await self._receive_body()
                self._channel.allow_for_ever()
                self._judge_pace(self._channel.now - since, len(received))
                self._reader.receive_data(received)
                if not received and self._reader.next_event() is None:
                    raise ClientDisconnected("the client went away")
        except (ConnectionLost, ConnectionTimeout, TlsError) as error:
            raise self._lost(error) from error

    def _judge_pace(self, waited: float, came: int) -> None:
        if self._pace is None:
            self._pace = BodyPace(self._limits)
        self._pace.waited(waited)
        self._pace.came(came)
        try:
            self._pace.judge(counted=self._request.length > 0, answered=self.head_sent)
        except RemoteProtocolError:
            self._keep_alive = False  # RFC 9110, section 15.5.9
            raise

    async def _receive_body(self) -> bytes:
        """Wait for bytes; tell a client to send them that was told nothing for too long.

        Origins should do so, but some that speak HTTP/2 do not, and not all clients go on by
        themselves.
        """
        if self._held_back:
            try:
                async with asyncio.timeout(_PATIENCE):
                    data = await self._channel.receive()
            except TimeoutError:
                self._encourage()
            else:
                self._held_back = False  # it does not wait
                return data
        return await self._channel.receive()

    def _encourage(self) -> None:
        if self._held_back and not self.head_sent:
            self.send_informational(ResponseHead(_CONTINUE))
            self._continued = True

    # --- the response

    def send_informational(self, head: ResponseHead) -> None:
        """See `ClientStream.send_informational`."""
        if head.status == _CONTINUE:
            self._held_back = False
            if self._continued:
                return
        if self._request.head.version == HTTP_11:  # RFC 9110, section 15.2
            self._channel.write(encode_response_head(head, 0))

    def send_head(self, head: ResponseHead, length: BodyLength, clean: bytes | None = None) -> None:
        """See `ClientStream.send_head`."""
        self.head_sent = True
        request = self._request
        old = request.head.version == HTTP_10
        self._chunked = False
        if length < 0:
            if old:
                length = UNTIL_CLOSE
                self._keep_alive = False
            else:
                length = CHUNKED
                self._chunked = True
        if self._held_back and not self._body_read:
            self._keep_alive = False  # it may send its body now or not: nobody could tell
        said: list[Field] = []
        if head.status == 407 and self._router.asks_proxy(request.head):
            said = challenges_of(head)
            clean = None
        if clean is not None and self._keep_alive and not old and length >= 0:
            reason = head.reason
            self._pending = b"HTTP/1.1 %d %b\r\n%b" % (head.status, reason, clean)
            return
        connection = None
        if not self._keep_alive:
            connection = b"close"
        elif old:
            connection = b"keep-alive"
        self._pending = encode_response_head(
            head,
            length,
            connection,
            upgrade=head.headers.get(b"upgrade") if head.status == 101 else None,
            to_head=request.head.method == b"HEAD",
        )
        if said:
            self._pending = _with_lines(self._pending, said)

    @property
    def blocked(self) -> bool:
        """See `BodySink.blocked`."""
        return self._channel.write_blocked

    def send_data(self, data: bytes) -> None:
        """See `BodySink.send_data`."""
        if self._chunked:
            data = encode_chunk(data)
        if self._pending:
            if len(data) < _JOIN_BELOW:
                data = self._pending + data
            else:
                self._channel.write(self._pending)
            self._pending = b""
        self._channel.write(data)

    async def drain(self) -> None:
        """See `BodySink.drain`."""
        if self._pending:
            self._channel.write(self._pending)
            self._pending = b""
        self._channel.allow(self._limits.idle_timeout, "the client stopped reading")
        try:
            await self._channel.drain()
        except (ConnectionLost, ConnectionTimeout) as error:
            raise self._lost(error) from error
        self._channel.allow_for_ever()

    def send_end(self, trailers: list[Field] | None) -> None:
        """See `BodySink.send_end`."""
        data = self._pending
        if self._chunked:
            data += encode_last_chunk(trailers)
        if data:
            self._channel.write(data)
            self._pending = b""

    def abort(self, reason: str, reset_code: int | None = None) -> None:
        """See `ClientStream.abort`: a body cut short is told by the connection's end."""
        self._gone = True
        if self._pending:
            self._channel.write(self._pending)
            self._pending = b""
        if self._chunked or not self.head_sent:
            self._channel.close()  # without a last chunk, or without any answer
        else:
            self._channel.abort()

    def become_bytes(self) -> Channel:
        """See `ClientStream.become_bytes`."""
        self._gone = True
        return self.release_channel()

    def release_channel(self) -> Channel:
        """Hand over the channel with the bytes that were read and not used."""
        self._channel.unread(self._reader.take_rest())
        self._channel.allow_for_ever()
        return self._channel

    def _lost(self, error: Exception) -> ClientDisconnected:
        return ClientDisconnected(f"the client went away: {error}")


def _with_lines(head: bytes, fields: Iterable[Field]) -> bytes:
    """Return a head with fields behind its own, whatever they are."""
    return head[:-2] + b"".join([b"%b: %b\r\n" % field for field in fields]) + b"\r\n"
