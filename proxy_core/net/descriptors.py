"""How many file descriptors are left, and for whom.

A new descriptor gets the lowest number that is free (POSIX), so the number of the newest socket
says how full the table is: nothing needs to be counted. Clients leave the last ones to the
connections that serve them, and those the very last ones to files and names.
"""

from __future__ import annotations

import errno
import os
import resource

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_FOR_SERVERS = 256
_FOR_FILES = 32


class Descriptors:
    """The process's table of descriptors; `limit` is how many it may have."""

    def __init__(self, limit: int | None = None) -> None:
        if limit is None:
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            limit = soft if soft != resource.RLIM_INFINITY else 1 << 30
        self.limit = limit
        for_files = min(limit // 8, _FOR_FILES)
        self._servers_below = limit - for_files
        self._clients_below = self._servers_below - min(limit // 4, _FOR_SERVERS)

    def admit_client(self, number: int) -> bool:
        """Whether there is room for a client whose socket has this number."""
        return number < self._clients_below

    def admit_server(self, number: int) -> bool:
        """Whether there is room for a connection to an origin whose socket has this number."""
        return number < self._servers_below

    @property
    def batch(self) -> int:
        """How many may be accepted before they are looked at, with as many left for others."""
        return max(1, (self.limit - self._clients_below) // 2)

    @property
    def refusal(self) -> str:
        """Why somebody is refused, and what helps."""
        return (
            f"out of file descriptors ({self.limit} are allowed); raise the limit (ulimit -n)"
            " or close connections"
        )

    def exhausted(self) -> bool:
        """Try whether not even one is left."""
        try:
            os.close(os.dup(0))
        except OSError as error:
            return error.errno in EXHAUSTED
        return False
