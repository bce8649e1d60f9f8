"""HTTP/2 fields to heads and back (RFC 9113, section 8), validated by ourselves.

The h2 library's inbound checks are switched off, because ours have to hold whatever it does: no
CR, LF, NUL, space or pseudo-header may reach an HTTP/1 head by way of a field, path or method.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import HTTP_2, RequestHead, ResponseHead
from proxy_core.wire.events import CHUNKED, BodyLength, RequestReceived, ResponseReceived
from proxy_core.wire.http1_fields import field_kind, shown
from proxy_core.wire.http1_head import check_authority

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|\A[ \t]|[ \t]\Z")
_SUSPECT = re.compile(rb"[\x00-\x08\x0a-\x1f]|\x7f[ \t]|[ \t]\x7f")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_PATH = re.compile(rb"[\x21\x22\x24-\x7e]+")
_DECIMAL = re.compile(rb"[0-9]{1,18}")
_STATUS = re.compile(rb"[1-9][0-9][0-9]")

_CONNECTION_SPECIFIC = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
    b"upgrade",
}
_NEVER_SENT = _CONNECTION_SPECIFIC | {
    b"host",
    b"http2-settings",
    b"proxy-authorization",
    b"proxy-authenticate",
    b"proxy-authentication-info",
}
_REQUEST_PSEUDO = {b":method", b":scheme", b":authority", b":path", b":protocol"}


@lru_cache(maxsize=4096)
def _name_is_good(name: bytes) -> bool:
    return _NAME.fullmatch(name) is not None and name not in _CONNECTION_SPECIFIC


def _asks_for_trailers(field: Field) -> bool:
    """Whether it is TE with the one value it may have (RFC 9113, section 8.2.2)."""
    return field[0] == b"te" and field[1].lower() == b"trailers"


def _split(fields: Iterable[Field], allowed: set[bytes]) -> tuple[dict[bytes, bytes], list[Field]]:
    """Part the pseudo-header fields from the rest, and refuse what is malformed in either."""
    pseudo: dict[bytes, bytes] = {}
    regular: list[Field] = []
    for field in fields:
        # hpack gives subclasses of tuple; `raw` heads and comparisons want the plain thing.
        name, value = field
        if name[:1] == b":":
            if regular:
                raise RemoteProtocolError(f"pseudo-header {shown(name)} after a field")
            if name in pseudo or name not in allowed:
                raise RemoteProtocolError(f"pseudo-header {shown(name)} unknown or given twice")
            pseudo[name] = value
        else:
            if not _name_is_good(name) and not _asks_for_trailers(field):
                raise RemoteProtocolError(f"a field that HTTP/2 forbids: {shown(name)}")
            regular.append((name, value))
    _check_values(regular)
    return pseudo, regular


def _check_values(fields: list[Field]) -> None:
    """Refuse control characters, and white space at either end (RFC 9113, section 8.2.1)."""
    values = [value for _, value in fields]
    # All at once, joined by a byte that none may hold: more of those than joints is one too many.
    joined = b"\x7f%b\x7f" % b"\x7f".join(values)
    if _SUSPECT.search(joined) or joined.count(b"\x7f") != len(values) + 1 + (not values):
        for name, value in fields:
            if _BAD_VALUE.search(value):
                raise RemoteProtocolError(
                    f"a control character, or space at an end, in the value of {shown(name)}"
                )


def read_request(fields: Iterable[Field], ended: bool, max_target: int) -> RequestReceived:
    """Return the request that a HEADERS block carries. Raises RemoteProtocolError."""
    pseudo, regular = _split(fields, _REQUEST_PSEUDO)
    try:
        method = pseudo[b":method"]
    except KeyError:
        raise RemoteProtocolError("a request without :method") from None
    if not _METHOD.fullmatch(method):
        raise RemoteProtocolError(f"the method is not a token: {shown(method)}")
    authority = pseudo.get(b":authority", b"")
    hosts = [value for name, value in regular if name == b"host"]
    if not authority and hosts:
        authority = hosts[0]
    for name in (authority, *hosts):
        if name:
            _check_authority(name)
    authority = authority.removesuffix(b":")  # a port may be left empty
    if len(hosts) > 1:
        raise RemoteProtocolError("Host is given twice")
    if b":protocol" in pseudo and method != b"CONNECT":
        raise RemoteProtocolError("a request with :protocol that is no CONNECT")
    if method == b"CONNECT" and b":protocol" not in pseudo:
        if b":path" in pseudo or b":scheme" in pseudo or not authority:
            raise RemoteProtocolError("CONNECT takes :authority, and neither :path nor :scheme")
        scheme, path = b"https", b""
    else:
        scheme, path = pseudo.get(b":scheme", b""), pseudo.get(b":path", b"")
        if scheme not in (b"http", b"https"):
            raise RemoteProtocolError(f"a request with :scheme {shown(scheme)}")
        if not _PATH.fullmatch(path) or (path[:1] != b"/" and (path, method) != (b"*", b"OPTIONS")):
            raise RemoteProtocolError(f"a request with :path {shown(path)}")
        if len(path) > max_target:
            raise RemoteProtocolError(
                f"request target of {len(path)} bytes; at most {max_target} pass", 414
            )
    if hosts:
        regular = [field for field in regular if field[0] != b"host"]
    regular = _with_one_cookie(regular)
    head = RequestHead(method, scheme.decode(), authority, path, Headers(regular), HTTP_2)
    declared = _length(regular)
    upgrade = pseudo.get(b":protocol")
    if upgrade is not None and declared >= 0:
        raise RemoteProtocolError("an extended CONNECT with content-length")
    received = RequestReceived(
        head,
        0 if ended or method == b"CONNECT" else _on_its_way(declared, regular),
        upgrade=upgrade,
        expect_continue=any(field[0] == b"expect" for field in regular),
    )
    received.declared = declared if declared >= 0 else None
    return received


_check_authority = lru_cache(maxsize=1024)(check_authority)


def _with_one_cookie(fields: list[Field]) -> list[Field]:
    """Put cookie crumbs together again (RFC 9113, section 8.2.3)."""
    crumbs = [value for name, value in fields if name == b"cookie"]
    if len(crumbs) < 2:
        return fields
    joined: list[Field] = []
    for field in fields:
        if field[0] != b"cookie":
            joined.append(field)
        elif crumbs:
            joined.append((b"cookie", b"; ".join(crumbs)))
            crumbs = []
    return joined


def _length(fields: list[Field]) -> BodyLength:
    lengths = [value for name, value in fields if name == b"content-length"]
    if not lengths:
        return CHUNKED
    if len(lengths) > 1 or not _DECIMAL.fullmatch(lengths[0]):
        raise RemoteProtocolError(f"content-length is no one number: {shown(b', '.join(lengths))}")
    return int(lengths[0])


def _on_its_way(declared: BodyLength, fields: list[Field]) -> BodyLength:
    """Return how a body goes on whose end has not come: in HTTP/1 trailers need chunks."""
    if declared > 0 and any(name == b"trailer" for name, _ in fields):
        return CHUNKED
    return declared


def read_response(fields: Iterable[Field], ended: bool, request_method: bytes) -> ResponseReceived:
    """Return the response that a HEADERS block carries. Raises RemoteProtocolError."""
    pseudo, regular = _split(fields, {b":status"})
    status_text = pseudo.get(b":status", b"")
    if not _STATUS.fullmatch(status_text) or status_text == b"101":
        raise RemoteProtocolError(f"a response with :status {shown(status_text)}")
    status = int(status_text)
    bodiless = status < 200 or status in (204, 304) or request_method == b"HEAD"
    said = _length(regular)  # HEAD and 304 may say one: it goes on, and has to be sound
    declared = 0 if bodiless else said
    received = ResponseReceived(
        ResponseHead(status, b"", Headers(regular), HTTP_2),
        0 if ended else _on_its_way(declared, regular),
        informational=status < 200,
    )
    received.declared = declared if declared >= 0 else None
    return received


def read_trailers(fields: Iterable[Field]) -> list[Field]:
    """Return trailer fields, without what only a head may say (RFC 9110, section 6.5.1).

    Raises RemoteProtocolError.
    """
    return [field for field in _split(fields, set())[1] if not field_kind(field[0])]


def request_fields(head: RequestHead, length: BodyLength, trailers_ok: bool) -> list[Field]:
    """Return the fields of a request to send, pseudo-header fields first."""
    if head.method == b"CONNECT":
        fields = [(b":method", head.method), (b":authority", head.authority)]
    else:
        fields = [
            (b":method", head.method),
            (b":scheme", head.scheme.encode()),
            (b":authority", head.authority),
            (b":path", head.path),
        ]
    fields += _end_to_end(head.headers.fields, length)
    if trailers_ok:
        fields.append((b"te", b"trailers"))
    return fields


def response_fields(head: ResponseHead, length: BodyLength) -> list[Field]:
    """Return the fields of a response to send, `:status` first."""
    fields = _end_to_end(head.headers.fields, length)
    if head.status < 200 or head.status == 204:  # which say none (RFC 9110, section 8.6)
        fields = [field for field in fields if field[0] != b"content-length"]
    return [(b":status", b"%d" % head.status), *fields]


def lower_case(fields: list[Field]) -> list[Field]:
    """Return fields as HTTP/2 spells them."""
    return [(name.lower(), value) for name, value in fields]


@lru_cache(maxsize=4096)
def _spelled(name: bytes) -> bytes:
    """Return the name as HTTP/2 spells it; empty where it may not be sent at all."""
    lower = name.lower()
    return b"" if lower in _NEVER_SENT else lower


def _end_to_end(fields: list[Field], length: BodyLength) -> list[Field]:
    kept = [(spelled, value) for name, value in fields if (spelled := _spelled(name))]
    if len(kept) != len(fields):
        named = _named_by_connection(fields)
        if named:
            kept = [field for field in kept if field[0] not in named]
    if length < 0:
        kept = [field for field in kept if field[0] != b"content-length"]
    return kept


def _named_by_connection(fields: list[Field]) -> set[bytes]:
    named: set[bytes] = set()
    for name, value in fields:
        if name.lower() == b"connection":
            named.update(option.strip(b" \t").lower() for option in value.split(b","))
    return named - {b"content-length", b"authorization", b"cookie", b"content-type"}


def wants_trailers(fields: list[Field]) -> bool:
    """Whether TE says that trailers are welcome (RFC 9110, section 10.1.4)."""
    return any(name.lower() == b"te" and b"trailers" in value.lower() for name, value in fields)
