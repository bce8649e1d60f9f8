"""What an exchange meets, in memory: what comes is scripted, what goes is written down.

Whatever a fake sends is noted in its `sent` as ("head", ...), ("data", ...), ("end", ...).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence

from proxy_core.errors import UpstreamError
from proxy_core.exchange.ports import Route
from proxy_core.model.connection import ClientConnection, ServerConnection
from proxy_core.model.headers import Field, Headers
from proxy_core.model.ids import ConnectionId
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.wire.events import BodyLength, RequestReceived, ResponseReceived

ROUTE = Route("http", "origin", 80)
CLIENT = ConnectionId(1)


class Clock:
    """Stands in for the module `time`; every look at it lets `step` seconds pass."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.step = 1.0

    def time(self) -> float:
        self.now += self.step
        return self.now


class Side:
    """What both ends of an exchange share: a body that comes, and a peer that may stop reading.

    A body is pieces, `b""` for its end, or an exception to raise.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, object]] = []
        self.trailers: list[Field] | None = None
        self.coming_trailers: list[Field] | None = None
        self.reads = 0
        """Pieces of the body that were taken."""
        self.blocked_after: int | None = None
        """After how many pieces sent the peer stops reading; None for never."""
        self.drain_error: Exception | None = None
        self.drains = 0
        self._coming: deque[bytes | Exception] = deque()
        self._more = asyncio.Event()
        self._reading = asyncio.Event()
        self._pieces = 0

    # --- the test's end

    def body(self, *pieces: bytes | Exception) -> None:
        """Let more of the body come."""
        self._coming.extend(pieces)
        self._more.set()

    def unblock(self, error: Exception | None = None) -> None:
        """Let the peer read again, or fail at it."""
        self.blocked_after = None
        self.drain_error = error
        self._reading.set()

    @property
    def data(self) -> bytes:
        """The body that was sent."""
        pieces = (what for kind, what in self.sent if kind == "data")
        return b"".join(piece for piece in pieces if isinstance(piece, bytes))

    @property
    def kinds(self) -> list[str]:
        """What was sent, in a word each, and one for all pieces of a body."""
        return [kind for kind, _ in itertools.groupby(kind for kind, _ in self.sent)]

    # --- the exchange's end

    def read_nowait(self) -> bytes | None:
        if not self._coming:
            return None
        piece = self._coming.popleft()
        if isinstance(piece, Exception):
            self._coming.appendleft(piece)
            return None
        self.reads += 1
        if not piece:
            self.trailers = self.coming_trailers
        return piece

    async def read(self) -> bytes:
        while (piece := self.read_nowait()) is None:
            if self._coming and isinstance(error := self._coming[0], Exception):
                raise error
            self._more.clear()
            await self._more.wait()
        return piece

    @property
    def blocked(self) -> bool:
        if self.drain_error is not None:
            return True
        return self.blocked_after is not None and self._pieces >= self.blocked_after

    def send_data(self, data: bytes) -> None:
        assert data, "a piece is never empty"
        self._pieces += 1
        self.sent.append(("data", data))

    async def drain(self) -> None:
        self.drains += 1
        while self.blocked_after is not None:
            self._reading.clear()
            await self._reading.wait()
        if self.drain_error is not None:
            raise self.drain_error

    def send_end(self, trailers: list[Field] | None) -> None:
        self.sent.append(("end", trailers))


class FakeClient(Side):
    """A `ClientStream`."""

    def __init__(self, pipe: Pipe | None = None) -> None:
        super().__init__()
        self.client = ClientConnection(CLIENT, ("127.0.0.1", 9), ("127.0.0.1", 80), "regular", 0.0)
        self.head_sent = False
        self.aborted: str | None = None
        self.routed: RequestHead | None = None
        self.pipe = pipe or Pipe()

    def route(self, head: RequestHead) -> Route:
        self.routed = head
        return ROUTE

    def send_informational(self, head: ResponseHead) -> None:
        assert not self.head_sent
        self.sent.append(("informational", head.status))

    def send_head(self, head: ResponseHead, length: BodyLength, clean: bytes | None = None) -> None:
        assert not self.head_sent
        self.head_sent = True
        self.head, self.length, self.clean = head, length, clean
        self.sent.append(("head", head.status))

    def abort(self, reason: str, reset_code: int | None = None) -> None:
        assert self.aborted is None
        self.aborted = reason

    def become_bytes(self) -> Pipe:
        return self.pipe


class FakeUpstream(Side):
    """An `UpstreamStream` that answers as `answer` told it, heads first."""

    def __init__(self, *heads: ResponseReceived | Exception, reused: bool = False) -> None:
        super().__init__()
        self.server = ServerConnection(ConnectionId(2), "origin", 80)
        self.reused = reused
        self.oddity: str | None = None
        self.ends: list[str] = []
        self.pipe = Pipe()
        self._heads: deque[ResponseReceived | Exception] = deque(heads)
        self._head_there = asyncio.Event()

    def answer(self, *heads: ResponseReceived | Exception) -> None:
        """Let heads come."""
        self._heads.extend(heads)
        self._head_there.set()

    def send_head(
        self,
        head: RequestHead,
        length: BodyLength,
        clean: bytes | None = None,
        upgrade: bytes | None = None,
    ) -> None:
        self.head, self.length, self.clean, self.upgrade = head, length, clean, upgrade
        self.sent.append(("head", head.method))

    async def read_head(self) -> ResponseReceived:
        while not self._heads:
            if "abort" in self.ends:
                raise UpstreamError("the exchange was given up")
            self._head_there.clear()
            await self._head_there.wait()
        head = self._heads.popleft()
        if isinstance(head, Exception):
            raise head
        return head

    def release(self) -> str | None:
        assert not self.ends
        self.ends.append("release")
        return self.oddity

    def abort(self) -> None:
        """What came and was not read is lost with it, as on a stream that is reset."""
        assert "release" not in self.ends
        self.ends.append("abort")
        self._coming.clear()
        self.body(UpstreamError("the exchange was given up"))
        self._head_there.set()

    def become_bytes(self) -> Pipe:
        self.ends.append("bytes")
        return self.pipe


class FakeUpstreams:
    """`Upstreams`: hands out what it was given, in turn; an exception is raised instead."""

    def __init__(self) -> None:
        self.kept: list[FakeUpstream] = []
        self.new: list[FakeUpstream | Exception] = []
        self.pipes: list[Pipe | Exception] = []
        self.asked: list[tuple[str, Route]] = []
        self.given: list[FakeUpstream] = []

    def acquire(self, route: Route) -> FakeUpstream | None:
        if not self.kept:
            return None
        self.asked.append(("kept", route))
        self.given.append(self.kept.pop(0))
        return self.given[-1]

    async def open(self, route: Route, fresh: bool = False) -> FakeUpstream:
        self.asked.append(("fresh" if fresh else "new", route))
        await asyncio.sleep(0)
        upstream = self.new.pop(0)
        if isinstance(upstream, Exception):
            raise upstream
        self.given.append(upstream)
        return upstream

    async def connect(self, route: Route) -> tuple[ServerConnection, Pipe]:
        self.asked.append(("bytes", route))
        await asyncio.sleep(0)
        pipe = self.pipes.pop(0)
        if isinstance(pipe, Exception):
            raise pipe
        return ServerConnection(ConnectionId(3), route.host, route.port), pipe


class Pipe:
    """A `ByteStream`: `pieces` come, then the end, unless an exception is among them."""

    write_blocked = False

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._coming = deque(pieces)
        self.written = b""
        self.ends: list[str] = []

    async def receive(self) -> bytes:
        await asyncio.sleep(0)
        piece = self._coming.popleft() if self._coming else b""
        if isinstance(piece, Exception):
            raise piece
        return piece

    def unread(self, data: bytes) -> None:
        self._coming.appendleft(data)

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        raise AssertionError("a pipe is never blocked")

    def write_eof(self) -> None:
        self.ends.append("eof")

    def close(self) -> None:
        self.ends.append("close")

    def abort(self) -> None:
        self.ends.append("abort")


def asked(
    method: bytes = b"GET",
    length: BodyLength = 0,
    upgrade: bytes | None = None,
    clean: bytes | None = None,
    fields: Sequence[Field] = (),
) -> RequestReceived:
    """Return a request's head."""
    head = RequestHead(method, "http", b"origin", b"/", Headers([(b"Host", b"origin"), *fields]))
    return RequestReceived(head, length, upgrade=upgrade, clean=clean)


def answered(
    status: int = 200,
    length: BodyLength = 0,
    upgrade: bytes | None = None,
    clean: bytes | None = None,
    fields: Sequence[Field] = (),
) -> ResponseReceived:
    """Return a response's head."""
    head = ResponseHead(status, b"", Headers(fields))
    informational = status < 200 and status != 101
    return ResponseReceived(head, length, upgrade=upgrade, informational=informational, clean=clean)
