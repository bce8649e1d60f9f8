"""The messages of a WebSocket, as they were captured: bounded in bytes, the oldest gone first."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

_CLOSE = 8  # the opcode
_FIXED_WEIGHT = 240  # one message's object, slots, figures and place; measured with sys.getsizeof


class WebSocketMessage:
    """One message, or one control frame (RFC 6455, sections 5.5 and 5.6)."""

    __slots__ = (
        "at",
        "by",
        "compressed",
        "cut",
        "dropped",
        "edited",
        "from_client",
        "injected",
        "opcode",
        "payload",
        "size",
    )

    def __init__(
        self,
        from_client: bool,
        opcode: int,
        at: float,
        payload: bytes = b"",
        size: int = 0,
        compressed: bool = False,
        injected: bool = False,
    ) -> None:
        self.from_client = from_client
        self.opcode = opcode
        """1 text, 2 binary, 8 close, 9 ping, 10 pong."""
        self.at = at
        """When its first bytes came, in seconds since the epoch."""
        self.payload = payload
        """Decompressed: the first bytes of `size`. A hook sees all of them, and may set others."""
        self.size = size
        self.compressed = compressed
        """Whether it was compressed on the wire."""
        self.injected = injected
        """Whether nobody sent it: we did."""
        self.by: tuple[str, ...] = ()
        """Who edited or dropped it, in order: `plugin NAME`, `rule NAME`."""
        self.edited = False
        self.dropped = False
        self.cut = False
        """Whether the connection ended inside it."""

    @property
    def weight(self) -> int:
        """Roughly how many bytes of memory it keeps."""
        return _FIXED_WEIGHT + len(self.payload)


@dataclass(frozen=True, slots=True)
class WebSocketEnd:
    """How a WebSocket ended: what the first close frame said, or 1006 where there was none."""

    by: str
    """`client`, `server` or `proxy`."""
    code: int
    reason: str = ""


class WebSocketLog:
    """What is kept of one WebSocket. Written by the core's loop, readable from any thread."""

    __slots__ = ("_limit", "_messages", "bytes", "count", "end", "forgotten", "held")

    def __init__(self, limit: int) -> None:
        """Keep at most about `limit` bytes, and the newest message in any case."""
        self._limit = limit
        self._messages: deque[WebSocketMessage] = deque()
        self.bytes = 0
        self.count = 0
        """How many messages and control frames there were."""
        self.forgotten = 0
        """How many of them were dropped to keep within the bound."""
        self.end: WebSocketEnd | None = None
        self.held: WebSocketMessage | None = None
        """The message that waits for the user; it is added once that is decided."""

    def add(self, message: WebSocketMessage) -> None:
        """Keep a message that is not going to change; forget the oldest beyond the bound."""
        messages = self._messages
        messages.append(message)
        self.count += 1
        self.bytes += message.weight
        while self.bytes > self._limit and len(messages) > 1:
            self.bytes -= messages.popleft().weight
            self.forgotten += 1

    def rewrite(self, message: WebSocketMessage, payload: bytes) -> None:
        """Keep `payload` of a message in place of what was kept; `size` stays what has passed.

        What `end` has of a close frame's reason follows.
        """
        self.bytes += len(payload) - len(message.payload)
        message.payload = payload
        who = "client" if message.from_client else "server"
        if message.opcode == _CLOSE and self.end is not None and self.end.by == who:
            self.end = replace(self.end, reason=payload[2:].decode("utf-8", "replace"))

    def snapshot(self) -> list[WebSocketMessage]:
        """Every message kept, oldest first. Atomic: `list` of a deque does not yield the GIL."""
        return list(self._messages)
