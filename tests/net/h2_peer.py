"""The other end of an HTTP/2 connection, driven by hand."""

from __future__ import annotations

from collections import deque
from typing import TypeVar

import h2.config
import h2.connection
import h2.events
from h2.settings import SettingCodes, Settings

from tests.net.wires import Peer

E = TypeVar("E", bound=h2.events.Event)
Fields = list[tuple[bytes, bytes]]

REQUEST: Fields = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"origin.example"),
    (b":path", b"/"),
]
OK: Fields = [(b":status", b"200")]


class H2Peer:
    """A client or an origin; what it does with `h2` goes out with `flush`."""

    def __init__(self, peer: Peer, *, client_side: bool, **settings: int) -> None:
        """`settings` by their RFC 9113 names in lower case."""
        self.peer = peer
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=client_side,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        values = {SettingCodes[name.upper()]: value for name, value in settings.items()}
        self.h2.local_settings = Settings(client=client_side, initial_values=values)
        self._events: deque[h2.events.Event] = deque()

    async def begin(self) -> None:
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        if data := self.h2.data_to_send():
            await self.peer.send(data)

    async def fill(self) -> bool:
        """Take what arrives; return False at the connection's end."""
        data = await self.peer.read_some()
        if not data:
            return False
        self._events += self.h2.receive_data(data)
        await self.flush()
        return True

    async def next(self, kind: type[E], stream_id: int | None = None) -> E:
        """Return the next event of a kind, and drop those before it."""
        while True:
            while self._events:
                event = self._events.popleft()
                if isinstance(event, kind) and stream_id in (None, getattr(event, "stream_id", 0)):
                    return event
            assert await self.fill(), f"the connection ended without a {kind.__name__}"

    async def next_id(self) -> int:
        """Return the stream of the next request."""
        stream_id = (await self.next(h2.events.RequestReceived)).stream_id
        assert stream_id is not None
        return stream_id

    async def body(self, stream_id: int) -> bytes:
        """Read a body to its end, and let more come while it does."""
        data = b""
        while True:
            event = await self.next(h2.events.Event)
            if getattr(event, "stream_id", None) != stream_id:
                continue
            if isinstance(event, h2.events.DataReceived):
                data += event.data or b""
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
                await self.flush()
            elif isinstance(event, h2.events.StreamEnded):
                return data
            else:
                assert not isinstance(event, h2.events.StreamReset), event

    async def answer(self, stream_id: int, body: bytes = b"", fields: Fields = OK) -> None:
        self.h2.send_headers(stream_id, fields, end_stream=not body)
        if body:
            self.h2.send_data(stream_id, body, end_stream=True)
        await self.flush()
