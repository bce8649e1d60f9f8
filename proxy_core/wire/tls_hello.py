"""A TLS ClientHello read before anything is answered to it (RFC 8446, sections 4.1.2 and 5.1).

What it says of the client: the name it wants (RFC 6066), the protocols it offers (RFC 7301), and
the fingerprints JA3 and JA4, which leave GREASE (RFC 8701) out.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.words import counted

CLIENT_HELLO_LIMIT = 64 * 1024
"""Bytes of a whole ClientHello; browsers send 0.5 to 4 KiB."""

_MAX_RECORDS = 64  # each call walks them anew
_MAX_RECORD = 2**14
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _GROUPS, _POINT_FORMATS, _SIGNATURES, _ALPN, _VERSIONS = 0, 10, 11, 13, 16, 43
_JA4_VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3"}
_EXTENSION_HEAD = struct.Struct(">HH")  # type, length
_NAME = re.compile(r"[!-~]{1,255}")


_VERSION_NAMES = {
    0x0300: "SSLv3",
    0x0301: "TLSv1",
    0x0302: "TLSv1.1",
    0x0303: "TLSv1.2",
    0x0304: "TLSv1.3",
}


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client offered; numbers as IANA assigns them, in wire order, GREASE included."""

    version: int
    """The `legacy_version` field: 0x0303 in every hello of TLS 1.2 and later."""
    cipher_suites: tuple[int, ...]
    extensions: tuple[int, ...]
    """The extensions' types."""
    sni: str | None = None
    """The host name asked for, as sent."""
    alpn: tuple[str, ...] = ()
    """Protocols, decoded as Latin-1."""
    versions: tuple[int, ...] = ()
    """The supported_versions extension; empty where it was not sent."""
    groups: tuple[int, ...] = ()
    point_formats: tuple[int, ...] = ()
    signature_algorithms: tuple[int, ...] = ()

    @property
    def version_names(self) -> tuple[str, ...]:
        """The versions offered as OpenSSL names them, the newest first, GREASE left out."""
        numbers = _without_grease(self.versions) or [self.version]
        return tuple(
            _VERSION_NAMES.get(number, f"0x{number:04x}") for number in sorted(numbers)[::-1]
        )

    @property
    def ja3_text(self) -> str:
        """The JA3 string: version, ciphers, extensions, groups, point formats, in decimal."""
        lists = (self.cipher_suites, self.extensions, self.groups)
        parts = ["-".join(map(str, _without_grease(numbers))) for numbers in lists]
        return ",".join((str(self.version), *parts, "-".join(map(str, self.point_formats))))

    @property
    def ja3(self) -> str:
        """The JA3 fingerprint: MD5 of `ja3_text`, 32 hexadecimal digits."""
        return hashlib.md5(self.ja3_text.encode(), usedforsecurity=False).hexdigest()

    @property
    def ja4(self) -> str:
        """The JA4 fingerprint, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`."""
        ciphers = _without_grease(self.cipher_suites)
        extensions = _without_grease(self.extensions)
        version = max(_without_grease(self.versions), default=self.version)
        named = "d" if _SERVER_NAME in extensions else "i"
        counts = f"{min(len(ciphers), 99):02}{min(len(extensions), 99):02}"
        hashed = _hex(sorted(x for x in extensions if x not in (_SERVER_NAME, _ALPN)))
        signatures = _hex(_without_grease(self.signature_algorithms))
        return (
            f"t{_JA4_VERSIONS.get(version, '00')}{named}{counts}{self._alpn_ends()}"
            f"_{_short_hash(_hex(sorted(ciphers)))}"
            f"_{_short_hash(f'{hashed}_{signatures}' if signatures else hashed)}"
        )

    def _alpn_ends(self) -> str:
        """Return the first protocol's first and last character, as hexadecimal where odd."""
        if not self.alpn or not self.alpn[0]:
            return "00"
        first = self.alpn[0]
        ends = first[0] + first[-1]
        if ends.isascii() and ends.isalnum():
            return ends
        digits = first.encode("latin-1").hex()
        return digits[0] + digits[-1]


def read_client_hello(data: bytes, limit: int = CLIENT_HELLO_LIMIT) -> ClientHello | None:
    """Read the ClientHello at the start of a connection, or return None while it is incomplete.

    `data` is all that came so far; the hello may be spread over several records and other bytes
    may follow it. `limit` is the most bytes it may have, records' headers apart. Raises
    RemoteProtocolError for what is no ClientHello.
    """
    message = _handshake_message(data, limit)
    return None if message is None else _parse(message)


def _handshake_message(data: bytes, limit: int) -> bytes | None:
    """Join the records of the first handshake message; return its body once it is complete."""
    position, message = 0, b""
    for _ in range(_MAX_RECORDS):
        header = data[position : position + 5]
        if len(header) > 0 and header[0] != _HANDSHAKE:
            raise _refusal(f"a record of type {header[0]} where a handshake record belongs")
        if len(header) > 1 and header[1] != 3:
            raise _refusal(f"a record of major version {header[1]}")
        if len(header) < 5:
            return None
        length = header[3] << 8 | header[4]
        if not 0 < length <= _MAX_RECORD:
            raise _refusal(f"a record of {counted(length, 'byte')}")
        position += 5
        message += data[position : position + length]
        if message and message[0] != _CLIENT_HELLO:
            raise _refusal(f"a handshake message of type {message[0]}")
        if len(message) >= 4:
            end = 4 + int.from_bytes(message[1:4], "big")
            if end > limit:
                raise _refusal(f"a message of {end} bytes, more than the {limit} allowed")
            if len(message) >= end:
                return message[4:end]
        position += length
        if position > len(data):
            return None
    raise _refusal(f"one in more than {_MAX_RECORDS} pieces")


class _Reader:
    """Takes bytes off the front; what is missing is the peer's fault."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def take(self, count: int) -> bytes:
        begin = self._position
        if count > len(self._data) - begin:
            raise _refusal("a field that is longer than what contains it")
        self._position = begin + count
        return self._data[begin : begin + count]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Take a length of `size` bytes and as many bytes as it says."""
        return self.take(self.number(size))

    def only_vector(self, size: int) -> bytes:
        """Take a vector that must be all there is."""
        inside = self.vector(size)
        if self.left:
            raise _refusal(f"{counted(self.left, 'byte')} too many in a field")
        return inside


def _parse(message: bytes) -> ClientHello:
    reader = _Reader(message)
    version = reader.number(2)
    reader.take(32)  # random
    if len(reader.vector(1)) > 32:
        raise _refusal("a session id of more than 32 bytes")
    ciphers = _numbers(reader.vector(2))
    if not reader.vector(1):
        raise _refusal("no compression method")
    extensions = _extensions(reader.only_vector(2)) if reader.left else {}
    return ClientHello(
        version=version,
        cipher_suites=ciphers,
        extensions=tuple(extensions),
        sni=_server_name(extensions.get(_SERVER_NAME)),
        alpn=_protocols(extensions.get(_ALPN)),
        versions=_number_list(extensions.get(_VERSIONS), 1),
        groups=_number_list(extensions.get(_GROUPS), 2),
        point_formats=_point_formats(extensions.get(_POINT_FORMATS)),
        signature_algorithms=_number_list(extensions.get(_SIGNATURES), 2),
    )


def _extensions(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise _refusal("an extension that is cut off")
        kind, length = _EXTENSION_HEAD.unpack_from(data, position)
        position += 4 + length
        if position > len(data):
            raise _refusal("an extension that is longer than what contains it")
        if kind in found:
            raise _refusal(f"extension {kind} twice")
        found[kind] = data[position - length : position]
    return found


def _server_name(body: bytes | None) -> str | None:
    if body is None:
        return None
    names = _Reader(_Reader(body).only_vector(2))
    while names.left:
        kind, name = names.number(1), names.vector(2)
        if kind == 0:
            text = name.decode("latin-1")
            if not _NAME.fullmatch(text):
                raise _refusal(f"the server name {text[:80]!a}")
            return text
    return None


def _protocols(body: bytes | None) -> tuple[str, ...]:
    if body is None:
        return ()
    names = _Reader(_Reader(body).only_vector(2))
    found = []
    while names.left:
        found.append(names.vector(1).decode("latin-1"))
    return tuple(found)


def _point_formats(body: bytes | None) -> tuple[int, ...]:
    return () if body is None else tuple(_Reader(body).only_vector(1))


def _number_list(body: bytes | None, length_size: int) -> tuple[int, ...]:
    return () if body is None else _numbers(_Reader(body).only_vector(length_size))


def _numbers(data: bytes) -> tuple[int, ...]:
    if len(data) % 2:
        raise _refusal(f"a list of two-byte numbers in {counted(len(data), 'byte')}")
    return struct.unpack(f">{len(data) // 2}H", data)


def _without_grease(numbers: Iterable[int]) -> list[int]:
    return [n for n in numbers if n & 0x0F0F != 0x0A0A or n >> 8 != n & 0xFF]


def _hex(numbers: Iterable[int]) -> str:
    return ",".join(f"{n:04x}" for n in numbers)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "0" * 12


def _refusal(found: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"not a TLS ClientHello: {found}")
