"""An HTTP/1.1 connection to an origin, and the exchange it carries at the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy_core.config import Limits
from proxy_core.errors import (
    ConnectionLost,
    ConnectionTimeout,
    RemoteProtocolError,
    TlsError,
    UpstreamError,
    UpstreamGone,
)
from proxy_core.exchange.ports import Route
from proxy_core.model.connection import ServerConnection
from proxy_core.model.headers import Field
from proxy_core.model.message import RequestHead
from proxy_core.net.channel import Channel
from proxy_core.net.parent import credentials_line, credentials_of, refused, via_line
from proxy_core.wire.events import CHUNKED, BodyLength, EndOfMessage, ResponseReceived
from proxy_core.wire.http1 import ConnectionClosed, ResponseReader
from proxy_core.wire.http1_chunked import encode_chunk, encode_last_chunk
from proxy_core.wire.http1_encode import encode_request_head

_WHO_ARE_YOU = 407
_JOIN_BELOW = 16384  # smaller pieces are copied behind the head, larger ones written by themselves


class Http1Upstream:
    """Implements `UpstreamStream` for one exchange after the other."""

    def __init__(
        self,
        channel: Channel,
        server: ServerConnection,
        route: Route,
        limits: Limits,
        give_back: Callable[[Http1Upstream], None],
        lenient: bool = False,
    ) -> None:
        """`give_back` takes the connection after an exchange that left it fit for another."""
        self.channel = channel
        self.server = server
        self.route = route
        self.trailers: list[Field] | None = None
        self.reused = False
        self._limits = limits
        self._give_back = give_back
        self._reader = ResponseReader(limits.head_bytes, limits.header_count, lenient)
        self._pending = b""
        self._chunked = False
        self._sent = True
        self._keep_alive = True
        self._answered = False
        self._final = False
        """The final head came; `_answered` after an informational one too."""
        self._upgrade: bytes | None = None
        self._via = route.via if route.scheme == "http" and not route.asks_proxy else None
        self._names_urls = self._via is not None or route.asks_proxy

    def begin(self) -> None:
        """Get ready for an exchange."""
        self.reused = self.server.exchanges > 0
        self.server.exchanges += 1
        self.trailers = None
        self._answered = False
        self._final = False
        self.channel.allow_for_ever()  # it may have lain idle until now

    # --- the request

    def send_head(
        self,
        head: RequestHead,
        length: BodyLength,
        clean: bytes | None = None,
        upgrade: bytes | None = None,
    ) -> None:
        """See `UpstreamStream.send_head`."""
        self._reader.expect(head.method)
        self._upgrade = upgrade
        self._chunked = length == CHUNKED
        if self._names_urls:
            data = self._to_proxy(head, length, upgrade)
        elif clean is not None:
            data = b"%b %b HTTP/1.1\r\n%b" % (head.method, head.path, clean)
        else:
            data = encode_request_head(head, length, upgrade, _takes_trailers(head))
        if length == 0:
            self._sent = True
            self.channel.write(data)
            self.channel.allow(self._limits.response_timeout, _SILENT)
        else:
            self._sent = False
            self._pending = data

    def _to_proxy(self, head: RequestHead, length: BodyLength, upgrade: bytes | None) -> bytes:
        """Return the head with its target in absolute form (RFC 9112, section 3.2.2)."""
        via = self._via
        if via is None:
            before = b"".join([b"%b: %b\r\n" % field for field in credentials_of(head)])
            behind = b""
        else:
            before, behind = credentials_line(via), via_line(via, head.version)
        data = encode_request_head(head, length, upgrade, _takes_trailers(head))
        path = b"" if head.path == b"*" else head.path
        lines = data[len(head.method) + 1 + len(head.path) + len(b" HTTP/1.1\r\n") : -2]
        return b"%b %b://%b%b HTTP/1.1\r\n%b%b%b\r\n" % (
            head.method,
            head.scheme.encode(),
            head.authority,
            path,
            before,
            lines,
            behind,
        )

    @property
    def blocked(self) -> bool:
        """See `BodySink.blocked`."""
        return self.channel.write_blocked

    def send_data(self, data: bytes) -> None:
        """See `BodySink.send_data`."""
        if self._chunked:
            data = encode_chunk(data)
        if self._pending:
            if len(data) < _JOIN_BELOW:
                data = self._pending + data
            else:
                self.channel.write(self._pending)
            self._pending = b""
        self.channel.write(data)

    async def drain(self) -> None:
        """See `BodySink.drain`."""
        if self._pending:
            self.channel.write(self._pending)
            self._pending = b""
        # Only while we wait for it: a client that is slow to send is not the origin's fault.
        self.channel.allow(self._limits.idle_timeout, _SLOW)
        try:
            await self.channel.drain()
        except (ConnectionLost, ConnectionTimeout) as error:
            raise self._broken(error) from error
        if self._final:  # somebody may be waiting for the rest of the answer
            self.channel.allow(self._limits.body_timeout, _STALLED)
        else:
            self.channel.allow_for_ever()

    def send_end(self, trailers: list[Field] | None) -> None:
        """See `BodySink.send_end`."""
        data = encode_last_chunk(trailers) if self._chunked else b""
        if self._pending or data:
            self.channel.write(self._pending + data)
            self._pending = b""
        self._sent = True
        if not self._final:
            self.channel.allow(self._limits.response_timeout, _SILENT)

    # --- the response

    async def read_head(self) -> ResponseReceived:
        """See `UpstreamStream.read_head`."""
        if self._pending:  # a body that is slow to come must not keep its head back
            self.channel.write(self._pending)
            self._pending = b""
        reader = self._reader
        try:
            while True:
                event = reader.next_event()
                if event is None:
                    reader.receive_data(await self.channel.receive())
                elif isinstance(event, ResponseReceived):
                    self._answered = True
                    if event.head.status == 101 and not _agrees(event.upgrade, self._upgrade):
                        raise UpstreamError(f"{self._name} switched protocols unasked")
                    if self._via is not None and event.head.status == _WHO_ARE_YOU:
                        # The question is for us: no client's credentials go further than here.
                        raise refused(self._via, f"ask {self._name}", event.head)
                    if event.informational:
                        self._skip_to_final()
                    else:
                        self._final = True
                        self._keep_alive = event.keep_alive
                        self.channel.allow_for_ever()  # until somebody waits for the body
                    return event
                elif isinstance(event, ConnectionClosed):
                    raise self._gone("closed the connection without an answer")
                else:
                    raise UpstreamError(f"{self._name} sent a body where a head should be")
        except RemoteProtocolError as error:
            if self._reader.mid_message and self.channel.ended and self.channel.error:
                raise self._broken(self.channel.error) from error
            raise UpstreamError(f"{self._name} sent a bad answer: {error}") from error
        except (ConnectionLost, ConnectionTimeout, TlsError) as error:
            raise self._broken(error) from error

    def _skip_to_final(self) -> None:
        reader = self._reader
        reader.next_event()  # an informational answer has no body, only an end
        reader.start_next()

    def read_nowait(self) -> bytes | None:
        """See `BodySource.read_nowait`."""
        if self._reader.has_more:
            return None  # `read` lets others go first
        try:
            event = self._reader.next_event()
        except RemoteProtocolError as error:
            raise UpstreamError(f"{self._name} cut its answer short: {error}") from error
        if isinstance(event, bytes):
            return event
        if isinstance(event, EndOfMessage):
            self.trailers = event.trailers
            return b""
        return None

    async def read(self) -> bytes:
        """See `BodySource.read`."""
        reader = self._reader
        if reader.has_more:
            await asyncio.sleep(0)
        try:
            while True:
                event = reader.next_event()
                if event is None:
                    self.channel.allow(self._limits.body_timeout, _STALLED)
                    reader.receive_data(await self.channel.receive())
                    self.channel.allow_for_ever()
                elif isinstance(event, bytes):
                    return event
                elif isinstance(event, EndOfMessage):
                    self.trailers = event.trailers
                    return b""
                else:
                    raise UpstreamError(f"{self._name} sent something after its answer's end")
        except RemoteProtocolError as error:
            raise UpstreamError(f"{self._name} cut its answer short: {error}") from error
        except (ConnectionLost, ConnectionTimeout, TlsError) as error:
            raise self._broken(error) from error

    # --- the end

    def release(self) -> str | None:
        """See `UpstreamStream.release`."""
        reader = self._reader
        if not reader.at_rest:
            reader.next_event()  # the end of a message without a body
        channel = self.channel
        # Bytes behind the answer would be taken for the next one's.
        fit = reader.at_rest and not channel.has_unread and not channel.ended
        if self._keep_alive and self._sent and fit:
            reader.start_next()
            self._give_back(self)
            return None
        surplus = channel.has_unread or bool(reader.take_rest())
        channel.close()
        return "the origin sent more than its answer" if surplus else None

    def abort(self) -> None:
        """See `UpstreamStream.abort`."""
        self.channel.abort()

    def become_bytes(self) -> Channel:
        """See `UpstreamStream.become_bytes`."""
        self.channel.unread(self._reader.take_rest())
        self.channel.allow_for_ever()
        return self.channel

    # --- what went wrong

    @property
    def _name(self) -> str:
        return f"{self.route.host}:{self.route.port}"

    def _gone(self, what: str) -> UpstreamError:
        text = f"{self._name} {what}"
        return UpstreamError(text) if self._answered else UpstreamGone(text)

    def _broken(self, error: Exception) -> UpstreamError:
        if isinstance(error, ConnectionTimeout):
            return UpstreamError(f"{self._name} {error}", 504)
        return self._gone(f"failed: {error}")


def _agrees(answer: bytes | None, asked: bytes | None) -> bool:
    """Tell whether a 101 names nothing but what was asked for (RFC 9110, section 7.8)."""
    if not answer or not asked:
        return False
    wanted = {name.strip(b" \t") for name in asked.lower().split(b",")}
    return wanted.issuperset(name.strip(b" \t") for name in answer.lower().split(b","))


def _takes_trailers(head: RequestHead) -> bool:
    te = head.headers.joined(b"te")
    return te is not None and b"trailers" in [
        part.partition(b";")[0].strip(b" \t").lower() for part in te.split(b",")
    ]


_SILENT = "did not answer in time"
_SLOW = "did not read the request in time"
_STALLED = "stopped in the middle of its answer"
