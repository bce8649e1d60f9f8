"""Captured bodies undone: content codings taken off, bytes turned into text.

Bodies are hostile: a decoder never gives more than a limit, and whatever is wrong with its input
comes back as a note beside what could be read.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import brotli
import zstandard

from int3rceptor_tui.view_model.formats import size
from int3rceptor_tui.view_model.visible import visible

LIMIT = 8 * 1024 * 1024
_MAX_CODINGS = 4
_MAX_NAME = 40
_MAX_PARTS = 4096
"""Members of a gzip or frames of a zstd body: an empty one costs its sender a few bytes only."""

_STEP = 4096
"""Bytes given to a decoder at once: what it hands back unused is copied."""

_PIECE = 65536
_ZSTD_STEP = 256
"""The zstd decoder's output has no limit: four bytes can stand for 128 KiB, so these for 8 MiB."""

_ZSTD_WINDOW = 128 * 1024 * 1024
_CUT = "the end is missing"
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Python's own notations: quadratic in the length of their input, or made to warn or fail.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})


@dataclass(frozen=True, slots=True)
class DecodedBody:
    """The bytes without their content codings, and what there is to say about them."""

    data: bytes
    notes: tuple[str, ...] = ()


def decode_body(kept: bytes, encoding: str | None, limit: int = LIMIT) -> DecodedBody:
    """Undo the codings in `encoding` (RFC 9110, section 8.4), giving at most `limit` bytes.

    A body that is cut short or broken gives what stands before that. Never raises.
    """
    names = [name.strip().lower() for name in (encoding or "").split(",")]
    codings = [name for name in names if name not in ("", "identity")]
    if len(codings) > _MAX_CODINGS:
        return DecodedBody(kept, (f"{len(codings)} content codings on top of each other; as is",))
    data = kept
    notes: list[str] = []
    for coding in reversed(codings):
        decoder = _DECODERS.get(coding)
        if decoder is None:
            name = visible(coding[:_MAX_NAME])
            notes.append(f"content coding {name} is not known here; shown as it is")
            break
        if not data:
            break
        decoded, trouble = _collect(decoder(data), limit)
        if trouble is not None and not decoded:
            notes.append(f"{coding}: {trouble}; shown as it is")
            break
        if trouble is not None:
            notes.append(f"{coding}: {trouble}")
        data = decoded
    return DecodedBody(data, tuple(notes))


class _Trouble(Exception):
    """What is wrong with a coded body, in words."""


def _collect(pieces: Iterator[bytes], limit: int) -> tuple[bytes, str | None]:
    """Return what a decoder gives, up to `limit` bytes, and what stopped it before its end."""
    out = bytearray()
    try:
        for piece in pieces:
            out += piece
            if len(out) > limit:
                return bytes(out[:limit]), f"more than {size(limit)}; the rest is not shown"
    except _Trouble as trouble:
        return bytes(out), str(trouble)
    except (zlib.error, brotli.error, zstandard.ZstdError, ValueError, MemoryError) as error:
        return bytes(out), f"broken after {len(out)} bytes ({visible(str(error))})"
    return bytes(out), None


def _gzip(data: bytes) -> Iterator[bytes]:
    return _inflate(data, 16 + zlib.MAX_WBITS)


def _deflate(data: bytes) -> Iterator[bytes]:
    # "deflate" means zlib (RFC 1950); some servers send raw deflate (RFC 1951) all the same. The
    # two bytes that open zlib would be a stored block with dirty padding, which nobody writes.
    zlib_header = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    return _inflate(data, zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)


def _inflate(data: bytes, window: int) -> Iterator[bytes]:
    decoder = zlib.decompressobj(window)
    members = 1
    for start in range(0, len(data), _STEP):
        left = data[start : start + _STEP]
        while left:
            if decoder.eof:
                if window <= zlib.MAX_WBITS:
                    raise _Trouble("more bytes behind the end")
                # RFC 1952, section 2.2: gzip may have several members.
                members = _next_part(members)
                decoder = zlib.decompressobj(window)
            yield decoder.decompress(left, _PIECE)
            left = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
    while piece := decoder.decompress(b"", _PIECE):  # what a full piece left inside
        yield piece
    if not decoder.eof:
        raise _Trouble(_CUT)


def _next_part(parts: int) -> int:
    if parts == _MAX_PARTS:
        raise _Trouble(f"more than {parts} compressed parts; the rest is not shown")
    return parts + 1


def _brotli(data: bytes) -> Iterator[bytes]:
    decoder = brotli.Decompressor()
    for start in range(0, len(data), _STEP):
        if decoder.is_finished():
            raise _Trouble("more bytes behind the end")
        piece = decoder.process(data[start : start + _STEP], output_buffer_limit=_PIECE)
        # It can accept more data, and even so hold a full piece back.
        while piece or not decoder.can_accept_more_data():
            yield piece
            if decoder.is_finished():
                break
            piece = decoder.process(b"", output_buffer_limit=_PIECE)
    if not decoder.is_finished():
        raise _Trouble(_CUT)


def _zstd(data: bytes) -> Iterator[bytes]:
    frames = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    decoder = frames.decompressobj()
    parts = 1
    for start in range(0, len(data), _ZSTD_STEP):
        left = data[start : start + _ZSTD_STEP]
        while left:
            if decoder.eof:
                parts = _next_part(parts)
                decoder = frames.decompressobj()
            yield decoder.decompress(left)
            left = decoder.unused_data if decoder.eof else b""
    if not decoder.eof:
        raise _Trouble(_CUT)


_DECODERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
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
            charset = codecs.lookup(claimed[1]).name
            if charset not in _NO_CHARSETS:
                return data.decode(charset, errors="replace")
        except (LookupError, ValueError):
            pass  # a charset that nobody knows
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        cut = error.start >= len(data) - 3 and error.reason == "unexpected end of data"
        if cut and not data[: error.start].isascii():
            return data.decode(errors="replace")
        return data.decode("latin-1")


def looks_binary(data: bytes) -> bool:
    """Tell whether hex suits these bytes better than text."""
    sample = data[:1024]
    if not sample or sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    odd = sum(byte < 9 or 13 < byte < 32 for byte in sample)
    return b"\0" in sample or odd * 20 > len(sample)
