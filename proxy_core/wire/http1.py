"""HTTP/1 as it comes, requests and responses: bytes in, events out (RFC 9112).

A reader is given bytes with `receive_data` and asked for events with `next_event`; after an
EndOfMessage it stays silent until `start_next`, so a pipelined request waits its turn in the
buffer. How to read the heads is in `http1_head`, the chunked coding in `http1_chunked`;
the way back to bytes is `http1_encode`.

States: HEAD -> (LENGTH | CHUNKS | CLOSE) -> DONE -> HEAD ...; any -> CLOSED at the end of input.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field
from proxy_core.model.words import counted
from proxy_core.wire.events import (
    CHUNKED,
    END_OF_MESSAGE,
    BodyLength,
    EndOfMessage,
    RequestReceived,
    ResponseReceived,
)
from proxy_core.wire.http1_chunked import ChunkedDecoder
from proxy_core.wire.http1_fields import TOKEN_ONLY, shown
from proxy_core.wire.http1_head import (
    check_request_line,
    parse_request_head,
    parse_response_head,
)
from proxy_core.wire.lenient import soften

_MAX_EMPTY_LINES = 16  # bytes

HeadEvent = TypeVar("HeadEvent", RequestReceived, ResponseReceived)


class ConnectionClosed:
    """The peer ended its side between two messages."""

    __slots__ = ()


CONNECTION_CLOSED = ConnectionClosed()


class _State:
    """What is read next. Plain numbers: members of an enumeration are slow to get at."""

    HEAD: Final = 0
    LENGTH: Final = 1
    CHUNKS: Final = 2
    CLOSE: Final = 3
    ENDING: Final = 4
    """The body is read, its EndOfMessage not yet fetched."""
    DONE: Final = 5
    CLOSED: Final = 6


class _Reader(Generic[HeadEvent]):
    """What reading requests and reading responses share."""

    __slots__ = (
        "_buffer",
        "_chunks",
        "_eof",
        "_left",
        "_lenient",
        "_max_count",
        "_max_head",
        "_state",
        "_trailers",
    )

    def __init__(self, max_head: int, max_count: int, lenient: bool) -> None:
        self._lenient = lenient
        self._max_head = max_head
        self._max_count = max_count
        self._buffer = b""
        self._eof = False
        self._state = _State.HEAD
        self._left = 0
        self._chunks: ChunkedDecoder | None = None
        self._trailers: list[Field] | None = None

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the wire; `b""` says that the peer ended its side."""
        if not data:
            self._eof = True
        elif self._chunks is not None:
            self._chunks.feed(data)
        elif self._buffer:
            self._buffer += data
        else:
            self._buffer = data

    def next_event(self) -> HeadEvent | bytes | EndOfMessage | ConnectionClosed | None:
        """Return a head, a piece of body (never empty), an end, or None where more is needed.

        Raises RemoteProtocolError; the connection is of no use afterwards.
        """
        state = self._state
        if state == _State.HEAD:
            return self._next_head()
        if state == _State.LENGTH:
            return self._next_counted()
        if state == _State.CHUNKS:
            return self._next_chunked()
        if state == _State.CLOSE:
            return self._next_until_close()
        if state == _State.ENDING:
            self._state = _State.DONE
            trailers = self._trailers
            return END_OF_MESSAGE if trailers is None else EndOfMessage(trailers)
        if state == _State.CLOSED:
            return CONNECTION_CLOSED
        return None

    def start_next(self) -> None:
        """Go on to the next message after an EndOfMessage."""
        if self._state != _State.DONE:
            raise RuntimeError("start_next before the end of the message")
        self._state = _State.HEAD
        self._trailers = None

    @property
    def at_rest(self) -> bool:
        """Whether a message is complete, nothing follows it and the peer has not ended."""
        return self._state == _State.DONE and not self._buffer and not self._eof

    @property
    def mid_message(self) -> bool:
        """Whether the next message has begun to arrive."""
        return self._state != _State.HEAD or bool(self._buffer)

    @property
    def has_more(self) -> bool:
        """Whether there is more body in what came, and others should have their turn before it."""
        return self._chunks is not None and self._chunks.has_more

    def take_rest(self) -> bytes:
        """Take what was received and not read: the other protocol's bytes after an upgrade."""
        rest, self._buffer = self._buffer, b""
        return rest

    def _parse_head(self, raw: bytes) -> HeadEvent:
        raise NotImplementedError

    def _skip_empty_lines(self, buffer: bytes) -> bytes:
        raise RemoteProtocolError("an empty line where a status line should be")

    def _next_head(self) -> HeadEvent | ConnectionClosed | None:
        buffer = self._buffer
        if buffer[:2] == b"\r\n":
            buffer = self._buffer = self._skip_empty_lines(buffer)
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return self._incomplete_head(buffer)
        end += 4
        if end > self._max_head:
            raise self._too_large(f"a head of {end} bytes; at most {self._max_head} pass")
        if end == len(buffer):
            self._buffer = b""
        else:
            self._buffer = buffer[end:]
            buffer = buffer[:end]
        try:
            event = self._parse_head(buffer)
        except RemoteProtocolError:
            softened = soften(buffer) if self._lenient else None
            if softened is None:
                raise
            event = self._parse_head(softened[0])
            event.clean, event.oddities = None, softened[1]
        self._begin_body(event.length)
        return event

    def _incomplete_head(self, buffer: bytes) -> ConnectionClosed | None:
        # Only CRLF ends a line: whoever ends heads with bare LF would wait for ever.
        self._judge_beginning(buffer)
        if buffer.count(b"\n") != buffer.count(b"\r\n"):
            raise RemoteProtocolError("a line of the head ends in a bare LF")
        if len(buffer) > self._max_head:
            raise self._too_large(f"a head of more than {self._max_head} bytes")
        if not self._eof:
            return None
        if buffer:
            raise RemoteProtocolError("the connection ended in the middle of a head")
        self._state = _State.CLOSED
        return CONNECTION_CLOSED

    def _judge_beginning(self, buffer: bytes) -> None:
        """Refuse what no head can begin with, though it has no end yet."""

    def _too_large(self, reason: str) -> RemoteProtocolError:
        return RemoteProtocolError(reason, status=431)

    def _begin_body(self, length: BodyLength) -> None:
        if length == 0:
            self._state = _State.ENDING
        elif length > 0:
            self._state = _State.LENGTH
            self._left = length
        elif length == CHUNKED:
            self._state = _State.CHUNKS
            self._chunks = ChunkedDecoder(self._buffer, self._max_head, self._max_count)
            self._buffer = b""
        else:
            self._state = _State.CLOSE

    def _next_counted(self) -> bytes | None:
        data = self._buffer
        if not data:
            if self._eof:
                raise RemoteProtocolError(f"the body ended {counted(self._left, 'byte')} early")
            return None
        if len(data) > self._left:
            self._buffer = data[self._left :]
            data = data[: self._left]
        else:
            self._buffer = b""
        self._left -= len(data)
        if not self._left:
            self._state = _State.ENDING
        return data

    def _next_chunked(self) -> bytes | EndOfMessage | None:
        chunks = self._chunks
        assert chunks is not None
        data = chunks.read()
        if chunks.done:
            self._buffer = chunks.rest
            self._trailers = chunks.trailers
            self._chunks = None
            self._state = _State.ENDING
            return data or self._end()
        if not data:
            if self._eof:
                raise RemoteProtocolError("the connection ended in the middle of a chunked body")
            return None
        return data

    def _end(self) -> EndOfMessage:
        self._state = _State.DONE
        return END_OF_MESSAGE if self._trailers is None else EndOfMessage(self._trailers)

    def _next_until_close(self) -> bytes | EndOfMessage | None:
        data, self._buffer = self._buffer, b""
        if data:
            return data
        return self._end() if self._eof else None


class RequestReader(_Reader[RequestReceived]):
    """Reads what a client sends.

    `scheme` is what an origin-form target means on this connection: `http`, or `https` in TLS.
    """

    __slots__ = ("_empty_lines", "_max_target", "_scheme")

    def __init__(
        self,
        scheme: str,
        max_head: int = 65536,
        max_count: int = 200,
        max_target: int = 32768,
        lenient: bool = False,
    ) -> None:
        """With `lenient` odd heads pass too, where their framing is certain (`soften`)."""
        super().__init__(max_head, max_count, lenient)
        self._scheme = scheme
        self._max_target = max_target
        self._empty_lines = 0

    def _too_large(self, reason: str) -> RemoteProtocolError:
        line = self._buffer.partition(b"\r\n")[0].split(b" ", 2)
        if len(line) > 1 and len(line[1]) > self._max_target:
            return RemoteProtocolError(
                f"a request target of more than {self._max_target} bytes", status=414
            )
        return super()._too_large(reason)

    def _parse_head(self, raw: bytes) -> RequestReceived:
        self._empty_lines = 0
        return parse_request_head(raw, self._scheme, self._max_count, self._max_target)

    def _judge_beginning(self, buffer: bytes) -> None:
        # HTTP/0.9 and other people's protocols may never come to the end of a head.
        if self._lenient or buffer in (b"", b"\r"):
            return
        if b"\r\n" in buffer:
            check_request_line(buffer)
        elif not TOKEN_ONLY.match(buffer):
            raise RemoteProtocolError(f"not a request line: {shown(buffer)}")

    def _skip_empty_lines(self, buffer: bytes) -> bytes:
        # A server ignores empty lines before a request line (RFC 9112, section 2.2).
        rest = buffer
        while rest[:2] == b"\r\n":
            rest = rest[2:]
        self._empty_lines += len(buffer) - len(rest)
        if self._empty_lines > _MAX_EMPTY_LINES:
            raise RemoteProtocolError("empty lines where a request line should be")
        return rest


class ResponseReader(_Reader[ResponseReceived]):
    """Reads what an origin sends; `expect` names the method that is being answered."""

    __slots__ = ("_method",)

    def __init__(self, max_head: int = 65536, max_count: int = 200, lenient: bool = False) -> None:
        """`lenient` as for requests."""
        super().__init__(max_head, max_count, lenient)
        self._method = b"GET"

    def expect(self, method: bytes) -> None:
        """Say that the next head answers a request with this method."""
        self._method = method

    def _parse_head(self, raw: bytes) -> ResponseReceived:
        return parse_response_head(raw, self._method, self._max_count)

    def _judge_beginning(self, buffer: bytes) -> None:
        # HTTP/0.9 and other people's protocols may never come to the end of a head.
        if buffer[:7] != b"HTTP/1."[: len(buffer)]:
            raise RemoteProtocolError(f"not an HTTP/1 status line: {shown(buffer)}")

    def await_final(self) -> None:
        """Go on to the next head after an informational one."""
        self._state = _State.HEAD
