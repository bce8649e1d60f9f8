"""The pace of a request's body: a client that sends by the byte is not waited for for ever.

A pause is nobody's fault, and has `body_timeout` to itself. But whoever ends every pause with a
byte would never be late: so the time that is waited adds up, and what comes makes up for it. The
time in which we do not read, for the origin is slow or somebody holds the request, is not counted.
"""

from __future__ import annotations

from proxy_core.config import Limits
from proxy_core.errors import RemoteProtocolError


class BodyPace:
    """How one body comes."""

    __slots__ = ("_limits", "_vain")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._vain = 0.0
        """Seconds that were waited and that nothing has made up for."""

    def came(self, size: int) -> None:
        """Take note of `size` bytes: they make up for waits before them, and not for later ones."""
        self._vain = max(0.0, self._vain - size / self._limits.body_least_rate)

    def waited(self, seconds: float) -> None:
        """Take note of a wait; what ended it `came` after that."""
        self._vain += seconds

    def judge(self, *, counted: bool, answered: bool) -> None:
        """Raise RemoteProtocolError (408) where the body has come too slowly for too long.

        It is `counted` where its length is known. Any other may be live, and has longer; where it
        is `answered` already the two may be talking, and take the time they like.
        """
        limits = self._limits
        if not counted and answered:
            self._vain = 0.0
            return
        allowed = limits.body_timeout if counted else limits.live_timeout
        if self._vain > allowed:
            raise RemoteProtocolError(
                f"less than {limits.body_least_rate} bytes a second came, for {allowed:g} s in all",
                408,
            )
