"""Requests that come round, by proxies that lead to each other: they end here.

Other proxies are told of this one by a pseudonym in every request, in Via (RFC 9110, section
7.6.3). To origins there is no proxy; but what a reverse mode takes for its origin may be a proxy
that leads back here. Each round then has one more request wait for its answer: where many wait,
they are told too. That is done by CDN-Loop (RFC 8586), which is for nothing else: of Via some
origins conclude that they should not compress.
"""

from __future__ import annotations

from proxy_core.errors import UpstreamError
from proxy_core.model.message import RequestHead

MANY_WAIT = 32
"""Requests that wait for their answers before one more may be a round of theirs."""

CAME_BACK = (
    "this request came through this proxy before: the proxies it goes on to lead back here; "
    "name another one in {}:"
)


def end_round(head: RequestHead, pseudonym: str) -> None:
    """Refuse what has come through the proxy of this pseudonym, by its Via.

    Raises UpstreamError.
    """
    if _names(head, b"via", pseudonym):
        raise UpstreamError(CAME_BACK.format("upstream"), 508)


def mark_round(head: RequestHead, pseudonym: str) -> RequestHead:
    """Return a request that says whom it has come through, for an origin that may lead back.

    Raises UpstreamError for one that has come back.
    """
    if _names(head, b"cdn-loop", pseudonym):
        raise UpstreamError(CAME_BACK.format("reverse"), 508)
    return head.gaining([(b"CDN-Loop", pseudonym.encode())])


def _names(head: RequestHead, field: bytes, pseudonym: str) -> bool:
    value = head.headers.joined(field)
    return value is not None and pseudonym.encode() in value
