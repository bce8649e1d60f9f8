"""A TCP or TLS listener on loopback that owns all it accepts.

`asyncio.start_server` leaves handshakes under way to the loop, and drops what it accepted in the
very round in which it is closed; here everything has an owner and ends with `close`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"
_BACKLOG = 1024
_CLOSE_TIMEOUT = 2.0
_PAUSE_AFTER_FAILURE = 0.1

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Runs `serve` for each connection; its OSErrors (the peer went away) are nobody's failure."""

    def __init__(self, serve: Serve, context: ssl.SSLContext | None = None) -> None:
        self._serve = serve
        self._context = context
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def open(self) -> int:
        """Listen on a free port and return it."""
        self._socket.bind((HOST, 0))
        self._socket.listen(_BACKLOG)
        self.port = int(self._socket.getsockname()[1])
        self._own(asyncio.get_running_loop().create_task(self._accept()))
        return self.port

    async def close(self) -> None:
        """Stop listening and break off every connection; idempotent."""
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._socket.close()

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            task.get_loop().call_exception_handler(
                {"message": "a connection of the demo failed", "exception": error}
            )

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._socket)
            except OSError:  # out of file descriptors, most likely: it will get better
                await asyncio.sleep(_PAUSE_AFTER_FAILURE)
                continue
            connection = _Connection(accepted)
            task = loop.create_task(connection.run(self._serve, self._context))
            # In a callback, because a task that is cancelled at birth runs no `finally`.
            task.add_done_callback(connection.discard)
            self._own(task)


class _Connection:
    """One accepted connection from its socket to its end."""

    def __init__(self, accepted: socket.socket) -> None:
        self._socket = accepted
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, serve: Serve, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, self._socket, ssl=context
            )
            self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            await serve(reader, self._writer)
            self._writer.close()
            async with asyncio.timeout(_CLOSE_TIMEOUT):  # TLS waits for the peer's goodbye
                await self._writer.wait_closed()
        except OSError:  # ConnectionError, ssl.SSLError and TimeoutError are OSErrors
            pass

    def discard(self, _task: asyncio.Task[None]) -> None:
        if self._writer is None:
            self._socket.close()
        else:
            with contextlib.suppress(AttributeError):  # closed twice, TLS has nothing to abort
                self._writer.transport.abort()
