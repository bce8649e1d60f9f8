"""The demo origin's HTTP/2 side, over h2: a task per stream, flow control obeyed both ways."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from int3rceptor_tui.demo.http2_window import send_pieces
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
_HOP_BY_HOP = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")


@dataclass(slots=True)
class _Stream:
    """One request under way. `pieces` carry the window they take; None ends the body."""

    record: RequestRecord
    pieces: asyncio.Queue[tuple[bytes, int] | None] = field(default_factory=asyncio.Queue)
    window: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class Http2Server:
    """Serves one connection and all its streams at once."""

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
        # What came in is recorded as it came: the library must neither tidy up nor refuse.
        config = h2.config.H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 256,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1024 * 1024,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 256 * 1024,
            },
        )
        self._streams: dict[int, _Stream] = {}

    async def run(self) -> None:
        """Serve until either side is done. A peer's fault ends the connection, nothing else."""
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1024 * 1024)
        await self.flush()
        async with asyncio.TaskGroup() as group:
            try:
                await self._receive(group)
            except h2.exceptions.ProtocolError:
                self.push()
            except (ConnectionError, ssl.SSLError):
                pass  # it went without a word
            finally:
                for stream in self._streams.values():
                    self._end(stream)

    async def _receive(self, group: asyncio.TaskGroup) -> None:
        while data := await self._reader.read(READ_SIZE):
            self.record.note(data)
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.ConnectionTerminated):
                    await self.flush()
                    return
                self._dispatch(event, group)
            await self.flush()

    def _dispatch(self, event: h2.events.Event, group: asyncio.TaskGroup) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=int(number), headers=headers):
                fields = [(bytes(name), bytes(value)) for name, value in headers or ()]
                stream = self._streams[number] = self._stream(fields)
                group.create_task(self._serve(number, stream))
            case h2.events.DataReceived(stream_id=int(number)):
                length = event.flow_controlled_length or 0
                if number in self._streams:
                    self._streams[number].pieces.put_nowait((event.data or b"", length))
                else:
                    self.h2.acknowledge_received_data(length, number)
            case h2.events.TrailersReceived(stream_id=int(number), headers=headers):
                if number in self._streams:
                    fields = [(bytes(name), bytes(value)) for name, value in headers or ()]
                    self._streams[number].record.trailers = fields
            case h2.events.StreamEnded(stream_id=int(number)):
                if number in self._streams:
                    self._streams[number].pieces.put_nowait(None)
            case h2.events.StreamReset(stream_id=int(number)):
                if number in self._streams:
                    self._end(self._streams[number])
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                for stream in self._streams.values():
                    stream.window.set()
            case _:
                pass

    def _stream(self, fields: list[tuple[bytes, bytes]]) -> _Stream:
        values = dict(reversed(fields))
        record = RequestRecord(
            version="HTTP/2",
            method=values.get(b":method", b""),
            target=values.get(b":path", b""),
            fields=fields,
            connection=self.record.number,
        )
        self._recording.requests.append(record)
        return _Stream(record)

    @staticmethod
    def _end(stream: _Stream) -> None:
        stream.gone.set()
        stream.window.set()
        stream.pieces.put_nowait(None)

    async def _serve(self, number: int, stream: _Stream) -> None:
        request = Request(stream.record, self.record, self._body(number, stream))
        try:
            # The client took the stream, or the connection, back: there is nobody to answer.
            with contextlib.suppress(h2.exceptions.ProtocolError, ConnectionError, ssl.SSLError):
                await self._site.handle(request, Http2Reply(self, number, stream))
                if stream.record.sha256 is None and not stream.gone.is_set():
                    await self._skip(number, stream)
        finally:
            self._streams.pop(number, None)

    async def _skip(self, number: int, stream: _Stream) -> None:
        """Give back the window of what the handler did not read."""
        async for _ in self._body(number, stream):
            pass

    async def _body(self, number: int, stream: _Stream) -> AsyncIterator[bytes]:
        while (piece := await stream.pieces.get()) is not None:
            data, length = piece
            if data:
                yield data
            self.h2.acknowledge_received_data(length, number)
            await self.flush()
        stream.pieces.put_nowait(None)  # who asks again gets the same answer

    def push(self) -> None:
        """Send what the library has prepared."""
        data = self.h2.data_to_send()
        if data:
            self._writer.write(data)

    async def flush(self) -> None:
        """Send what the library has prepared and wait for the transport to have room."""
        self.push()
        await self._writer.drain()


class Http2Reply(Reply):
    """The reply on one stream."""

    def __init__(self, server: Http2Server, number: int, stream: _Stream) -> None:
        self._server = server
        self._number = number
        self._stream = stream
        self._bodiless = stream.record.method == b"HEAD"

    async def inform(self, status: int, fields: Fields) -> None:
        """Send an interim response."""
        await self._headers(status, fields)

    async def head(self, status: int, fields: Fields) -> None:
        """Send the head, without what HTTP/2 does not know (RFC 9113, section 8.2.2)."""
        self._bodiless = self._bodiless or status in (204, 304)
        await self._headers(status, [f for f in fields if f[0] not in _HOP_BY_HOP])

    async def _headers(self, status: int, fields: Fields) -> None:
        own = [(b":status", b"%d" % status), *fields]
        self._server.h2.send_headers(self._number, own)
        await self._server.flush()

    async def send(self, data: bytes) -> None:
        """Send a piece of the body as the peer's windows allow."""
        if self._bodiless:
            return
        server = self._server
        async for sent in send_pieces(
            server.h2, self._number, data, self._stream.window, server.flush
        ):
            self._stream.record.sent += sent

    async def finish(self, trailers: Fields = ()) -> None:
        """End the stream."""
        if trailers:
            self._server.h2.send_headers(self._number, list(trailers), end_stream=True)
        else:
            self._server.h2.end_stream(self._number)
        await self._server.flush()

    def abort(self) -> None:
        """Reset the stream."""
        self._server.h2.reset_stream(self._number, h2.errors.ErrorCodes.INTERNAL_ERROR)
        self._server.push()
        self._stream.gone.set()

    def cut(self) -> None:
        """Reset the stream."""
        self.abort()

    async def until_gone(self) -> None:
        """Wait until the client resets the stream or closes the connection."""
        await self._stream.gone.wait()
