"""What hooks may do with a message's body, and what they did to a message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol

import msgspec

from proxy_core.model.headers import Field
from proxy_core.model.message import RequestHead, ResponseHead

CHANGE_BYTES: Final = 256 * 1024
"""At most, of the body before a change."""


class WholeBody:
    """A body, gathered before its message goes on, while hooks decide about the message.

    `data` is as on the wire, content coding untouched; a hook may put other bytes in its place,
    and other `trailers`. Framing follows by itself.
    """

    __slots__ = ("_data", "_trailers", "data", "trailers")

    def __init__(self, data: bytes, trailers: list[Field] | None = None) -> None:
        self.data = self._data = data
        self.trailers = trailers
        self._trailers = list(trailers or ())

    @property
    def edited(self) -> bool:
        """Whether anything of it is different from what came."""
        return self.data != self._data or (self.trailers or []) != self._trailers


class OpenBody(Protocol):
    """The body behind a head, for hooks that want some of it before they let the head go on."""

    seen_by: list[str]
    """The plugins that what is read has come through already."""

    async def next(self, woken: Coroutine[Any, Any, object]) -> bytes | None:
        """Return the next piece, `b""` at the end, or None where `woken` is through before it.

        Raises what reading a body raises.
        """

    def pass_through(
        self,
        by: str,
        body_filter: Callable[[bytes, bool], Awaitable[bytes]],
        first: bytes = b"",
        ended: bool = False,
        trailers: list[Field] | None = None,
    ) -> None:
        """Have what is read from now on come through a plugin's filter, behind `first`.

        With `ended` there is nothing behind it but `trailers`.
        """

    @property
    def trailers(self) -> list[Field] | None:
        """What came behind the body, once its end was read."""

    def close(self) -> None:
        """Stop reading, where somebody still does."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """One edit of a message: what it was `before`; what it became is found in what came after."""

    by: str
    """`plugin NAME`, `rule NAME`."""
    before: RequestHead | ResponseHead
    body: bytes | None = None
    """The body before, its first CHANGE_BYTES; None where it was left as it was."""
    in_pieces: bool = False
    """Whether it was about the body on its way, piece by piece; what that was is not kept."""

    @property
    def of_response(self) -> bool:
        """Whether the response was edited, and not the request."""
        return isinstance(self.before, ResponseHead)
