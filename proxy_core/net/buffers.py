"""What bytes on their way may take of memory, of one body and of all together.

Each body has room enough for a fast way, which a few hundred that stand still at once would make a
lot of memory of. So what all connections keep is counted, and while it is too much everybody is
read in small bites: nobody is refused, and what moves goes on moving.
"""

from __future__ import annotations

from typing import Final

from proxy_core.config import Limits

_BITE: Final = 8 * 1024
_MOUTHFUL: Final = 256 * 1024


class Buffers:
    """The count of one core, in bytes, and the room that sockets are read into.

    `held` is what has come and was not taken, or was to go and has not gone.
    """

    __slots__ = ("bite", "each", "held", "mouthful", "together")

    def __init__(self, each: int, together: int) -> None:
        """Keep about `each` bytes of a body at most, and `together` of all before it is tight."""
        self.each = each
        self.together = together
        self.held = 0
        # One room for all: it is empty again before anybody else is read.
        self.mouthful = memoryview(bytearray(_MOUTHFUL))
        self.bite = self.mouthful[:_BITE]

    @classmethod
    def within(cls, limits: Limits) -> Buffers:
        """Return those that `limits` allow."""
        return cls(limits.stream_buffer, limits.stream_buffers)

    @property
    def tight(self) -> bool:
        """Whether all together keep too much."""
        return self.held > self.together
