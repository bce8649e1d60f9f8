"""Captured bodies undone: content codings taken off, bytes turned into text.

Bodies are hostile: a decoder never gives more than a limit, and whatever is wrong with its input
comes back as a note beside what could be read.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import brotli
import zstandard

LIMIT = 8 * 1024 * 1024
_MAX_CODINGS = 4
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class DecodedBody:
    """The bytes without their content codings, and what there is to say about them."""

    data: bytes
    notes: tuple[str, ...] = ()


def decode_body(kept: bytes, encoding: str | None, limit: int = LIMIT) -> DecodedBody:
    """Undo the codings in `encoding` (RFC 9110, section 8.4), giving at most `limit` bytes.

    A body cut short gives what its beginning holds. Never raises.
    """
    names = [name.strip().lower() for name in (encoding or "").split(",")]
    codings = [name for name in names if name not in ("", "identity")]
    if len(codings) > _MAX_CODINGS:
        return DecodedBody(kept, (f"{len(codings)} content codings on top of each other; as is",))
    data, notes = kept, []
    for coding in reversed(codings):
        decoder = _DECODERS.get(coding)
        if decoder is None:
            notes.append(f"content coding {coding!r} is not known here; shown as it is")
            break
        try:
            whole = decoder(data, limit)
        except (zlib.error, brotli.error, zstandard.ZstdError, ValueError, MemoryError) as error:
            notes.append(f"{coding}: {error}; shown as it is")
            break
        if len(whole) > limit:
            notes.append(f"{coding}: more than {limit} bytes; the rest is not shown")
        data = whole[:limit]
    return DecodedBody(data, tuple(notes))


def _inflate(data: bytes, limit: int, window: int) -> bytes:
    out = b""
    while data and len(out) <= limit:
        decoder = zlib.decompressobj(window)
        try:
            piece = decoder.decompress(data, limit + 1 - len(out))
        except zlib.error:
            if out:  # garbage behind a whole member
                return out
            raise
        out += piece
        if not decoder.eof or window < 0:
            break
        data = decoder.unused_data
    return out


def _gzip(data: bytes, limit: int) -> bytes:
    return _inflate(data, limit, 16 + zlib.MAX_WBITS)


def _deflate(data: bytes, limit: int) -> bytes:
    # "deflate" means zlib; some servers send raw deflate all the same.
    try:
        return _inflate(data, limit, zlib.MAX_WBITS)
    except zlib.error:
        return _inflate(data, limit, -zlib.MAX_WBITS)


def _brotli(data: bytes, limit: int) -> bytes:
    decoder = brotli.Decompressor()
    pieces: list[bytes] = []
    total = 0
    # In small steps: a piece of input may stand for very much output.
    for start in range(0, len(data), 1024):
        piece = decoder.process(data[start : start + 1024], output_buffer_limit=limit + 1)
        while True:
            pieces.append(piece)
            total += len(piece)
            if total > limit or decoder.can_accept_more_data():
                break
            piece = decoder.process(b"", output_buffer_limit=limit + 1 - total)
        if total > limit or decoder.is_finished():
            break
    return b"".join(pieces)


def _zstd(data: bytes, limit: int) -> bytes:
    decoder = zstandard.ZstdDecompressor(max_window_size=2**27)
    out = b""
    with decoder.stream_reader(data, read_across_frames=True) as reader:
        while len(out) <= limit:
            piece = reader.read(min(65536, limit + 1 - len(out)))
            if not piece:
                break
            out += piece
    return out


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}


def to_text(data: bytes, content_type: str | None) -> str:
    """Return the bytes as text: the charset they claim, a byte order mark, UTF-8, else Latin-1."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data.decode(name, errors="replace")
    claimed = _CHARSET.search(content_type or "")
    if claimed:
        try:
            return data.decode(claimed[1], errors="replace")
        except (LookupError, UnicodeError, ValueError):
            pass  # a charset that nobody knows
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 3 and error.reason == "unexpected end of data":
            return data.decode(errors="replace")  # cut in the middle of a character
        return data.decode("latin-1")


def looks_binary(data: bytes) -> bool:
    """Tell whether hex suits these bytes better than text."""
    sample = data[:1024]
    if not sample or sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    odd = sum(byte < 9 or 13 < byte < 32 for byte in sample)
    return b"\0" in sample or odd * 20 > len(sample)
