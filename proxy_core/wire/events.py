"""What a parser says, the same for HTTP/1 and HTTP/2, so that the exchange is written once.

A body's data travels as plain bytes; the events here are the heads and the ends.
"""

from __future__ import annotations

from proxy_core.model.headers import Field
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.wire.http1_fields import field_kind

CHUNKED = -1
"""A body whose end the framing marks: chunked in HTTP/1.1, END_STREAM in HTTP/2."""

UNTIL_CLOSE = -2
"""A response body that ends with its connection (RFC 9112, section 6.3, item 8)."""

BodyLength = int
"""0 for no body, a count of bytes, CHUNKED or UNTIL_CLOSE."""


def _clean_with(
    clean: bytes | None, old: RequestHead | ResponseHead, new: RequestHead | ResponseHead
) -> bytes | None:
    """Return the clean lines of `new`, where it differs from `old` by more fields only."""
    gained = new.gained_over(old)
    if clean is None or gained is None:
        return None
    fields, lines = gained
    for name, _ in fields:
        if field_kind(name):  # not an ordinary one
            return None
    return b"%b%b\r\n" % (clean[:-2], lines)


class RequestReceived:
    """The head of a request is complete.

    `length` tells what follows; `keep_alive` whether the client wants the connection kept;
    `upgrade` is the protocol asked for (RFC 9110, section 7.8).
    """

    __slots__ = (
        "clean",
        "declared",
        "expect_continue",
        "head",
        "keep_alive",
        "length",
        "oddities",
        "upgrade",
    )

    def __init__(
        self,
        head: RequestHead,
        length: BodyLength,
        keep_alive: bool = True,
        upgrade: bytes | None = None,
        expect_continue: bool = False,
        clean: bytes | None = None,
    ) -> None:
        self.head = head
        self.length = length
        self.keep_alive = keep_alive
        self.upgrade = upgrade
        self.expect_continue = expect_continue
        self.declared: int | None = None
        """Bytes of body that the stream has to carry, where it says so (HTTP/2)."""
        self.oddities: tuple[str, ...] = ()
        """What was made regular, where odd heads are let pass."""
        self.clean = clean
        """The field lines, empty line included, ready to go on byte for byte: hop-by-hop fields
        cut out, Host agreeing with the target. None where the head must be rebuilt (HTTP/1)."""

    def clean_of(self, head: RequestHead, length: BodyLength) -> bytes | None:
        """Return `clean` for what the head has become, or None where that must be rebuilt."""
        old = self.head
        if head is old:
            return self.clean
        if length != self.length or head.authority != old.authority or head.path != old.path:
            return None
        return _clean_with(self.clean, old, head)


class ResponseReceived:
    """The head of a response is complete; `informational` for 1xx other than 101."""

    __slots__ = (
        "clean",
        "declared",
        "head",
        "informational",
        "keep_alive",
        "length",
        "oddities",
        "upgrade",
    )

    def __init__(
        self,
        head: ResponseHead,
        length: BodyLength,
        keep_alive: bool = True,
        upgrade: bytes | None = None,
        informational: bool = False,
        clean: bytes | None = None,
    ) -> None:
        self.head = head
        self.length = length
        self.keep_alive = keep_alive
        self.upgrade = upgrade
        self.informational = informational
        self.declared: int | None = None
        """As for a request."""
        self.oddities: tuple[str, ...] = ()
        """As for a request."""
        self.clean = clean
        """As for a request."""

    def clean_of(self, head: ResponseHead, length: BodyLength) -> bytes | None:
        """As for a request."""
        if head is self.head:
            return self.clean
        if length != self.length or head.status != self.head.status:
            return None
        return _clean_with(self.clean, self.head, head)


class EndOfMessage:
    """The message is complete; `trailers` are its trailer fields, if it had any."""

    __slots__ = ("trailers",)

    def __init__(self, trailers: list[Field] | None = None) -> None:
        self.trailers = trailers


END_OF_MESSAGE = EndOfMessage()
