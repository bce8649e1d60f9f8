"""Content codings taken off bodies, and put on again (RFC 9110, section 8.4).

Bodies are hostile: a decoder never gives more than a limit, and whatever is wrong with its input
comes back as a note beside what could be read.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import brotli
import zstandard

from proxy_core.model.words import counted

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


@dataclass(frozen=True, slots=True)
class DecodedBody:
    """The bytes without their content codings, and what there is to say about them."""

    data: bytes
    notes: tuple[str, ...] = ()
    """What is wrong, in words that may hold what the peer sent; empty where nothing is."""


def decode_body(kept: bytes, encoding: str | None, limit: int = LIMIT) -> DecodedBody:
    """Undo the codings in `encoding` (RFC 9110, section 8.4.1), giving at most `limit` bytes.

    A body that is cut short or broken gives what stands before that. Never raises.
    """
    codings = codings_of(encoding)
    if len(codings) > _MAX_CODINGS:
        return DecodedBody(kept, (f"{len(codings)} content codings on top of each other; as is",))
    data = kept
    notes: list[str] = []
    for coding in reversed(codings):
        decoder = _DECODERS.get(coding)
        if decoder is None:
            name = coding[:_MAX_NAME]
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


def codings_of(encoding: str | None) -> list[str]:
    """Return the codings that a content-encoding field names, in the order they were applied."""
    names = [name.strip().lower() for name in (encoding or "").split(",")]
    return [name for name in names if name not in ("", "identity")]


def can_encode(encoding: str | None) -> bool:
    """Whether `encode_body` knows all codings that the field names."""
    return all(coding in _ENCODERS for coding in codings_of(encoding))


def encode_body(data: bytes, encoding: str | None) -> bytes:
    """Apply the codings in `encoding`; quick settings. Raises KeyError for one not known."""
    for coding in codings_of(encoding):
        data = _ENCODERS[coding](data)
    return data


class _Trouble(Exception):
    """What is wrong with a coded body, in words."""


def _collect(pieces: Iterator[bytes], limit: int) -> tuple[bytes, str | None]:
    """Return what a decoder gives, up to `limit` bytes, and what stopped it before its end."""
    out = bytearray()
    try:
        for piece in pieces:
            out += piece
            if len(out) > limit:
                return bytes(out[:limit]), f"more than {limit} bytes; the rest is not shown"
    except _Trouble as trouble:
        return bytes(out), str(trouble)
    except (zlib.error, brotli.error, zstandard.ZstdError, ValueError, MemoryError) as error:
        return bytes(out), f"broken after {counted(len(out), 'byte')} ({error})"
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


def _gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 5, mtime=0)


_ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gzipped,
    "x-gzip": _gzipped,
    "deflate": lambda data: zlib.compress(data, 5),
    "br": lambda data: brotli.compress(data, quality=4),
    "zstd": lambda data: zstandard.ZstdCompressor(level=3).compress(data),
}
