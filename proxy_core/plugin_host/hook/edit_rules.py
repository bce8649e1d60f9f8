"""What a plugin may write into a message: the grammar of RFC 9110 and 9112, and no framing.

Everything that decides where a message ends, or whom it is for, belongs to the proxy. A plugin
that could set it could smuggle a second message past whoever reads the first.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from proxy_core.config import Limits
from proxy_core.model.headers import Field
from proxy_core.plugin_host.codes import NOT_PERMITTED, OK, OVER_LIMIT

_LIMITS: Final = Limits()
HEAD_BYTES: Final = _LIMITS.head_bytes
HEADER_COUNT: Final = _LIMITS.header_count
TARGET_BYTES: Final = _LIMITS.target_bytes
REASON_BYTES: Final = 512

_SHORT: Final = 64  # bytes of a name that is worth remembering

PROXY_OWNED: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"host",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields about framing, the connection or the target: plugins read them and change none."""

# Possessive: what does not match is not tried again, byte by byte.
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++")
_VALUE: Final = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*+")
_PATH: Final = re.compile(rb"/[\x21\x22\x24-\x7e]*+")
_URL: Final = re.compile(rb"(?i:(https?)://)([^/?#]+)([/?][^#]*)?")
_AUTHORITY: Final = re.compile(
    rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::([0-9]{1,5}))?"
)
_FRAMED_BY_STATUS: Final = frozenset({101, 204, 304})
"""Statuses whose responses have no body, or another protocol after them (RFC 9112, 6.3)."""


def check_field(name: bytes, value: bytes) -> int:
    """Return OK, or the code for why this field line may not be written."""
    if len(name) + len(value) > HEAD_BYTES:
        return OVER_LIMIT
    allowed = _may_name(name) if len(name) <= _SHORT else _is_free(name)
    return OK if allowed and is_value(value) else NOT_PERMITTED


def is_token(raw: bytes) -> bool:
    """Whether `raw` may be a name (RFC 9110, section 5.6.2)."""
    return _TOKEN.fullmatch(raw) is not None


def is_value(raw: bytes) -> bool:
    """Whether `raw` may be a field's value (RFC 9110, section 5.5)."""
    return _VALUE.fullmatch(raw) is not None


def _is_free(name: bytes) -> bool:
    """Whether `name` is a field's name, and not one of the proxy's."""
    return is_token(name) and name.lower() not in PROXY_OWNED


_may_name = lru_cache(maxsize=1024)(_is_free)  # plugins write the same few over and over


def check_fields(fields: list[Field]) -> int:
    """Check all fields of a new head; OK or a code."""
    if len(fields) > HEADER_COUNT:
        return OVER_LIMIT
    if sum(len(name) + len(value) + 4 for name, value in fields) > HEAD_BYTES:
        return OVER_LIMIT
    for name, value in fields:
        code = check_field(name, value)
        if code != OK:
            return code
    return OK


def is_method(raw: bytes) -> bool:
    """Whether `raw` is a method a plugin may set; CONNECT makes a tunnel and is none."""
    return len(raw) <= 64 and is_token(raw) and raw.upper() != b"CONNECT"


def is_reason(raw: bytes) -> bool:
    """Whether `raw` may stand on a status line."""
    return len(raw) <= REASON_BYTES and is_value(raw)


def is_path(raw: bytes) -> bool:
    """Whether `raw` is an origin-form target (RFC 9112, section 3.2.1): no space, no fragment."""
    return _PATH.fullmatch(raw) is not None


def is_authority(raw: bytes) -> bool:
    """Whether `raw` is `host[:port]`, without user information."""
    match = _AUTHORITY.fullmatch(raw)
    if match is None:
        return False
    host, port = match.groups()
    if host.startswith(b"[") and not _is_ipv6(host[1:-1]):
        return False
    return port is None or 1 <= int(port) <= 65535


def parse_host(raw: bytes) -> str | None:
    """Return a host without brackets, or None where `raw` is none."""
    if b":" in raw:
        bare = raw[1:-1] if raw.startswith(b"[") and raw.endswith(b"]") else raw
        return bare.decode("latin-1") if _is_ipv6(bare) else None
    return raw.decode() if is_authority(raw) else None


def parse_number(raw: bytes, low: int, high: int) -> int | None:
    """Return a decimal number from `low` to `high`, or None."""
    if not 1 <= len(raw) <= len(str(high)) or not raw.isdigit():
        return None
    number = int(raw)
    return number if low <= number <= high else None


def split_url(raw: bytes) -> tuple[str, bytes, bytes] | None:
    """Return (scheme, authority, path with query) of an absolute http or https URL, or None."""
    match = _URL.fullmatch(raw)
    if match is None:
        return None
    scheme, authority, path = match.groups()
    path = path or b"/"
    if path.startswith(b"?"):
        path = b"/" + path
    if not is_authority(authority) or not is_path(path):
        return None
    return scheme.lower().decode(), authority, path


def may_change_status(old: int, new: int) -> bool:
    """Whether the response is framed the same way under both statuses."""
    return old == new or (old not in _FRAMED_BY_STATUS and new not in _FRAMED_BY_STATUS)


def has_body(status: int) -> bool:
    """Whether a final response of this status may have a body."""
    return status not in _FRAMED_BY_STATUS


def standard_reason(status: int) -> bytes:
    """The usual reason phrase; empty for statuses without one."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


def _is_ipv6(raw: bytes) -> bool:
    try:
        ipaddress.IPv6Address(raw.decode("latin-1"))
    except ValueError:
        return False
    return b"%" not in raw
