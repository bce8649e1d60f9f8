"""SOCKS 5 as a server reads it (RFC 1928, RFC 1929): bytes to requests, and answers to bytes."""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass

from proxy_core.errors import RemoteProtocolError

VERSION = 5
NO_AUTHENTICATION, PASSWORD, NO_ACCEPTABLE = 0x00, 0x02, 0xFF
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4


class Reply(enum.IntEnum):
    """What became of a request (RFC 1928, section 6)."""

    SUCCEEDED = 0
    FAILED = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_NOT_SUPPORTED = 8


@dataclass(frozen=True, slots=True)
class SocksRequest:
    """Where a client wants to go; an IPv6 host without brackets."""

    host: str
    port: int


class SocksError(RemoteProtocolError):
    """The client asked for what is not served; `answer` is what it is told before the end."""

    def __init__(self, message: str, answer: bytes = b"") -> None:
        super().__init__(message)
        self.answer = answer


def read_methods(data: bytes) -> tuple[frozenset[int], int] | None:
    """Read a greeting: the methods offered and the bytes used; None where more must come.

    Raises SocksError for what is no SOCKS 5.
    """
    if data and data[0] != VERSION:
        older = " (SOCKS 4 is not served)" if data[0] == 4 else ""
        raise SocksError(f"the client speaks no SOCKS 5{older}")
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    end = 2 + data[1]
    return frozenset(data[2:end]), end


def choose(method: int) -> bytes:
    """Return the answer to a greeting."""
    return bytes((VERSION, method))


def read_password(data: bytes) -> tuple[str, str, int] | None:
    """Read user and password (RFC 1929) and the bytes used; None where more must come.

    Raises SocksError.
    """
    if data and data[0] != 1:
        raise SocksError("the client's SOCKS password is no version 1 of RFC 1929")
    if len(data) < 2 or len(data) < 3 + data[1]:
        return None
    user_end = 2 + data[1]
    end = user_end + 1 + data[user_end]
    if len(data) < end:
        return None
    user = data[2:user_end].decode(errors="surrogateescape")
    return user, data[user_end + 1 : end].decode(errors="surrogateescape"), end


def judge_password(good: bool) -> bytes:
    """Return the answer to user and password."""
    return bytes((1, 0 if good else 1))


def read_request(data: bytes) -> tuple[SocksRequest, int] | None:
    """Read a request and the bytes used; None where more must come.

    Raises SocksError with the reply for all but CONNECT.
    """
    if data and data[0] != VERSION:
        raise SocksError("the client's SOCKS request is of no version 5")
    if len(data) < 5:
        return None
    command, kind = data[1], data[3]
    if kind == _NAME:
        start, size = 5, data[4]
    elif kind in (_IPV4, _IPV6):
        start, size = 4, 4 if kind == _IPV4 else 16
    else:
        raise SocksError(
            f"SOCKS address type {kind} is unknown", encode_reply(Reply.ADDRESS_NOT_SUPPORTED)
        )
    end = start + size + 2
    if len(data) < end:
        return None
    raw = data[start : start + size]
    if kind == _NAME:
        host = raw.decode("ascii", "replace")
        if not raw or not raw.isascii() or not host.isprintable() or " " in host:
            raise SocksError(f"{raw!r} is no host name", encode_reply(Reply.ADDRESS_NOT_SUPPORTED))
    else:
        host = str(ipaddress.ip_address(raw))
    if command != _CONNECT:
        name = {2: "BIND", 3: "UDP ASSOCIATE"}.get(command, f"command {command}")
        raise SocksError(
            f"SOCKS {name} is not served, only CONNECT", encode_reply(Reply.COMMAND_NOT_SUPPORTED)
        )
    return SocksRequest(host, int.from_bytes(data[end - 2 : end], "big")), end


def encode_reply(reply: Reply) -> bytes:
    """Return the answer to a request; the bound address is not told."""
    return bytes((VERSION, reply, 0, _IPV4, 0, 0, 0, 0, 0, 0))
