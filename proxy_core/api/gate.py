"""Who may ask: a Host that is ours, against DNS rebinding, and the token (RFC 6750, section 2.1).

A page in a browser can make a name of its own lead to this machine, and then send requests here;
it cannot choose their Host, nor send an Authorization field to another origin without being asked.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

RawHeaders = Iterable[tuple[bytes, bytes]]
"""Fields with their names in lower case."""

_ALWAYS: Final = ("localhost",)
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/?#@\\\s]+)(?::(\d{1,5}))?")
_BEARER: Final = b"bearer"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served; `challenge` is for WWW-Authenticate."""

    status: int
    error: str
    challenge: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """Holds requests against the token and the names under which the API is reached.

    `hosts` are names and addresses besides localhost, loopback and a connection's own address.
    """

    secret: bytes = field(repr=False)
    hosts: tuple[str, ...] = ()

    def check_host(self, headers: RawHeaders, local_address: str) -> Refusal | None:
        """Refuse what was not meant for us; `local_address` is the connection's end here."""
        given = _values(headers, b"host")
        if len(given) != 1:
            return Refusal(400, "a request needs one Host field")
        text = given[0].decode("latin-1")
        host = host_of(text)
        known = {name for name in map(host_of, (*_ALWAYS, *self.hosts)) if name}
        if host is not None and (host in known or _is_ours(host, local_address)):
            return None
        return Refusal(
            403, f"Host {text[:100]!r} is not this API's; pass --api-hosts where it should be"
        )

    def check_token(self, headers: RawHeaders) -> Refusal | None:
        """Refuse who does not know the token; takes as long whatever was given instead."""
        given = _values(headers, b"authorization")
        scheme, _, secret = (given[0] if len(given) == 1 else b"").partition(b" ")
        right = hmac.compare_digest(secret.strip(b" "), self.secret)
        if right and scheme.lower() == _BEARER:
            return None
        if not given:
            return Refusal(
                401, "no token; send what the token file holds as Authorization: Bearer", "Bearer"
            )
        return Refusal(
            401,
            "the token is not this API's; send what its token file holds as Authorization: Bearer",
            'Bearer error="invalid_token"',
        )


def host_of(text: str) -> str | None:
    """Return the host of a Host field, comparable: lower case, addresses in one spelling.

    None for what is no `host[:port]` (RFC 9110, section 7.2).
    """
    found = _HOST.fullmatch(text)
    if found is None or (found[2] and int(found[2]) > 65_535):
        return None
    host = found[1]
    if host.startswith("["):
        try:
            return _one_spelling(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            return None
    try:
        return _one_spelling(ipaddress.IPv4Address(host))
    except ValueError:
        return host.lower().removesuffix(".")


def _is_ours(host: str, local_address: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or host == _spelled(local_address)


def _spelled(address: str) -> str | None:
    try:
        return _one_spelling(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return None


def _one_spelling(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _values(headers: RawHeaders, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]
