"""One request to an origin in HTTP/2: the stream that its exchange asks on and is answered on."""

from __future__ import annotations

from proxy_core.errors import (
    ConnectionLost,
    ConnectionTimeout,
    Int3rceptorError,
    LocalProtocolError,
    UpstreamError,
    UpstreamGone,
)
from proxy_core.exchange.ports import ByteStream
from proxy_core.model.connection import ServerConnection
from proxy_core.model.headers import Field
from proxy_core.model.message import RequestHead
from proxy_core.net.clock import NEVER
from proxy_core.net.http2_bytes import Http2Bytes
from proxy_core.net.http2_link import Http2Link
from proxy_core.net.http2_stream import Http2Stream
from proxy_core.net.parent import credentials_of
from proxy_core.wire.events import BodyLength, ResponseReceived
from proxy_core.wire.extended_connect import as_switch, connect_fields
from proxy_core.wire.http2_codes import CANCEL
from proxy_core.wire.http2_fields import lower_case, request_fields, wants_trailers

_SILENT = "did not answer in time"
_SLOW = "did not read the request in time"
_STALLED = "stopped in the middle of its answer"


class Http2UpstreamStream(Http2Stream):
    """Implements `UpstreamStream`; its connection opens it, and hands it what came."""

    __slots__ = (
        "_answered",
        "_asks_proxy",
        "_final",
        "_heads",
        "_name",
        "_switched",
        "_websocket",
        "left",
        "method",
        "reused",
        "server",
    )

    def __init__(
        self,
        link: Http2Link,
        server: ServerConnection,
        name: str,
        *,
        reused: bool,
        asks_proxy: bool = False,
    ) -> None:
        """`name` is what to call the origin in errors; for `asks_proxy` see `Route`."""
        super().__init__(link, 0)
        self.server = server
        self.reused = reused
        self.left = False
        """Nobody reads what the origin may still say."""
        self._name = name
        self._asks_proxy = asks_proxy
        self._heads: list[ResponseReceived] = []
        self._answered = False
        self._final = False
        """The final head came; `_answered` after an informational one too."""
        self.method = b""
        """The request's, once its head was given."""
        self._websocket: RequestHead | None = None
        """The request that an extended CONNECT was made of."""
        self._switched = False

    # --- the request

    def send_head(
        self,
        head: RequestHead,
        length: BodyLength,
        clean: bytes | None = None,
        upgrade: bytes | None = None,
    ) -> None:
        """See `UpstreamStream.send_head`; an upgrade becomes an extended CONNECT (RFC 8441)."""
        if upgrade is not None:
            self.method = b"CONNECT"
            self._websocket = head
            self.queue_fields(connect_fields(head))
            self.allow(self._link.limits.response_timeout, _SILENT)
            return
        self.method = head.method
        fields = request_fields(head, length, wants_trailers(head.headers.fields))
        if self._asks_proxy:
            fields += lower_case(credentials_of(head))
        self.queue_fields(fields)
        if length == 0:
            self.send_end(None)

    def send_end(self, trailers: list[Field] | None) -> None:
        """See `BodySink.send_end`."""
        super().send_end(trailers)
        if not self._final:
            self.allow(self._link.limits.response_timeout, _SILENT)

    async def drain(self) -> None:
        """See `BodySink.drain`."""
        # Only while we wait for it: a client that is slow to send is not the origin's fault.
        self.allow(self._link.limits.idle_timeout, _SLOW)
        try:
            await super().drain()
        except (ConnectionLost, ConnectionTimeout) as error:
            raise UpstreamError(f"{self._name} failed: {error}") from error
        if self._final:  # somebody may be waiting for the rest of the answer
            self.allow(self._link.limits.body_timeout, _STALLED)
        else:
            self.deadline = NEVER

    # --- the answer

    def take_head(self, received: ResponseReceived) -> None:
        """Queue a head; the link calls this."""
        self._heads.append(received)
        self.wake()

    async def read_head(self) -> ResponseReceived:
        """See `UpstreamStream.read_head`."""
        while not self._heads:
            if self._ended:
                raise UpstreamError(f"{self._name} ended its answer without a head")
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

    def become_bytes(self) -> ByteStream:
        """See `UpstreamStream.become_bytes`."""
        if not self._switched:
            raise LocalProtocolError("an HTTP/2 stream without CONNECT cannot be upgraded")
        return Http2Bytes(self._link, self)

    # --- the end

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

    # --- what went wrong

    def timed_out(self, error: ConnectionTimeout) -> Int3rceptorError:
        """See `Http2Stream.timed_out`."""
        return UpstreamError(f"{self._name} {error}", 504)

    def broken(self, what: str, unseen: bool, code: int | None = None) -> None:
        """Fail with the origin's fault, `code` on the wire; the link calls this."""
        text = f"{self._name} {what}"
        if self._answered or self._heads:
            self.fail(UpstreamError(text, reset_code=code))
        else:
            self.fail(UpstreamGone(text, unseen))
