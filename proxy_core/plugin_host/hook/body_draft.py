"""The body at a hook's hand: decoded when the plugin reads it, coded again once it has written.

Coding and decoding may take long, so whoever asks for it looks first whether it would.
"""

from __future__ import annotations

from typing import Final

from proxy_core.model.websocket import WebSocketMessage
from proxy_core.plugin_host.codes import ABSENT, OK, OVER_LIMIT
from proxy_core.wire.content_coding import can_encode, codings_of, decode_body, encode_body

BODY_BYTES: Final = 16 * 1024 * 1024
"""Of a body that a plugin reads decoded, or writes."""
_QUICK: Final = 16 * 1024
"""Bytes that are coded or decoded on the loop; more of them beside it."""


class BodyDraft:
    """Changed by one hook call only; nothing outside sees it before the call is committed."""

    __slots__ = (
        "_began_with",
        "_coding",
        "_data",
        "_partial",
        "_problem",
        "coded",
        "edited",
        "message",
        "of_response",
        "writable",
        "written",
    )

    def __init__(
        self,
        began_with: bytes,
        coding: str | None = None,
        *,
        of_response: bool = False,
        writable: bool = True,
        partial: bool = False,
        message: WebSocketMessage | None = None,
    ) -> None:
        """Begin with bytes as on the wire, under the content-encoding `coding`.

        Of one that is `partial` what can be read is read, however it ends. `message` is what the
        body is a captured copy of, where it is that of a WebSocket's message.
        """
        self._began_with = began_with
        self._coding = coding if codings_of(coding) else None
        self._data: bytes | None = began_with if self._coding is None else None
        self._partial = partial
        self._problem = OK
        self.coded = began_with
        """As it goes on: behind `encode`, what was written."""
        self.of_response = of_response
        self.message = message
        self.writable = writable
        self.written = False
        """Whether anything was put in its place, and be it the same."""
        self.edited = False

    @property
    def is_long_to_decode(self) -> bool:
        """Whether `decode` is too much for the loop."""
        return self._data is None and len(self._began_with) > _QUICK

    def decode(self) -> None:
        """Make ready for `read`."""
        if self._data is None:
            decoded = decode_body(self._began_with, self._coding, BODY_BYTES)
            self._data = decoded.data
            if decoded.notes and not self._partial:
                self._problem = OVER_LIMIT if len(decoded.data) >= BODY_BYTES else ABSENT

    def read(self, offset: int, length: int) -> tuple[memoryview, int] | int:
        """Return up to `length` bytes from `offset`, and how many there are in all; or a code.

        Only after `decode`.
        """
        data = self._data
        if data is None or self._problem != OK:
            return self._problem or ABSENT
        return memoryview(data)[offset : offset + length], len(data)

    def write(self, data: bytes) -> None:
        """Put `data`, not coded, in the body's place."""
        self.written = True
        if data != self._data:
            self._data, self._problem, self.edited = data, OK, True

    @property
    def is_long_to_encode(self) -> bool:
        """Whether `encode` is too much for the loop, whatever the coding."""
        return self._data is not None and len(self._data) > _QUICK

    def encode(self, coding: str | None) -> bool:
        """Put into `coded` what was written; False where `coding` is not known here."""
        assert self._data is not None
        if not can_encode(coding):
            return False
        self.coded = encode_body(self._data, coding)
        return True
