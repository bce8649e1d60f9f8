"""A connection in memory: what `ByteStream` promises, and a peer that a test plays."""

from __future__ import annotations

import asyncio

from proxy_core.errors import ConnectionLost


class Pipe:
    """Implements `ByteStream`; the test's side is `say`, `hang_up`, `heard`, `break_off`."""

    def __init__(self) -> None:
        self._incoming: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.sent = b""
        """All that was written to the peer."""
        self.writes: list[bytes] = []
        self.eof_written = False
        self.closed = False
        self.aborted = False
        self.drains = 0

    # --- the peer

    def say(self, data: bytes) -> None:
        self._incoming.put_nowait(data)

    def hang_up(self) -> None:
        self._incoming.put_nowait(b"")

    def break_off(self) -> None:
        self._incoming.put_nowait(ConnectionLost("the connection was reset"))

    def stop_reading(self) -> None:
        self._room.clear()

    def read_on(self) -> None:
        self._room.set()

    async def heard(self, data: bytes) -> None:
        """Wait until exactly this was written; what differs fails at once."""
        while len(self.sent) < len(data):
            assert data.startswith(self.sent), (self.sent, data)
            await self.change()
        assert self.sent == data

    async def change(self) -> None:
        """Wait until something is written or ended."""
        self._changed.clear()
        await self._changed.wait()

    async def ended(self) -> None:
        while not self.eof_written:
            await self.change()

    @property
    def waiting(self) -> int:
        """How many of the peer's words nobody has received."""
        return self._incoming.qsize()

    # --- ByteStream

    async def receive(self) -> bytes:
        item = await self._incoming.get()
        if isinstance(item, Exception):
            raise item
        return item

    def unread(self, data: bytes) -> None:
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        assert not self.eof_written, "written behind the end"
        assert data
        self.sent += data
        self.writes.append(data)
        self._changed.set()

    @property
    def write_blocked(self) -> bool:
        return not self._room.is_set()

    async def drain(self) -> None:
        self.drains += 1
        await self._room.wait()

    def write_eof(self) -> None:
        self.eof_written = True
        self._changed.set()

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True
        self.break_off()
