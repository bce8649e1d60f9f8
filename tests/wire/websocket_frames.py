"""Frames byte by byte, right and wrong ones, and what a reader makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from proxy_core.errors import WebSocketError
from proxy_core.wire.websocket import MessageReader

MASK = b"\x11\x9a\x00\xff"


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes | None = None,
    width: int | None = None,
) -> bytes:
    """One frame, independent of the code under test; `width` bytes of length, not the fewest."""
    length = len(payload)
    if width is None:
        width = 0 if length < 126 else 2 if length < 65536 else 8
    short = {0: length, 2: 126, 8: 127}[width]
    head = bytes([fin << 7 | reserved << 4 | opcode, (0x80 if mask is not None else 0) | short])
    if width:
        head += length.to_bytes(width, "big")
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


class Read:
    """What came of some bytes: whole messages and control frames, the wire, and the verdict."""

    def __init__(self, reader: MessageReader, chunks: Iterable[bytes]) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.wire = b""
        self.code: int | None = None
        self.sizes: list[int] = []
        parts: list[bytes] = []
        size = 0
        try:
            for chunk in chunks:
                reader.receive_data(chunk)
                while (piece := reader.next_piece()) is not None:
                    self.wire += piece.wire
                    if piece.is_control:
                        self.messages.append((piece.opcode, piece.payload))
                        continue
                    if piece.first:
                        parts, size = [], 0
                    parts.append(piece.payload)
                    size += piece.size
                    if piece.last:
                        self.messages.append((piece.opcode, b"".join(parts)))
                        self.sizes.append(size)
        except WebSocketError as error:
            self.code = error.code


def split_at(data: bytes, points: Sequence[int]) -> Iterator[bytes]:
    """The data in pieces; no piece is empty."""
    ends = sorted({point % len(data) for point in points} - {0}) if data else []
    for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
        if end > start:
            yield data[start:end]
