"""The demo origin's HTTP/1.1 side, over h11, with WebSocket over wsproto behind an upgrade."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from http import HTTPStatus

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    TextMessage,
)
from wsproto.events import Request as WebSocketRequest
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError as WebSocketLocalError
from wsproto.utilities import RemoteProtocolError as WebSocketRemoteError

from int3rceptor_tui.demo.messages import (
    ConnectionRecord,
    Fields,
    Recording,
    Reply,
    Request,
    RequestRecord,
)
from int3rceptor_tui.demo.site import Site

READ_SIZE = 64 * 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_DRAIN_LIMIT = 1024 * 1024  # of a body nobody read, before the connection is closed instead


class Http1Server:
    """Serves one connection, one request after the other."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        site: Site,
        recording: Recording,
        record: ConnectionRecord,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._site = site
        self._recording = recording
        self.record = record
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=256 * 1024)

    async def run(self) -> None:
        """Serve until either side is done. Peer's faults end the connection, nothing else."""
        try:
            while await self._exchange():
                self._h11.start_next_cycle()
        except h11.RemoteProtocolError as error:
            await self._refuse(error)

    async def _exchange(self) -> bool:
        """Answer one request; return whether another may follow on the connection."""
        event = await self._next_event()
        if not isinstance(event, h11.Request):
            return False
        record = RequestRecord(
            version=f"HTTP/{event.http_version.decode()}",
            method=event.method,
            target=event.target,
            fields=list(event.headers.raw_items()),
            connection=self.record.number,
        )
        self._recording.requests.append(record)
        if b"websocket" in [value.lower() for value in record.values(b"upgrade")]:
            await self._web_socket(event)
            return False
        reply = Http1Reply(self, record)
        await self._site.handle(Request(record, self.record, self._body(record)), reply)
        if reply.over or not await self._skip_body():
            return False
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            if self._h11.they_are_waiting_for_100_continue:
                await self.write(h11.InformationalResponse(status_code=100, headers=[]))
            data = await self._reader.read(READ_SIZE)
            self.record.note(data)
            self._h11.receive_data(data)
        return event

    async def _body(self, record: RequestRecord) -> AsyncIterator[bytes]:
        while isinstance(event := await self._next_event(), h11.Data):
            yield bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            record.trailers = list(event.headers.raw_items())

    async def _skip_body(self) -> bool:
        """Read past what the handler left of the body; False where that is too much."""
        left = _DRAIN_LIMIT
        while self._h11.their_state is h11.SEND_BODY and left > 0:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                left -= len(event.data)
        return left > 0

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{error}\n".encode()
        fields = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        with contextlib.suppress(h11.LocalProtocolError):
            await self.write(
                h11.Response(status_code=error.error_status_hint, headers=fields),
                h11.Data(data=body),
                h11.EndOfMessage(),
            )

    async def write(self, *events: h11.Event) -> None:
        """Send events and wait for the transport to have room."""
        for event in events:
            data = self._h11.send(event)
            if data:
                self._writer.write(data)
        await self._writer.drain()

    async def until_gone(self) -> None:
        """Read and drop until the client closes."""
        while await self._reader.read(READ_SIZE):
            pass

    def abort(self) -> None:
        """Close with a TCP reset."""
        sock = self._writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def _web_socket(self, request: h11.Request) -> None:
        """Echo messages until the client closes."""
        ws = WSConnection(ConnectionType.SERVER)
        ws.initiate_upgrade_connection(list(request.headers.raw_items()), request.target)
        early, _ = self._h11.trailing_data
        if early:
            ws.receive_data(early)
        while True:
            for event in ws.events():
                answer = _web_socket_answer(event)
                if answer is not None:
                    self._writer.write(ws.send(answer))
            await self._writer.drain()
            if ws.state.name in ("CLOSED", "REJECTING"):
                return
            data = await self._reader.read(READ_SIZE)
            self.record.note(data)
            try:
                ws.receive_data(data or None)
            except (WebSocketRemoteError, WebSocketLocalError):
                return


def _web_socket_answer(event: Event) -> Event | None:
    match event:
        case WebSocketRequest(target="/ws") | WebSocketRequest(target="/chat"):
            return AcceptConnection()
        case WebSocketRequest():
            return RejectConnection(status_code=404)
        case TextMessage(data=data, message_finished=finished):
            return TextMessage(data, message_finished=finished)
        case BytesMessage(data=data, message_finished=finished):
            return BytesMessage(data, message_finished=finished)
        case CloseConnection(code=CloseReason.ABNORMAL_CLOSURE):  # it is gone without a goodbye
            return None
        case CloseConnection() | Ping():
            return event.response()
        case _:
            return None


class Http1Reply(Reply):
    """The reply to one HTTP/1 request."""

    def __init__(self, server: Http1Server, record: RequestRecord) -> None:
        self._server = server
        self._record = record
        self._bodiless = record.method == b"HEAD"
        self.over = False
        """Whether the connection is of no use any more."""

    async def inform(self, status: int, fields: Fields) -> None:
        """Send an interim response."""
        event = h11.InformationalResponse(status_code=status, headers=list(fields))
        await self._server.write(event)

    async def head(self, status: int, fields: Fields) -> None:
        """Send the head."""
        self._bodiless = self._bodiless or status in (204, 304)
        reason = _REASONS.get(status, "")
        await self._server.write(
            h11.Response(status_code=status, reason=reason, headers=list(fields))
        )

    async def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        if not self._bodiless:
            await self._server.write(h11.Data(data=data))
            self._record.sent += len(data)

    async def finish(self, trailers: Fields = ()) -> None:
        """End the body."""
        await self._server.write(h11.EndOfMessage(headers=list(trailers)))

    def abort(self) -> None:
        """Reset the connection."""
        self.over = True
        self._server.abort()

    def cut(self) -> None:
        """Close the connection, as if that had been all."""
        self.over = True

    async def until_gone(self) -> None:
        """Wait until the client closes the connection."""
        self.over = True
        await self._server.until_gone()
