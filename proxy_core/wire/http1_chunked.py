"""The chunked transfer coding (RFC 9112, section 7.1): a decoder, and the encoding of a piece.

Chunk extensions are dropped. A size that is not plain hexadecimal, a line end that is not CRLF or
data that does not end where the size says are refused.
"""

from __future__ import annotations

import re

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field
from proxy_core.wire.http1_fields import field_kind, parse_fields_strictly, shown

_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*|[ \t]*)\r\n")
_CHUNK_LINE_BEGUN = re.compile(
    rb"(?:[0-9A-Fa-f]{1,15}(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*|[ \t]*)\r?)?"
)
_MAX_CHUNK_LINE = 4096
_AT_ONCE = 1024
"""Chunks read in one go: tiny ones come by the ten thousand, and others wait for their turn."""

LAST_CHUNK = b"0\r\n\r\n"


class ChunkedDecoder:
    """Takes the coded bytes apart; what follows the body is left in `rest` when `done`."""

    __slots__ = (
        "_at",
        "_buffer",
        "_in_chunk",
        "_left",
        "_max_count",
        "_max_trailer",
        "done",
        "has_more",
        "trailers",
    )

    def __init__(self, buffer: bytes, max_trailer: int, max_count: int) -> None:
        self.done = False
        self.has_more = False
        """Whether the last `read` left chunks for the next one."""
        self.trailers: list[Field] | None = None
        self._buffer = buffer
        self._at = 0
        """Up to where the buffer has been read: cutting it at every chunk would be quadratic."""
        self._left = 0
        self._in_chunk = False
        """The data of a chunk has begun and its closing CRLF was not read yet."""
        self._max_trailer = max_trailer
        self._max_count = max_count

    def feed(self, data: bytes) -> None:
        """Take more of the coded bytes."""
        self._buffer = self._buffer[self._at :] + data
        self._at = 0

    @property
    def rest(self) -> bytes:
        """What was fed and not read."""
        return self._buffer[self._at :]

    def read(self) -> bytes:
        """Return the data there is, of one or more chunks; empty where more bytes are needed.

        When the last chunk and the trailers were read, `done` is True and `trailers` is set where
        there were any. Raises RemoteProtocolError.
        """
        pieces: list[bytes] = []
        self.has_more = False
        while not self.done:
            if len(pieces) >= _AT_ONCE:
                self.has_more = True
                break
            if self._left:
                piece = self._buffer[self._at : self._at + self._left]
                if not piece:
                    break
                self._at += len(piece)
                self._left -= len(piece)
                pieces.append(piece)
            elif self._in_chunk:
                if not self._end_chunk():
                    break
            elif not self._begin_chunk():
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _end_chunk(self) -> bool:
        end = self._buffer[self._at : self._at + 2]
        if end != b"\r\n":
            if len(end) == 2 or end not in (b"", b"\r"):
                raise RemoteProtocolError("chunk data does not end where its size says")
            return False
        self._at += 2
        self._in_chunk = False
        return True

    def _begin_chunk(self) -> bool:
        buffer, at = self._buffer, self._at
        match = _CHUNK_LINE.match(buffer, at)
        if match is None:
            # Whoever sends something else may never come to the end of a line.
            if len(buffer) - at > _MAX_CHUNK_LINE or not _CHUNK_LINE_BEGUN.fullmatch(buffer, at):
                line = buffer[at : at + _MAX_CHUNK_LINE].partition(b"\n")[0]
                raise RemoteProtocolError(f"not a chunk size: {shown(line)}")
            return False
        if match.end() - at > _MAX_CHUNK_LINE:
            raise RemoteProtocolError(f"a chunk extension of more than {_MAX_CHUNK_LINE} bytes")
        size = int(match[1], 16)
        if size:
            self._at = match.end()
            self._left = size
            self._in_chunk = True
            return True
        return self._read_trailers(match.end())

    def _read_trailers(self, start: int) -> bool:
        buffer = self._buffer
        if buffer.startswith(b"\r\n", start):
            self._at = start + 2
            self.done = True
            return True
        end = buffer.find(b"\r\n\r\n", start)
        if end < 0:
            if buffer.count(b"\n", start) != buffer.count(b"\r\n", start):
                raise RemoteProtocolError("a line of the trailers ends in a bare LF")
            if len(buffer) - start > self._max_trailer:
                raise RemoteProtocolError(
                    f"trailers of more than {self._max_trailer} bytes", status=431
                )
            return False
        fields = parse_fields_strictly(buffer[start : end + 4], self._max_count)
        # A trailer must not say what only a head may (RFC 9110, section 6.5.1).
        self.trailers = [field for field in fields if not field_kind(field[0])] or None
        self._at = end + 4
        self.done = True
        return True


def encode_chunk(data: bytes) -> bytes:
    """Return `data` (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def encode_last_chunk(trailers: list[Field] | None) -> bytes:
    """Return the last chunk with its trailer section."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n" + b"".join([b"%b: %b\r\n" % field for field in trailers]) + b"\r\n"
