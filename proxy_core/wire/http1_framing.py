"""What the fields of one HTTP/1 head say of body and connection (RFC 9112, sections 6 and 9)."""

from __future__ import annotations

import re
from typing import Final

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field
from proxy_core.wire.events import CHUNKED
from proxy_core.wire.http1_fields import TOKEN, FieldKind, field_kind, shown

_CODED_THEN_CHUNKED = re.compile(
    rb"(?:(?!chunked[ \t,;])" + TOKEN + rb"[ \t]*,[ \t]*)+chunked", re.IGNORECASE
)
_DECIMAL = re.compile(rb"[0-9]{1,18}")

_HOST: Final = FieldKind.HOST
_CONTENT_LENGTH: Final = FieldKind.CONTENT_LENGTH
_TRANSFER_ENCODING: Final = FieldKind.TRANSFER_ENCODING
_CONNECTION: Final = FieldKind.CONNECTION
_UPGRADE: Final = FieldKind.UPGRADE
_EXPECT: Final = FieldKind.EXPECT


class Framing:
    """What the special fields of one head say, gathered in one walk."""

    __slots__ = (
        "close",
        "content_length",
        "expect_continue",
        "host",
        "hosts",
        "keep_alive",
        "removable",
        "transfer_encoding",
        "upgrade",
        "upgrade_asked",
    )

    def __init__(self, fields: list[Field]) -> None:
        self.host: bytes | None = None
        self.hosts = 0
        self.content_length: int | None = None
        self.transfer_encoding: bytes | None = None
        self.close = False
        self.keep_alive = False
        self.upgrade: bytes | None = None
        self.upgrade_asked = False
        self.expect_continue = False
        self.removable: list[Field] | None = []
        """Lines to cut out before the head may go on; None where the head must be rebuilt."""
        for field in fields:
            kind = field_kind(field[0])
            if kind:
                self._note(kind, field)

    def _note(self, kind: int, field: Field) -> None:
        value = field[1]
        if kind == _HOST:
            self.host = value
            self.hosts += 1
        elif kind == _CONTENT_LENGTH:
            if self.content_length is not None:
                raise RemoteProtocolError("Content-Length is given twice")
            if not _DECIMAL.fullmatch(value):
                raise RemoteProtocolError(f"Content-Length is not a number: {shown(value)}")
            self.content_length = int(value)
            if value[:1] == b"0" and len(value) > 1:
                self.removable = None  # somebody might read it as octal
        elif kind == _CONNECTION:
            self._note_connection(field)
        elif kind == _TRANSFER_ENCODING:
            if self.transfer_encoding is not None:
                raise RemoteProtocolError("Transfer-Encoding is given twice")
            self.transfer_encoding = value.lower()
            self.removable = None
        elif kind == _EXPECT:
            self.expect_continue |= b"100-continue" in value.lower()
        elif kind == _UPGRADE:
            self.upgrade = value if self.upgrade is None else self.upgrade + b", " + value
            self.removable = None
        elif kind == FieldKind.HOP_BY_HOP:
            if self.removable is not None:
                self.removable.append(field)
        else:  # TE
            self.removable = None

    def _note_connection(self, field: Field) -> None:
        option = field[1].lower()
        if option == b"keep-alive":
            self.keep_alive = True
        elif option == b"close":
            self.close = True
        else:
            self.removable = None
            for part in option.split(b","):
                token = part.strip(b" \t")
                self.close |= token == b"close"
                self.keep_alive |= token == b"keep-alive"
                self.upgrade_asked |= token == b"upgrade"
        if self.removable is not None:
            self.removable.append(field)

    @property
    def upgrade_wanted(self) -> bytes | None:
        """The protocols that a request asks for, without HTTP/2, which would hide the rest of it.

        RFC 9113, section 3.1, has done away with `h2c`; what would follow were requests unseen.
        """
        if self.upgrade is None or not self.upgrade_asked:
            return None
        if b"h2c" not in self.upgrade.lower():
            return self.upgrade
        names = [name.strip(b" \t") for name in self.upgrade.split(b",")]
        return b", ".join([name for name in names if name.lower() != b"h2c"]) or None

    def length_of(self, http_11: bool) -> int | None:
        """Return CHUNKED, a count, or None where neither field is there."""
        if self.transfer_encoding is None:
            return self.content_length
        if self.content_length is not None:
            raise RemoteProtocolError("both Content-Length and Transfer-Encoding are given")
        if not http_11:
            raise RemoteProtocolError("Transfer-Encoding in an HTTP/1.0 message")
        if self.transfer_encoding != b"chunked":
            if not _CODED_THEN_CHUNKED.fullmatch(self.transfer_encoding):
                # Where such a body ends cannot be known (RFC 9112, section 6.3, item 4).
                raise RemoteProtocolError(
                    f"transfer coding {shown(self.transfer_encoding)} does not end in one chunked"
                )
            raise RemoteProtocolError(
                f"transfer coding {shown(self.transfer_encoding)} is not supported;"
                " only chunked is",
                501,
            )
        return CHUNKED
