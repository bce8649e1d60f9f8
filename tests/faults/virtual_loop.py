"""A loop whose time can be skipped, and whose names and addresses are the test's."""

from __future__ import annotations

import asyncio
import selectors
import socket
from typing import Any

_NET = "192.0.2."
"""Addresses for documentation (RFC 5737): connections to them go to 127.0.0.1."""
_QUIET = 0.001  # seconds without an event, after which nothing comes by itself


class _Selector(selectors.DefaultSelector):
    """Skips the time for which there would be nothing to do but wait."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if not self.loop.skipping or timeout is None or timeout <= _QUIET:
            return super().select(timeout)
        events = super().select(_QUIET)
        if not events:
            self.loop.skipped += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """Waits for sockets in real time, and for timers, while `skipping`, in none."""

    def __init__(self) -> None:
        self.skipping = False
        self.skipped = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self.names: dict[str, list[str]] = {}
        """The addresses of names, in `_NET`."""
        self.ports: dict[tuple[str, int], int] = {}
        """The real ports behind addresses in `_NET`, where they are others."""

    def time(self) -> float:
        return super().time() + self.skipped

    async def getaddrinfo(self, host: Any, port: Any, **how: Any) -> Any:
        """Know `names`; of all else what the system knows, if it needs no network."""
        if host not in self.names:
            return socket.getaddrinfo(host, port, **how)
        asked: asyncio.Future[None] = self.create_future()
        self.call_soon(_answer, asked)
        await asked
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in self.names[host]
        ]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        host, port = address[:2]
        if str(host).startswith(_NET):
            address = "127.0.0.1", self.ports.get((host, port), port)
        await super().sock_connect(sock, address)


def _answer(asked: asyncio.Future[None]) -> None:
    if not asked.done():
        asked.set_result(None)
