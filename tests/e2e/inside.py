"""A whole core inside the test's process, whose clients and origins are raw sockets.

What reaches an origin is recorded byte for byte, and the flows can be looked at.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

from proxy_core.config import Limits, ModeSpec, RegularMode, ReverseMode, Settings
from proxy_core.control.views import FlowDetail
from proxy_core.core import Core
from proxy_core.model.flow import FlowState
from tests.net.wires import Peer
from tests.waiting import until


class RawOrigin:
    """Listens on loopback; what it is told, and when, is up to the test."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self.port: int = self._server.getsockname()[1]
        self.name = f"127.0.0.1:{self.port}".encode()
        self._accepted: list[socket.socket] = []

    async def accept(self) -> Peer:
        """Wait for the next connection."""
        sock, _ = await asyncio.get_running_loop().sock_accept(self._server)
        self._accepted.append(sock)
        return Peer(sock)

    def accept_nowait(self) -> Peer | None:
        """Return a connection that has been made already."""
        try:
            sock, _ = self._server.accept()
        except BlockingIOError:
            return None
        self._accepted.append(sock)
        return Peer(sock)

    def stop_listening(self) -> None:
        self._server.close()

    def close(self) -> None:
        self._server.close()
        for sock in self._accepted:
            sock.close()


class Inside:
    """A core with a regular listener and one that takes everything to `origin`."""

    def __init__(self, directory: Path, limits: Limits, **settings: object) -> None:
        self.origin = RawOrigin()
        reverse = ReverseMode("http", "127.0.0.1", self.origin.port)
        base = Settings(
            listen_port=0,
            mode=(ModeSpec(RegularMode()), ModeSpec(reverse, "127.0.0.1", 0)),
            data_dir=directory,
            limits=limits,
            keep_host=True,
        )
        self.core = Core(replace(base, **settings))  # type: ignore[arg-type]
        self._sockets: list[socket.socket] = []

    async def open(self) -> None:
        await self.core.start()
        self.port, self.reverse_port = (
            int(where.rpartition(":")[2]) for where in self.core.listening
        )

    def client(self, *, reverse: bool = False) -> Peer:
        """Connect to the proxy; with `reverse` to the listener that leads to the origin."""
        port = self.reverse_port if reverse else self.port
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets.append(sock)
        return Peer(sock)

    async def answer(self, client: Peer) -> tuple[bytes, bytes]:
        """Read a final head and the body that its Content-Length announces."""
        head = await client.read_head()
        lengths = [
            line.partition(b":")[2]
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ]
        return head, await client.read_exactly(int(lengths[0])) if lengths else b""

    async def still_serves(self) -> None:
        """Send a request on connections of its own, and see it answered."""
        client = self.client()
        name = self.origin.name
        await client.send(b"GET http://%b/next HTTP/1.1\r\nHost: %b\r\n\r\n" % (name, name))
        origin = await self.origin.accept()
        assert await origin.read_head() == b"GET /next HTTP/1.1\r\nHost: %b\r\n\r\n" % name
        await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert (await self.answer(client))[1] == b"ok"
        client.close()
        origin.close()

    async def flow(self, number: int = -1) -> FlowDetail:
        """Return a flow, by default the newest, once it is over."""
        control = self.core.control()
        summaries = await control.flows()
        detail = await control.flow(summaries[number].id)
        assert detail is not None
        over = (FlowState.DONE, FlowState.FAILED)
        while detail.summary.state not in over:
            await asyncio.sleep(0.005)
            again = await control.flow(detail.summary.id)
            assert again is not None
            detail = again
        return detail

    async def failure(self) -> str:
        """Return why the newest flow failed."""
        await until(lambda: self.core.counters.active == 0)
        return (await self.flow()).summary.error or ""

    async def close(self) -> None:
        for sock in self._sockets:
            sock.close()
        self.origin.close()
        await self.core.stop()
        await asyncio.sleep(0)
