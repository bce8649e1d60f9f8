"""Small HTTP clients that go through a proxy: cleartext and TLS, HTTP/1.1, HTTP/2 and WebSocket.

Failures come as they are: OSError, EOFError, and the ProtocolErrors of h11, h2 and wsproto, all
of them in `FAILURES`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, TextMessage
from wsproto.events import Request as WebSocketRequest
from wsproto.utilities import ProtocolError as WebSocketError

from int3rceptor_tui.demo.http2_window import send_pieces
from int3rceptor_tui.demo.messages import Fields

READ_SIZE = 64 * 1024
_KEPT = 64 * 1024

FAILURES = (
    OSError,
    EOFError,
    h11.ProtocolError,
    h2.exceptions.ProtocolError,
    WebSocketError,
)
"""Everything that can go wrong between a client and a proxy; TLS and timeouts are OSErrors."""


@dataclass(slots=True)
class Answer:
    """A response; `body` keeps the first 64 KiB of `size` bytes."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    size: int = 0

    def feed(self, data: bytes) -> None:
        """Count and keep a piece of the body."""
        self.size += len(data)
        self.body += data[: _KEPT - len(self.body)]


class ProxyClient:
    """Opens connections through the proxy at `host`:`port`, trusting `ca_file` (PEM) behind it."""

    def __init__(
        self, host: str, port: int, ca_file: Path, alpn: Sequence[str] = ("h2", "http/1.1")
    ) -> None:
        self._host = host
        self._port = port
        self._context = _tls_context(ca_file, *alpn)
        self._http1_context = _tls_context(ca_file, "http/1.1")

    @asynccontextmanager
    async def plain(self) -> AsyncIterator[Http1Session]:
        """Open a connection for absolute-form requests."""
        async with self._dial() as (reader, writer):
            yield Http1Session(reader, writer)

    @asynccontextmanager
    async def tunnel(self, authority: str) -> AsyncIterator[Http1Session | Http2Session]:
        """Open a TLS connection behind CONNECT; ALPN decides what is spoken on it."""
        async with self._dial() as (reader, writer):
            await self._connect(reader, writer, authority)
            await writer.start_tls(self._context, server_hostname=authority.rpartition(":")[0])
            tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
            if tls is not None and tls.selected_alpn_protocol() == "h2":
                async with Http2Session(reader, writer, authority) as session:
                    yield session
            else:
                yield Http1Session(reader, writer, authority)

    @asynccontextmanager
    async def web_socket(self, authority: str, path: str) -> AsyncIterator[WebSocketSession]:
        """Open a WebSocket over TLS behind CONNECT, over HTTP/1.1."""
        async with self._dial() as (reader, writer):
            await self._connect(reader, writer, authority)
            name = authority.rpartition(":")[0]
            await writer.start_tls(self._http1_context, server_hostname=name)
            session = WebSocketSession(reader, writer)
            await session.open(authority, path)
            yield session

    @asynccontextmanager
    async def _dial(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            # The socket is closed on the loop's next turn. `wait_closed` would wait for ever where
            # a TLS handshake was cancelled.
            await asyncio.sleep(0)

    @staticmethod
    async def _connect(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str
    ) -> None:
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b" ", 2)[1]
        if status != b"200":
            raise ConnectionRefusedError(f"the proxy answered CONNECT with {status.decode()}")


def _tls_context(ca_file: Path, *alpn: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca_file)
    context.set_alpn_protocols(list(alpn))
    return context


class Http1Session:
    """Requests one after the other on one connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        authority: str | None = None,
    ) -> None:
        """Name the `authority` at the far end of a tunnel; None sends absolute-form requests."""
        self._reader = reader
        self._writer = writer
        self._authority = authority
        self._h11 = h11.Connection(h11.CLIENT)

    async def request(
        self, method: str, target: str, fields: Fields = (), body: bytes = b""
    ) -> Answer:
        """Send one request and read the whole answer; `target` is a URL outside tunnels."""
        if self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        host = self._authority or target.split("/")[2]
        head = [(b"host", host.encode()), *fields]
        if body:
            head.append((b"content-length", str(len(body)).encode()))
        request = h11.Request(method=method, target=target, headers=head)
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            self._writer.write(self._h11.send(event) or b"")
        await self._writer.drain()
        answer: Answer | None = None
        while True:
            received = await self._next()
            if isinstance(received, h11.Response):
                answer = Answer(received.status_code, list(received.headers))
            elif isinstance(received, h11.Data) and answer is not None:
                answer.feed(bytes(received.data))
            elif isinstance(received, h11.EndOfMessage) and answer is not None:
                return answer
            elif isinstance(received, h11.ConnectionClosed):
                raise EOFError("the proxy closed the connection without an answer")

    async def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(await self._reader.read(READ_SIZE))
        return event


@dataclass(slots=True)
class _Exchange:
    """One stream of ours."""

    done: asyncio.Event = field(default_factory=asyncio.Event)
    window: asyncio.Event = field(default_factory=asyncio.Event)
    answer: Answer | None = None
    failure: str | None = None


class Http2Session:
    """Any number of requests at once on one connection; an async context manager."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._authority = authority
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        self._exchanges: dict[int, _Exchange] = {}
        self._closed: str | None = None

    async def __aenter__(self) -> Self:
        self._h2.initiate_connection()
        self._h2.update_settings({h2.settings.SettingCodes.ENABLE_PUSH: 0})
        self._h2.increment_flow_control_window(1024 * 1024)
        await self._flush()
        self._receiver = asyncio.get_running_loop().create_task(self._receive())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._receiver.cancel()
        with contextlib.suppress(*FAILURES):
            self._h2.close_connection()
            await self._flush()
        await asyncio.wait([self._receiver])

    async def request(
        self, method: str, path: str, fields: Fields = (), body: bytes = b""
    ) -> Answer:
        """Send one request and read the whole answer, beside others."""
        if self._closed is not None:
            raise EOFError(self._closed)
        number = self._h2.get_next_available_stream_id()
        exchange = self._exchanges[number] = _Exchange()
        head = [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", self._authority.encode()),
            (b":path", path.encode()),
            *fields,
        ]
        try:
            self._h2.send_headers(number, head, end_stream=not body)
            await self._flush()
            if body:
                async for _ in send_pieces(self._h2, number, body, exchange.window, self._flush):
                    pass
                self._h2.end_stream(number)
                await self._flush()
            await exchange.done.wait()
        finally:
            del self._exchanges[number]
            self._give_up(number)
        if exchange.failure is not None or exchange.answer is None:
            raise ConnectionResetError(exchange.failure or "the stream ended without an answer")
        return exchange.answer

    def _give_up(self, number: int) -> None:
        """Reset a stream whose caller was cancelled; nothing happens to one that is over."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._h2.reset_stream(number)
            self._writer.write(self._h2.data_to_send())

    async def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self._writer.write(data)
        await self._writer.drain()

    async def _receive(self) -> None:
        try:
            while data := await self._reader.read(READ_SIZE):
                for event in self._h2.receive_data(data):
                    self._dispatch(event)
                await self._flush()
            reason = "the proxy closed the connection"
        except FAILURES as error:
            reason = f"the connection failed: {error}"
        self._closed = reason
        for exchange in self._exchanges.values():
            exchange.failure = exchange.failure or reason
            exchange.window.set()
            exchange.done.set()

    def _dispatch(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            for waiting in self._exchanges.values():
                waiting.window.set()
            return
        number = getattr(event, "stream_id", None) or 0
        exchange = self._exchanges.get(number)
        match event:
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, number)
                if exchange is not None and exchange.answer is not None:
                    exchange.answer.feed(event.data or b"")
            case h2.events.ResponseReceived() if exchange is not None:
                fields = [(bytes(n), bytes(v)) for n, v in event.headers or ()]
                status = int(dict(fields)[b":status"])
                exchange.answer = Answer(status, fields)
            case h2.events.StreamEnded() if exchange is not None:
                exchange.done.set()
            case h2.events.StreamReset() if exchange is not None:
                exchange.failure = f"the stream was reset with code {event.error_code}"
                exchange.window.set()
                exchange.done.set()
            case _:
                pass


class WebSocketSession:
    """Text messages back and forth."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._events: deque[Event] = deque()

    async def open(self, authority: str, path: str) -> None:
        """Ask for the upgrade and wait until it is granted."""
        self._writer.write(self._ws.send(WebSocketRequest(host=authority, target=path)))
        if not isinstance(await self._next(), AcceptConnection):
            raise ConnectionRefusedError("the upgrade to WebSocket was refused")

    async def say(self, text: str) -> str:
        """Send a message and return the next one that comes."""
        self._writer.write(self._ws.send(TextMessage(text)))
        parts: list[str] = []
        while True:
            event = await self._next()
            if isinstance(event, TextMessage):
                parts.append(event.data)
                if event.message_finished:
                    return "".join(parts)

    async def close(self) -> None:
        """Say goodbye and wait for the answer."""
        self._writer.write(self._ws.send(CloseConnection(code=1000)))
        while not isinstance(await self._next(), CloseConnection):
            pass

    async def _next(self) -> Event:
        while True:
            self._events.extend(self._ws.events())
            if self._events:
                return self._events.popleft()
            data = await self._reader.read(READ_SIZE)
            if not data:
                raise EOFError("the connection ended under the WebSocket")
            self._ws.receive_data(data)
