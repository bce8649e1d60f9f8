"""Sources of a body that stand in front of another one, so that whoever sends it does not know."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from proxy_core.exchange.hooks import BodyFilter, TrailersToo
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
    """A source whose pieces go through a hook, behind a `first` that came through it already."""

    __slots__ = ("_ended", "_filter", "_first", "_rest", "trailers")

    def __init__(
        self,
        rest: BodySource,
        body_filter: BodyFilter,
        first: bytes = b"",
        ended: bool = False,
        trailers: list[Field] | None = None,
    ) -> None:
        self._rest = rest
        self._filter = body_filter
        self._first = first
        self._ended = ended
        self.trailers = trailers

    async def read(self) -> bytes:
        """See `BodySource.read`."""
        if self._first:
            return self._take_first()
        while not self._ended:
            data = await self._rest.read()
            if not data:
                self._ended = True
                self.trailers = self._rest.trailers
            out = await self._show(data, not data)
            if out:
                return out
        return b""

    async def _show(self, data: bytes, ended: bool) -> bytes:
        shown = self._filter
        if not ended or not isinstance(shown, TrailersToo):
            return await shown(data, ended)
        shown.trailers = self.trailers
        out = await shown(data, ended)
        self.trailers = shown.trailers
        return out

    def read_nowait(self) -> bytes | None:
        """See `BodySource.read_nowait`: a hook may take its time."""
        if self._first:
            return self._take_first()
        return b"" if self._ended else None

    def _take_first(self) -> bytes:
        first, self._first = self._first, b""
        return first


class Invited:
    """A body whose sender waits to be asked for it (RFC 9110, section 10.1.1)."""

    __slots__ = ("_invite", "_rest", "trailers")

    def __init__(self, rest: BodySource, invite: Callable[[], None]) -> None:
        """`invite` asks for it; it is called once, when somebody first reads."""
        self._rest = rest
        self._invite: Callable[[], None] | None = invite
        self.trailers: list[Field] | None = None

    async def read(self) -> bytes:
        """See `BodySource.read`."""
        data = self.read_nowait()
        if data is None:
            data = await self._rest.read()
            self._look(data)
        return data

    def read_nowait(self) -> bytes | None:
        """See `BodySource.read_nowait`."""
        if self._invite is not None:
            self._invite()
            self._invite = None
        data = self._rest.read_nowait()
        self._look(data)
        return data

    def _look(self, data: bytes | None) -> None:
        if data == b"":
            self.trailers = self._rest.trailers


class Resumable:
    """A source that can be waited for no longer than until something else happens."""

    __slots__ = ("_reading", "_rest", "trailers")

    def __init__(self, rest: BodySource) -> None:
        self._rest = rest
        self._reading: asyncio.Task[bytes] | None = None
        self.trailers: list[Field] | None = None

    async def next(self, woken: Coroutine[Any, Any, object]) -> bytes | None:
        """Return what `read` would, or None where `woken` is through before it."""
        data = self.read_nowait()
        if data is not None:
            woken.close()
            return data
        loop = asyncio.get_running_loop()
        if self._reading is None:
            # Cut off in the middle, a hook on the way would lose the piece.
            self._reading = loop.create_task(self._rest.read())
            self._reading.add_done_callback(_know_how_it_ended)
        waking = loop.create_task(woken)
        try:
            await asyncio.wait((self._reading, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
        return await self.read() if self._reading.done() else None

    async def read(self) -> bytes:
        """See `BodySource.read`."""
        if self._reading is None:
            data = await self._rest.read()
        else:
            data = await self._reading
            self._reading = None
        self.trailers = self._rest.trailers
        return data

    def read_nowait(self) -> bytes | None:
        """See `BodySource.read_nowait`."""
        if self._reading is not None:
            return None
        data = self._rest.read_nowait()
        self.trailers = self._rest.trailers
        return data

    def close(self) -> None:
        """Wait no longer."""
        if self._reading is not None:
            self._reading.cancel()


def _know_how_it_ended(reading: asyncio.Task[bytes]) -> None:
    """Keep asyncio from complaining of a failure that nobody was there to see."""
    if not reading.cancelled():
        reading.exception()


class ReadAhead:
    """Implements `OpenBody`; `source` is what is left of the body, and how it comes."""

    __slots__ = ("_resumable", "seen_by", "source")

    def __init__(self, source: BodySource) -> None:
        self.source = source
        self.seen_by: list[str] = []
        self._resumable: list[Resumable] = []

    async def next(self, woken: Coroutine[Any, Any, object]) -> bytes | None:
        """See `OpenBody.next`."""
        source = self.source
        if not isinstance(source, Resumable):
            source = self.source = Resumable(source)
            self._resumable.append(source)
        return await source.next(woken)

    @property
    def trailers(self) -> list[Field] | None:
        """See `OpenBody.trailers`."""
        return self.source.trailers

    def pass_through(
        self,
        by: str,
        body_filter: BodyFilter,
        first: bytes = b"",
        ended: bool = False,
        trailers: list[Field] | None = None,
    ) -> None:
        """See `OpenBody.pass_through`."""
        self.source = Filtered(self.source, body_filter, first, ended, trailers)
        self.seen_by.append(by)

    def close(self) -> None:
        """The exchange is over; nothing is waited for any more."""
        for source in self._resumable:
            source.close()
