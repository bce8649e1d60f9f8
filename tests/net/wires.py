"""Two ends of a TCP connection: a channel, and a peer that says and sees every byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from proxy_core.net.buffers import Buffers
from proxy_core.net.channel import Channel
from proxy_core.net.clock import Clock

T = TypeVar("T")


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets on loopback; unlike a socket pair's, they can be reset."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


async def send_until_blocked(send: Callable[[bytes], None], blocked: Callable[[], bool]) -> int:
    """Send until there is no more room, and none comes by itself; return how many bytes went."""
    sent = 0
    while True:
        while not blocked():
            send(bytes(65536))
            sent += 65536
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)  # the kernel may still move a little from one end to the other
        if blocked():
            return sent


class Peer:
    """The raw end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.buffer = b""

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def read_some(self) -> bytes:
        """Return what is there, waiting for at least a byte; `b""` at the end."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        return await asyncio.get_running_loop().sock_recv(self.sock, 65536)

    async def read_until(self, mark: bytes) -> bytes:
        """Return everything up to and with `mark`; fails where the connection ends before."""
        data = b""
        while mark not in data:
            more = await self.read_some()
            assert more, f"the connection ended after {data!r}"
            data += more
        end = data.index(mark) + len(mark)
        self.buffer = data[end:] + self.buffer
        return data[:end]

    async def read_head(self) -> bytes:
        return await self.read_until(b"\r\n\r\n")

    async def read_exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await self.read_some()
            assert more, f"the connection ended after {len(data)} bytes"
            data += more
        self.buffer = data[count:] + self.buffer
        return data[:count]

    async def read_to_end(self) -> bytes:
        data = b""
        while more := await self.read_some():
            data += more
        return data

    def end(self) -> None:
        """Send FIN, and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class TlsPeer(Peer):
    """A peer that speaks TLS, with each record and alert sent only when it is told to."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, server_hostname: str | None = None
    ) -> None:
        """Be the client where there is a name to ask for, else the server."""
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )

    async def handshake(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            else:
                await self._flush()
                return

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await super().send(self._outgoing.read())

    async def _fill(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def send(self, data: bytes) -> None:
        self.tls.write(data)
        await self._flush()

    async def read_some(self) -> bytes:
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                await self._fill()
            except ssl.SSLZeroReturnError:
                return b""

    async def say_goodbye(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        await self._flush()


class Wires:
    """Makes connections and runs tasks, and ends both when the test is over."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._channels: list[Channel] = []
        self._sockets: list[socket.socket] = []
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run beside the test; whoever awaits the task sees what it raised."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.append(task)
        return task

    async def turn(self) -> None:
        """Let everything that is ready happen, a few times over."""
        for _ in range(5):
            await asyncio.sleep(0)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        ends = tcp_pair()
        self._sockets += ends
        return ends

    def own(self, sock: socket.socket) -> None:
        """Close a socket with the others."""
        self._sockets.append(sock)

    async def attach(
        self, sock: socket.socket, limit: int = 65536, buffers: Buffers | None = None
    ) -> Channel:
        """Make a channel of a connected socket."""
        loop = asyncio.get_running_loop()
        channel = Channel(loop, self.clock, buffers or Buffers(limit, 64 * limit))
        await loop.create_connection(lambda: channel, sock=sock)
        self._channels.append(channel)
        return channel

    async def open(
        self, limit: int = 65536, buffers: Buffers | None = None
    ) -> tuple[Channel, Peer]:
        near, far = self.pair()
        return await self.attach(near, limit, buffers), Peer(far)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels:
            channel.abort()
        for sock in self._sockets:
            sock.close()
        await asyncio.sleep(0)  # the transports close their sockets on the loop's next turn
