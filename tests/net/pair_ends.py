"""A client and an origin that look alike in HTTP/1, read by h11, and in HTTP/2, read by h2."""

from __future__ import annotations

from typing import Protocol, TypeVar

import h2.events
import h11
from h2.errors import ErrorCodes

from tests.net.h2_peer import Fields, H2Peer
from tests.net.house import House
from tests.net.wires import Peer

URL = "https://origin.example/x"
E = TypeVar("E")


class BrokenOff(Exception):
    """The message was cut: by RST_STREAM, whose code it has, or by the connection's end."""


class End(Protocol):
    """One end of an exchange."""

    async def ask(self, method: bytes, *fields: tuple[bytes, bytes], bare: bool = False) -> None:
        """Send a request's head; `bare` where no body follows."""

    async def answer(self, status: int, *fields: tuple[bytes, bytes]) -> None:
        """Send a response's head, maybe an informational one."""

    async def send(self, data: bytes) -> None:
        """Send a piece of body."""

    async def end(self, trailers: Fields | None = None) -> None:
        """Send the message's end."""

    async def break_off(self) -> None:
        """Reset the stream, or the connection."""

    async def head(self) -> tuple[int, Fields]:
        """Read the next head: its status, 0 for a request, and its fields in lower case."""

    async def some(self) -> bytes:
        """Read a piece of body."""

    async def rest(self) -> tuple[bytes, Fields]:
        """Read the body to its end, and the trailers. Raises BrokenOff."""


class Http1End:
    """Implements `End`."""

    def __init__(self, peer: Peer, client: bool, target: str = URL) -> None:
        self.peer = peer
        self._target = target
        self.h11 = h11.Connection(h11.CLIENT if client else h11.SERVER)

    async def _put(self, event: h11.Event) -> None:
        if data := self.h11.send(event):
            await self.peer.send(data)

    async def ask(self, method: bytes, *fields: tuple[bytes, bytes], bare: bool = False) -> None:
        head = [(b"Host", b"origin.example"), (b"TE", b"trailers"), (b"Connection", b"TE"), *fields]
        if not bare:
            head.append((b"Transfer-Encoding", b"chunked"))
        await self._put(h11.Request(method=method, target=self._target, headers=head))
        if bare:
            await self.end()

    async def answer(self, status: int, *fields: tuple[bytes, bytes]) -> None:
        if status < 200:
            await self._put(h11.InformationalResponse(status_code=status, headers=list(fields)))
        else:
            await self._put(h11.Response(status_code=status, headers=list(fields)))

    async def send(self, data: bytes) -> None:
        await self._put(h11.Data(data))

    async def end(self, trailers: Fields | None = None) -> None:
        await self._put(h11.EndOfMessage(headers=trailers or []))

    async def break_off(self) -> None:
        self.peer.reset()

    async def _get(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            try:
                event = self.h11.next_event()
            except h11.RemoteProtocolError as error:
                raise BrokenOff from error
            if event is not h11.NEED_DATA:
                assert not isinstance(event, type) or event is h11.PAUSED
                return event
            try:
                self.h11.receive_data(await self.peer.read_some())
            except ConnectionResetError as error:
                raise BrokenOff from error

    async def head(self) -> tuple[int, Fields]:
        event = await self._get()
        if isinstance(event, h11.Request):
            return 0, list(event.headers)
        assert isinstance(event, h11.InformationalResponse | h11.Response), event
        return event.status_code, list(event.headers)

    async def some(self) -> bytes:
        event = await self._get()
        assert isinstance(event, h11.Data), event
        return bytes(event.data)

    async def rest(self) -> tuple[bytes, Fields]:
        body = b""
        while isinstance(event := await self._get(), h11.Data):
            body += bytes(event.data)
        if isinstance(event, h11.ConnectionClosed):
            raise BrokenOff
        assert isinstance(event, h11.EndOfMessage), event
        return body, list(event.headers)


class Http2End:
    """Implements `End`, on one stream after the other."""

    def __init__(self, peer: H2Peer, client: bool) -> None:
        self.peer = peer
        self._client = client
        self.id = -1

    async def ask(self, method: bytes, *fields: tuple[bytes, bytes], bare: bool = False) -> None:
        head = [
            (b":method", method),
            (b":scheme", b"https"),
            (b":authority", b"origin.example"),
            (b":path", b"/x"),
            (b"te", b"trailers"),
            *fields,
        ]
        self.id += 2
        self.peer.h2.send_headers(self.id, head, end_stream=bare)
        await self.peer.flush()

    async def answer(self, status: int, *fields: tuple[bytes, bytes]) -> None:
        self.peer.h2.send_headers(self.id, [(b":status", b"%d" % status), *fields])
        await self.peer.flush()

    async def send(self, data: bytes) -> None:
        self.peer.h2.send_data(self.id, data)
        await self.peer.flush()

    async def end(self, trailers: Fields | None = None) -> None:
        if trailers:
            self.peer.h2.send_headers(self.id, trailers, end_stream=True)
        else:
            self.peer.h2.end_stream(self.id)
        await self.peer.flush()

    async def break_off(self) -> None:
        self.peer.h2.reset_stream(self.id, ErrorCodes.CANCEL)
        await self.peer.flush()

    async def head(self) -> tuple[int, Fields]:
        if not self._client:
            request = await self.peer.next(h2.events.RequestReceived)
            assert request.stream_id is not None
            self.id = request.stream_id
            return 0, list(request.headers or [])
        while True:
            event = await self._get()
            if isinstance(
                event, h2.events.InformationalResponseReceived | h2.events.ResponseReceived
            ):
                fields = dict(event.headers or [])
                return int(fields[b":status"]), list(event.headers or [])

    async def _get(self) -> h2.events.Event:
        event = await self.peer.next(h2.events.Event)
        if isinstance(event, h2.events.StreamReset) and event.stream_id == self.id:
            raise BrokenOff(ErrorCodes(event.error_code or 0).name)
        return event

    async def some(self) -> bytes:
        event = await self.peer.next(h2.events.DataReceived, self.id)
        return event.data or b""

    async def rest(self) -> tuple[bytes, Fields]:
        body, trailers = b"", []
        while not isinstance(event := await self._get(), h2.events.StreamEnded):
            if isinstance(event, h2.events.DataReceived):
                body += event.data or b""
            elif isinstance(event, h2.events.TrailersReceived):
                trailers = list(event.headers or [])
        return body, trailers


async def client_of(house: House, version: str) -> Http1End | Http2End:
    """Connect a client."""
    if version == "h1":
        return Http1End(house.client(), client=True)
    peer = H2Peer(house.client(), client_side=True)
    await peer.begin()
    return Http2End(peer, client=True)


async def origin_of(house: House, version: str, number: int = 0) -> Http1End | Http2End:
    """Wait for the connection with that number to an origin, and be the origin."""
    raw = await house.origin(number)
    if version == "h1":
        return Http1End(raw, client=False)
    peer = H2Peer(raw, client_side=False)
    await peer.begin()
    return Http2End(peer, client=False)
