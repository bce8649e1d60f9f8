"""WebSocket frames (RFC 6455) read as messages, while their wire bytes stay at hand.

One `MessageReader` reads one direction and judges its sender. It keeps nothing that it has given
out: messages come in pieces, each with the exact bytes it came in, so that what nobody changes goes
on as it came, at once, however large it is.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Final

from proxy_core.errors import WebSocketError
from proxy_core.wire.websocket_deflate import Inflater

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_KNOWN = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
_CONTROL_LIMIT = 125  # section 5.5

FRAME_PIECE: Final = 256 * 1024
"""Bytes of payload in the pieces that a frame is made in: to mask so many takes a millisecond."""
_INFLATE_AT_ONCE = 16 * 1024
"""Compressed bytes of one piece: they expand a thousandfold at most, in some milliseconds."""

# Section 7.4 and the registry it founded; 1004 to 1006 and 1015 never stand in a frame.
_CLOSE_CODES = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015)))


class Piece:
    """Some bytes of one frame, at least its header: a part of a message, or a control frame.

    Control frames come whole: `opcode` is CLOSE, PING or PONG, `first`, `last` and `ends_frame`
    are true.
    """

    __slots__ = ("compressed", "ends_frame", "first", "last", "opcode", "payload", "size", "wire")

    def __init__(
        self,
        opcode: int,
        wire: bytes,
        payload: bytes,
        size: int,
        first: bool = True,
        last: bool = True,
        ends_frame: bool = True,
        compressed: bool = False,
    ) -> None:
        self.opcode = opcode
        """The message's: a continuation's piece has that of its first frame."""
        self.wire = wire
        self.payload = payload
        """Unmasked and decompressed; empty where nobody wants it (`MessageReader.wanted`)."""
        self.size = size
        """Bytes of payload, wanted or not."""
        self.first = first
        """Whether a message begins with it."""
        self.last = last
        """Whether a message ends with it."""
        self.ends_frame = ends_frame
        self.compressed = compressed

    @property
    def is_control(self) -> bool:
        """Whether it is no part of a message."""
        return self.opcode >= CLOSE


class MessageReader:
    """Reads what one side sends. Take pieces until there are none before receiving more."""

    __slots__ = (
        "_at",
        "_buffer",
        "_compressed",
        "_error",
        "_fin",
        "_first",
        "_from_client",
        "_inflater",
        "_left",
        "_limit",
        "_mask",
        "_opcode",
        "_size",
        "_text",
        "ended",
        "wanted",
    )

    def __init__(
        self, from_client: bool, message_limit: int, inflater: Inflater | None = None
    ) -> None:
        """Take messages of at most `message_limit` bytes; compressed ones with an `inflater`."""
        self._from_client = from_client
        self._limit = message_limit
        self._inflater = inflater
        self._buffer = b""
        self._at = 0
        self._left = 0  # of the payload of the data frame under way
        self._mask = b""
        self._fin = True
        self._first = True
        self._opcode = 0  # of the message under way; 0 between messages
        self._compressed = False
        self._size = 0
        self._text: codecs.IncrementalDecoder | None = None
        self._error: WebSocketError | None = None
        self.ended = False
        """Whether a close frame came; what comes behind it is nobody's (section 5.5.1)."""
        self.wanted = True
        """Whether somebody wants payloads; where not, those that need no check stay masked."""

    @property
    def in_message(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._opcode != 0

    @property
    def in_frame(self) -> bool:
        """Whether the last piece did not end its frame."""
        return self._left > 0

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the wire."""
        rest = self._buffer[self._at :] if self._at < len(self._buffer) else b""
        self._buffer = rest + data if rest else data
        self._at = 0

    def next_piece(self) -> Piece | None:
        """Return the next piece, or None where more bytes are needed.

        Raises WebSocketError, and then ever again; the bytes that are wrong are in no piece.
        """
        if self.ended:
            self._at = len(self._buffer)
            return None
        if self._error is not None:
            raise self._error
        try:
            if self._left:
                return self._payload(self._at) if self._at < len(self._buffer) else None
            return self._frame()
        except WebSocketError as error:
            self._error = error
            raise

    def _frame(self) -> Piece | None:
        """Read a frame's header (section 5.2), and what is there of its payload."""
        buffer, start = self._buffer, self._at
        there = len(buffer) - start
        if there < 2:
            return None
        first, second = buffer[start], buffer[start + 1]
        opcode = first & 0x0F
        length = second & 0x7F
        self._judge(first, second)
        at = start + 2
        if length > _CONTROL_LIMIT:
            wide = 2 if length == 126 else 8
            if there < 2 + wide:
                return None
            length = int.from_bytes(buffer[at : at + wide], "big")
            at += wide
            if length < (126 if wide == 2 else 65536):
                raise WebSocketError(1002, "a frame's length takes more bytes than it needs")
            if length >> 63:
                raise WebSocketError(1002, "a frame's length is over 63 bits")
        if self._from_client:
            if len(buffer) < at + 4:
                return None
            self._mask = buffer[at : at + 4]
            at += 4
        if opcode >= CLOSE:
            return self._control(opcode, start, at, length)

        if opcode:
            self._opcode = opcode
            self._compressed = bool(first & 0x40)
            self._size = 0
            self._first = True
        if length > self._limit - (0 if self._compressed else self._size):
            raise WebSocketError(1009, f"a message is larger than the limit of {self._limit}")
        self._fin = first >= 0x80
        self._left = length
        return self._payload(at)

    def _judge(self, first: int, second: int) -> None:
        """Raise WebSocketError for what a header's first two bytes must not be."""
        opcode = first & 0x0F
        if opcode not in _KNOWN:
            raise WebSocketError(1002, f"a frame has the opcode {opcode}, which nothing defines")
        if first & 0x70 and (
            first & 0x30 or self._inflater is None or opcode not in (TEXT, BINARY)
        ):
            raise WebSocketError(1002, "a frame has a reserved bit that was not agreed on")
        if (second >= 0x80) is not self._from_client:
            fault = "is not masked" if self._from_client else "is masked"
            raise WebSocketError(1002, f"a frame {fault}")
        if opcode >= CLOSE:
            if first < 0x80:
                raise WebSocketError(1002, "a control frame is fragmented")
            if second & 0x7F > _CONTROL_LIMIT:
                raise WebSocketError(1002, "a control frame is longer than 125 bytes")
        elif opcode == CONTINUATION:
            if not self._opcode:
                raise WebSocketError(1002, "a continuation has nothing to continue")
        elif self._opcode:
            raise WebSocketError(1002, "a message begins before the one before has ended")

    def _control(self, opcode: int, start: int, at: int, length: int) -> Piece | None:
        end = at + length
        if len(self._buffer) < end:
            return None
        payload = self._buffer[at:end]
        if self._mask:
            payload = apply_mask(payload, self._mask)
        if opcode == CLOSE:
            parse_close(payload)
            self.ended = True
        self._at = end
        return Piece(opcode, self._buffer[start:end], payload, length)

    def _payload(self, at: int) -> Piece:
        """Take what is there of a data frame's payload, which begins at `at`."""
        start = self._at
        end = min(len(self._buffer), at + self._left)
        if self._compressed and end - at > _INFLATE_AT_ONCE:
            end = at + _INFLATE_AT_ONCE
        taken = end - at
        self._at = end
        self._left -= taken
        ends_frame = not self._left
        last = ends_frame and self._fin
        first, self._first = self._first, False
        payload, size = b"", taken
        if self.wanted or self._compressed or self._opcode == TEXT:
            payload = self._buffer[at:end]
            if self._mask:
                payload = apply_mask(payload, self._mask)
            if self._compressed and self._inflater is not None:
                payload = self._inflater.feed(payload, last, self._limit - self._size)
                size = len(payload)
            if self._opcode == TEXT:
                self._check_text(payload, last)
        turn = taken & 3
        if turn and self._mask:
            self._mask = self._mask[turn:] + self._mask[:turn]
        self._size += size
        piece = Piece(
            self._opcode,
            self._buffer[start:end],
            payload,
            size,
            first,
            last,
            ends_frame,
            self._compressed,
        )
        if last:
            self._opcode = 0
        return piece

    def _check_text(self, payload: bytes, last: bool) -> None:
        """Hold text to UTF-8 as it comes (section 8.1); ASCII between characters is cheap."""
        text = self._text
        if text is None:
            if payload.isascii():
                return
            text = self._text = codecs.getincrementaldecoder("utf-8")()
        try:
            text.decode(payload, last)
        except UnicodeDecodeError as error:
            raise WebSocketError(1007, f"a text message is not UTF-8: {error.reason}") from error
        if last or not text.getstate()[0]:
            self._text = None


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """Return `payload` masked, or unmasked, with the four bytes of `mask` (section 5.3)."""
    length = len(payload)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(
        length, "little"
    )


def encode_frame(
    opcode: int,
    payload: bytes,
    *,
    fin: bool = True,
    compressed: bool = False,
    mask: bytes | None = None,
) -> bytes:
    """Return one frame; `mask` has four bytes for a server, and is None for a client.

    `compressed` marks a message's first frame whose payload was compressed (RFC 7692).
    """
    first = opcode | (0x80 if fin else 0) | (0x40 if compressed else 0)
    head = _frame_head(first, len(payload), mask)
    return head + (payload if mask is None else apply_mask(payload, mask))


def frame_pieces(opcode: int, payload: bytes, mask: bytes | None = None) -> Iterator[bytes]:
    """Yield one whole message's frame, in pieces of which each is soon made."""
    yield _frame_head(opcode | 0x80, len(payload), mask)
    for at in range(0, len(payload), FRAME_PIECE):
        piece = payload[at : at + FRAME_PIECE]
        yield piece if mask is None else apply_mask(piece, mask)


def _frame_head(first: int, length: int, mask: bytes | None) -> bytes:
    masked = 0 if mask is None else 0x80
    if length <= 125:
        head = bytes((first, masked | length))
    elif length < 65536:
        head = bytes((first, masked | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, masked | 127)) + length.to_bytes(8, "big")
    return head if mask is None else head + mask


def parse_close(payload: bytes) -> tuple[int, str]:
    """Return a close frame's code, 1005 where it has none, and its reason (section 5.5.1).

    Raises WebSocketError.
    """
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise WebSocketError(1002, "a close frame has half a code")
    code = int.from_bytes(payload[:2], "big")
    if code not in _CLOSE_CODES and not 3000 <= code <= 4999:
        raise WebSocketError(1002, f"a close frame has the code {code}, which must not be sent")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError as error:
        raise WebSocketError(1007, "a close frame's reason is not UTF-8") from error


def encode_close(code: int, reason: str) -> bytes:
    """Return a close frame's payload; a reason that is too long is cut between characters."""
    return code.to_bytes(2, "big") + reason.encode()[:123].decode(errors="ignore").encode()
