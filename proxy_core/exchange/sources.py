"""Sources of a body that stand in front of another one, so that whoever sends it does not know."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from proxy_core.exchange.hooks import BodyFilter
from proxy_core.exchange.ports import BodySource
from proxy_core.model.edits import WholeBody
from proxy_core.model.headers import Field

_MANY_PIECES = 256
"""Pieces kept before they are joined: a piece of one byte takes forty in memory."""


class Gathered:
    """A source that first gives what was read of another one already."""

    __slots__ = ("_ended", "_pieces", "_rest", "trailers")

    def __init__(self, rest: BodySource) -> None:
        self._rest = rest
        self._pieces: deque[bytes] = deque()
        self._ended = False
        self.trailers: list[Field] | None = None

    async def fill(self, limit: int, note: Callable[[bytes], None]) -> WholeBody | None:
        """Read to the end, telling `note` of each piece; None where there is more than `limit`.

        Raises what `read` raises.
        """
        size = 0
        while data := await self._rest.read():
            note(data)
            self._pieces.append(data)
            if len(self._pieces) > _MANY_PIECES:
                self._pieces = deque((b"".join(self._pieces),))
            size += len(data)
            if size > limit:
                return None
        self._ended = True
        self.trailers = self._rest.trailers
        return WholeBody(b"".join(self._pieces), self.trailers)

    async def read(self) -> bytes:
        """See `BodySource.read`."""
        if self._pieces:
            return self._pieces.popleft()
        if self._ended:
            return b""
        data = await self._rest.read()
        if not data:
            self.trailers = self._rest.trailers
        return data

    def read_nowait(self) -> bytes | None:
        """See `BodySource.read_nowait`."""
        if self._pieces:
            return self._pieces.popleft()
        if self._ended:
            return b""
        data = self._rest.read_nowait()
        if data == b"":
            self.trailers = self._rest.trailers
        return data


class Ready:
    """A source of bytes that are all there."""

    __slots__ = ("_data", "trailers")

    def __init__(self, data: bytes, trailers: list[Field] | None) -> None:
        self._data = data
        self.trailers = trailers

    async def read(self) -> bytes:
        """See `BodySource.read`."""
        return self.read_nowait()

    def read_nowait(self) -> bytes:
        """See `BodySource.read_nowait`."""
        data, self._data = self._data, b""
        return data


class Instead:
    """Bytes in the place of another body, which is read over first.

    A client that is answered before it has sent everything may take that for a failure, and one
    that is not read from stops sending.
    """

    __slots__ = ("_data", "_rest", "trailers")

    def __init__(self, rest: BodySource, data: bytes, trailers: list[Field] | None) -> None:
        self._rest: BodySource | None = rest
        self._data = data
        self.trailers = trailers

    async def read(self) -> bytes:
        """See `BodySource.read`."""
        while self._rest is not None:
            if not await self._rest.read():
                self._rest = None
        return self._take()

    def read_nowait(self) -> bytes | None:
        """See `BodySource.read_nowait`."""
        while self._rest is not None:
            data = self._rest.read_nowait()
            if data is None:
                return None
            if not data:
                self._rest = None
        return self._take()

    def _take(self) -> bytes:
        data, self._data = self._data, b""
        return data


class Filtered:
    """A source whose pieces go through a hook."""

    __slots__ = ("_ended", "_filter", "_rest", "trailers")

    def __init__(self, rest: BodySource, body_filter: BodyFilter) -> None:
        self._rest = rest
        self._filter = body_filter
        self._ended = False
        self.trailers: list[Field] | None = None

    async def read(self) -> bytes:
        """See `BodySource.read`."""
        while not self._ended:
            data = await self._rest.read()
            if not data:
                self._ended = True
                self.trailers = self._rest.trailers
            out = await self._filter(data, not data)
            if out:
                return out
        return b""

    def read_nowait(self) -> bytes | None:
        """See `BodySource.read_nowait`: a hook may take its time."""
        return b"" if self._ended else None
