"""Compression of WebSocket messages (RFC 7692), and what two sides agreed on about it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from proxy_core.errors import RemoteProtocolError, WebSocketError
from proxy_core.wire.http1_fields import shown

NAME = b"permessage-deflate"

_TAIL = b"\x00\x00\xff\xff"  # what a sender leaves out at a message's end (section 7.2.1)
_WINDOW = re.compile(rb"[89]|1[0-5]")
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_ITEM = re.compile(
    rb"[ \t]*(%b)[ \t]*(?:=[ \t]*(?:(%b)|\"(%b)\")[ \t]*)?(;|,|\Z)" % (_TOKEN, _TOKEN, _TOKEN)
)


@dataclass(frozen=True, slots=True)
class Compression:
    """How one direction compresses: its window, and whether it lives on between messages."""

    window_bits: int = 15
    """8 to 15."""
    takes_over: bool = True


@dataclass(frozen=True, slots=True)
class Deflate:
    """What was agreed on for each direction."""

    from_client: Compression
    from_server: Compression


def parse_extensions(
    values: Iterable[bytes],
) -> list[tuple[bytes, list[tuple[bytes, bytes | None]]]]:
    """Read Sec-WebSocket-Extensions: each extension's name and parameters (RFC 6455, section 9.1).

    Raises RemoteProtocolError where the field is malformed.
    """
    extensions: list[tuple[bytes, list[tuple[bytes, bytes | None]]]] = []
    for value in values:
        at, begins = 0, True
        while at < len(value) or not begins:
            found = _ITEM.match(value, at)
            if found is None:
                raise RemoteProtocolError(f"the WebSocket extensions are malformed: {shown(value)}")
            name = found[1].lower()
            argument = found[2] if found[2] is not None else found[3]
            if not begins:
                extensions[-1][1].append((name, argument))
            elif argument is not None:
                raise RemoteProtocolError(f"the WebSocket extensions are malformed: {shown(value)}")
            else:
                extensions.append((name, []))
            begins = found[4] != b";"
            at = found.end()
            if found[4] == b"," and not value[at:].strip():
                break
    return extensions


def agreed(values: Iterable[bytes]) -> Deflate | None:
    """Return what a server's answer agrees to (section 7.1), or None for no compression.

    `values` are the response's Sec-WebSocket-Extensions. Raises RemoteProtocolError where it names
    an extension, or a parameter, that is not known: then nobody but the two sides can tell what
    their frames mean.
    """
    extensions = parse_extensions(values)
    if not extensions:
        return None
    name, parameters = extensions[0]
    if name != NAME or len(extensions) > 1:
        names = b", ".join(name for name, _ in extensions).decode("latin-1")
        raise RemoteProtocolError(f"the WebSocket extension {names} is not known")
    given = dict(parameters)
    if len(given) < len(parameters):
        raise RemoteProtocolError("permessage-deflate has a parameter twice")
    client_takes_over = _absent(given, b"client_no_context_takeover")
    server_takes_over = _absent(given, b"server_no_context_takeover")
    deflate = Deflate(
        Compression(_window(given, b"client_max_window_bits"), client_takes_over),
        Compression(_window(given, b"server_max_window_bits"), server_takes_over),
    )
    if given:
        names = b", ".join(given).decode("latin-1")
        raise RemoteProtocolError(f"permessage-deflate has parameters that are not known: {names}")
    return deflate


def _absent(given: dict[bytes, bytes | None], name: bytes) -> bool:
    if name not in given:
        return True
    if given.pop(name) is not None:
        raise RemoteProtocolError(f"permessage-deflate: {name.decode()} takes no value")
    return False


def _window(given: dict[bytes, bytes | None], name: bytes) -> int:
    if name not in given:
        return 15
    bits = given.pop(name)
    if bits is None or not _WINDOW.fullmatch(bits):
        raise RemoteProtocolError(f"permessage-deflate: {name.decode()} must be from 8 to 15")
    return int(bits)


class Inflater:
    """Decompresses one direction's messages, piece by piece (section 7.2.2)."""

    __slots__ = ("_compression", "_fed", "_inflate")

    def __init__(self, compression: Compression) -> None:
        self._compression = compression
        self._fed = False
        self._inflate = zlib.decompressobj(-compression.window_bits)

    def feed(self, data: bytes, last: bool, room: int) -> bytes:
        """Return what a piece of a message expands to; `last` ends the message.

        Raises WebSocketError: 1007 where it is no compressed data, 1009 where it is more than
        `room` bytes, of which no more than one is made.
        """
        pieces: list[bytes] = []
        try:
            self._fed = self._fed or bool(data)
            while data:
                room -= self._expand(data, room, pieces)
                if not self._inflate.eof:
                    break
                # A sender may end a stream inside a message, and begin another (section 7.2.3.4).
                data = self._inflate.unused_data
                self._renew()
            # Some send nothing at all for an empty message; the tail alone would be half a block.
            if last and self._fed:
                self._fed = False
                self._expand(_TAIL, room, pieces)
                if self._inflate.eof or not self._compression.takes_over:
                    self._renew()
        except zlib.error as error:
            raise WebSocketError(1007, f"a message is not compressed as agreed: {error}") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _expand(self, data: bytes, room: int, pieces: list[bytes]) -> int:
        piece = self._inflate.decompress(data, room + 1)
        if len(piece) > room:
            raise WebSocketError(1009, "a message is larger than the limit once decompressed")
        if piece:
            pieces.append(piece)
        return len(piece)

    def _renew(self) -> None:
        self._inflate = zlib.decompressobj(-self._compression.window_bits)


class Deflater:
    """Compresses one direction's messages, piece by piece (section 7.2.1)."""

    __slots__ = ("_compression", "_deflate")

    def __init__(self, compression: Compression) -> None:
        """`can_compress` must be true of `compression`."""
        self._compression = compression
        self._deflate = self._new()

    @staticmethod
    def can_compress(compression: Compression) -> bool:
        """Tell whether zlib can: it knows no window of 256 bytes for data without a header."""
        return compression.window_bits > 8

    def feed(self, data: bytes, last: bool) -> bytes:
        """Return a piece compressed; `last` ends the message."""
        packed = self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        if last:
            # A flush that has nothing to flush writes nothing: then an empty block's first byte.
            packed = packed.removesuffix(_TAIL) if packed else b"\0"
            if not self._compression.takes_over:
                self._deflate = self._new()
        return packed

    def _new(self) -> zlib._Compress:
        return zlib.compressobj(wbits=-self._compression.window_bits)
