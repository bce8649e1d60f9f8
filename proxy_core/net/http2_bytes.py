"""One HTTP/2 stream as a connection of bytes: what CONNECT leaves of it (RFC 8441, section 5)."""

from __future__ import annotations

from proxy_core.errors import ConnectionLost, ConnectionTimeout, Int3rceptorError, TlsError
from proxy_core.net.clock import NEVER
from proxy_core.net.http2_link import Http2Link
from proxy_core.net.http2_stream import Http2Stream
from proxy_core.wire.http2_codes import CANCEL


class Http2Bytes:
    """Implements `ByteStream`; END_STREAM is the end of a direction, RST_STREAM of both."""

    def __init__(self, link: Http2Link, stream: Http2Stream) -> None:
        """Take the stream over; how long it may stand still is from now on its user's matter."""
        self._link = link
        self._stream = stream
        self._unread = b""
        stream.deadline = NEVER

    async def receive(self) -> bytes:
        """See `ByteStream.receive`."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        stream = self._stream
        while (piece := stream.read_nowait()) is None:
            try:
                await Http2Stream.wait(stream)
            except Int3rceptorError as error:
                raise _as_connection(error) from error
        return piece

    def unread(self, data: bytes) -> None:
        """See `ByteStream.unread`."""
        self._unread = data + self._unread

    def write(self, data: bytes) -> None:
        """See `ByteStream.write`."""
        if data:
            self._stream.send_data(data)

    @property
    def write_blocked(self) -> bool:
        """See `ByteStream.write_blocked`."""
        return self._stream.blocked

    async def drain(self) -> None:
        """See `ByteStream.drain`."""
        try:
            await Http2Stream.drain(self._stream)
        except Int3rceptorError as error:
            raise _as_connection(error) from error

    def write_eof(self) -> None:
        """See `ByteStream.write_eof`."""
        Http2Stream.send_end(self._stream, None)

    def close(self) -> None:
        """See `ByteStream.close`."""
        self.write_eof()
        self._stream.finish()

    def abort(self) -> None:
        """See `ByteStream.abort`."""
        self._link.flush()
        self._link.reset(self._stream, CANCEL)
        self._stream.fail(ConnectionLost("the stream was given up"))


def _as_connection(error: Int3rceptorError) -> Int3rceptorError:
    if isinstance(error, (ConnectionLost, ConnectionTimeout, TlsError)):
        return error
    return ConnectionLost(str(error))
