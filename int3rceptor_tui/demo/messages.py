"""One request and its reply as the demo site sees them, whichever HTTP version carries them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

Fields = Sequence[tuple[bytes, bytes]]

RAW_LIMIT = 256 * 1024
"""Bytes of a connection that a recording keeps."""


@dataclass(slots=True)
class ConnectionRecord:
    """One connection to the origin. `raw` has what came in, decrypted, up to RAW_LIMIT."""

    number: int
    alpn: str | None
    raw: bytearray = field(default_factory=bytearray)
    received: int = 0
    closed: bool = False

    def note(self, data: bytes) -> None:
        """Count and keep bytes that came in."""
        self.received += len(data)
        self.raw += data[: RAW_LIMIT - len(self.raw)]


@dataclass(slots=True)
class RequestRecord:
    """One request exactly as it came in: spelling, order and repetition of fields untouched."""

    version: str
    method: bytes
    target: bytes
    """As on the wire; for HTTP/2 its `:path`."""
    fields: list[tuple[bytes, bytes]]
    """Field lines; for HTTP/2 with the pseudo-header fields."""
    connection: int
    size: int = 0
    sha256: str | None = None
    """Of the body, once it is complete."""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    sent: int = 0
    """Bytes of the answer's body that the transport took."""

    def values(self, name: bytes) -> list[bytes]:
        """Return every value of a field, `name` in lower case."""
        return [value for key, value in self.fields if key.lower() == name]


class Recording:
    """What the origin received, the newest `limit` requests and connections."""

    def __init__(self, limit: int = 10_000) -> None:
        self.requests: deque[RequestRecord] = deque(maxlen=limit)
        self.connections: deque[ConnectionRecord] = deque(maxlen=limit)

    def of(self, path: str) -> list[RequestRecord]:
        """Return the requests for a path, whatever their query."""
        wanted = path.encode()
        return [r for r in self.requests if r.target.partition(b"?")[0] == wanted]


class Request:
    """A request whose body is still to be read, once."""

    def __init__(
        self,
        record: RequestRecord,
        connection: ConnectionRecord,
        body: AsyncIterator[bytes],
    ) -> None:
        self.record = record
        self.connection = connection
        self.method = record.method.decode("latin-1")
        target = urlsplit(record.target.decode("latin-1"))
        self.path = target.path
        self.query = {name: values[-1] for name, values in parse_qs(target.query).items()}
        self._body = body

    def number(self, name: str, default: float) -> float:
        """Return a query parameter that is a number; the default where it is absent or is not."""
        try:
            return float(self.query[name])
        except (KeyError, ValueError):
            return default

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes in; the record has its hash afterwards."""
        digest = hashlib.sha256()
        async for piece in self._body:
            digest.update(piece)
            self.record.size += len(piece)
            yield piece
        self.record.sha256 = digest.hexdigest()

    async def read(self) -> bytes:
        """Return the whole body."""
        return b"".join([piece async for piece in self.pieces()])


class Reply(ABC):
    """The way back: one `head`, any number of `send`, one `finish`; `abort` or `cut` anywhere."""

    @abstractmethod
    async def inform(self, status: int, fields: Fields) -> None:
        """Send an interim response (RFC 9110, section 15.2)."""

    @abstractmethod
    async def head(self, status: int, fields: Fields) -> None:
        """Send the head. A body without content-length is chunked, or framed by HTTP/2."""

    @abstractmethod
    async def send(self, data: bytes) -> None:
        """Send a piece of the body and wait until the transport has room again."""

    @abstractmethod
    async def finish(self, trailers: Fields = ()) -> None:
        """End the body."""

    @abstractmethod
    def abort(self) -> None:
        """Break off: a TCP reset in HTTP/1, RST_STREAM in HTTP/2."""

    @abstractmethod
    def cut(self) -> None:
        """End before the end: the connection closes in HTTP/1, RST_STREAM in HTTP/2."""

    @abstractmethod
    async def until_gone(self) -> None:
        """Wait until the client gives up."""

    async def answer(
        self, status: int, content_type: str, body: bytes, fields: Fields = ()
    ) -> None:
        """Send a whole response with a content-length."""
        own = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await self.head(status, [*own, *fields])
        if body:
            await self.send(body)
        await self.finish()
