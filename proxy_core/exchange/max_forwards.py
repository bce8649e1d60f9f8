"""How many proxies a TRACE or OPTIONS may still pass (Max-Forwards; RFC 9110, section 7.6.2)."""

from __future__ import annotations

from proxy_core.model.headers import Headers
from proxy_core.model.message import HTTP_11, RequestHead, ResponseHead

COUNTED = (b"TRACE", b"OPTIONS")
"""Methods whose requests are counted down; with any other one the field means nothing."""

_NAME = b"max-forwards"
_MOST_DIGITS = 9
_SECRET = (b"authorization", b"proxy-authorization", b"cookie")
"""What an answer to TRACE does not tell (RFC 9110, section 9.3.8)."""


def count_down(head: RequestHead) -> RequestHead | None:
    """Return a request as it goes on, itself where nothing is counted; None where it ends here.

    What is no number is not ours to judge, and goes on as it is.
    """
    value = head.headers.joined(_NAME)
    if value is None or not value.isdigit():
        return head
    digits = value.lstrip(b"0")
    if not digits:
        return None
    left = min(int(digits[: _MOST_DIGITS + 1]), 10**_MOST_DIGITS) - 1
    headers = head.headers.copy()
    headers.set(_NAME, b"%d" % left)
    return head.replace(headers=headers)


def answer_here(head: RequestHead) -> tuple[ResponseHead, bytes]:
    """Return what the last one to get a request answers: to TRACE, what has come."""
    fields = [(b"Content-Length", b"0")]
    body = b""
    if head.method == b"TRACE":
        shown = [field for field in head.headers.fields if field[0].lower() not in _SECRET]
        if b"host" not in head.headers:  # in HTTP/2 it is no field
            shown = [(b"Host", head.authority), *shown]
        body = RequestHead(b"TRACE", "", b"", head.path, Headers(shown), HTTP_11).raw
        fields = [(b"Content-Type", b"message/http"), (b"Content-Length", b"%d" % len(body))]
    return ResponseHead(200, b"", Headers(fields)), body
