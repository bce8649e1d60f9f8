"""How much nuisance one HTTP/2 peer may be: a leaky bucket of what is cheap to send.

Almost every attack on HTTP/2 is a frame that costs its sender nothing and us something: pings,
settings, empty frames, resets, windows of one byte. Each pours points into one bucket; time lets
them leak, and useful progress (answers finished, bytes that moved) takes them out. A bucket that
runs over ends the connection with ENHANCE_YOUR_CALM (RFC 9113, section 10.5).
"""

from __future__ import annotations

from collections.abc import Callable

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE = 0, 1, 2, 3, 4, 5
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 6, 7, 8, 9

_NAMES = (
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
)
_COSTS = {
    PRIORITY: 5,
    RST_STREAM: 10,
    SETTINGS: 20,
    PING: 10,
    WINDOW_UPDATE: 1,
    CONTINUATION: 5,
    GOAWAY: 20,
}
_UNKNOWN = 5
_EMPTY = 20
_SHRED = 50
_TINY = 10
TINY_BYTES = 4
"""gRPC's smallest message has five bytes, WebSocket's smallest six."""
_SMALL_BLOCK = 64
_OUR_RESET = 20
_UNREAD = 20
_FINISHED = 20
_PIECE = 10
"""Some clients ping for each piece of an answer, to measure the way (gRPC)."""
_BYTES_A_POINT = 256
_SWELL_A_POINT = 512
_FAIR_SWELL = 16


class OverBudget(Exception):
    """The bucket ran over; the message says what was in it, for people."""


class Http2Budget:
    """One connection's bucket. `capacity` in points, `leak` in points a second, `now` in seconds.

    Every method that pours raises OverBudget where the bucket runs over.
    """

    __slots__ = ("_at", "_capacity", "_leak", "_level", "_now", "_poured")

    def __init__(self, capacity: int, leak: int, now: Callable[[], float]) -> None:
        self._capacity = capacity
        self._leak = leak
        self._now = now
        self._at = now()
        self._level = 0.0
        self._poured: dict[str, float] = {}

    @property
    def level(self) -> float:
        """The points in the bucket, as of the last time something was poured in."""
        return self._level

    @property
    def empty(self) -> bool:
        """Whether all has leaked by now."""
        return self._level <= (self._now() - self._at) * self._leak

    def frame(self, kind: int, size: int, last: bool) -> None:
        """Count a frame that came; `size` is its content without padding, in bytes.

        `last` tells that it ends its stream. Heads cost nothing here: how many there may be at a
        time is agreed, and what else is wrong with them counts by itself.
        """
        if kind == HEADERS:
            return
        if kind == DATA:
            if size > TINY_BYTES:
                self._take(size / _BYTES_A_POINT)
            elif last:
                return
            elif size:
                self._pour(_TINY, "tiny DATA frames")
            else:
                self._pour(_EMPTY, "empty DATA frames")
        elif kind == CONTINUATION and size < _SMALL_BLOCK:
            self._pour(_SHRED, "tiny CONTINUATION frames")
        elif kind < len(_NAMES):
            self._pour(_COSTS.get(kind, _UNKNOWN), f"{_NAMES[kind]} frames")
        else:
            self._pour(_UNKNOWN, "frames of unknown types")

    def fields(self, packed: int, unpacked: int) -> None:
        """Count a header block: bytes on the wire, and bytes of the list it swells to."""
        swell = unpacked - packed * _FAIR_SWELL
        if swell > 0:
            self._pour(swell / _SWELL_A_POINT, "header blocks that swell")

    def our_reset(self) -> None:
        """Count a stream that the peer made us reset (CVE-2025-8671)."""
        self._pour(_OUR_RESET, "requests that had to be reset")

    def unread(self) -> None:
        """Count a request of a peer that does not read what it asked for before."""
        self._pour(_UNREAD, "requests without reading the answers")

    def sent(self, size: int, whole: bool) -> None:
        """Take out what a DATA frame that went is worth; not `whole` where the window cut it."""
        self._take(size / _BYTES_A_POINT + (_PIECE if whole and size > TINY_BYTES else 0))

    def finished(self) -> None:
        """Take out what an exchange that came to its end is worth."""
        self._take(_FINISHED)

    def _take(self, points: float) -> None:
        self._level = max(0.0, self._level - points)

    def _pour(self, points: float, what: str) -> None:
        now = self._now()
        level = self._level
        if now > self._at:
            level = max(0.0, level - (now - self._at) * self._leak)
            self._at = now
            if not level:
                self._poured.clear()
        self._poured[what] = self._poured.get(what, 0.0) + points
        self._level = level = level + points
        if level > self._capacity:
            most = max(self._poured, key=lambda name: self._poured[name])
            raise OverBudget(f"too many {most}: more than {self._capacity} points of nuisance")
