"""The traffic of a soak: an origin, and requests at a fixed rate that are checked to the last byte.

Requests go out when they are due, whatever became of those before, over keep-alive connections:
of ten, six in clear text, two over HTTP/1.1 in TLS and two over HTTP/2.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from int3rceptor_tui.demo.certificate import OriginCertificate
from int3rceptor_tui.demo.client import FAILURES, Answer, Http1Session, Http2Session, ProxyClient
from int3rceptor_tui.demo.messages import Fields

BODY = b"x" * 1024
MOCKED = b'{"mock": true}'
MOCKED_EVERY = 19
ADDED = b"x-plugin-modified"
"""What header-modifier adds to every message."""
TOKEN = b"Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzb2FrIiwiZXhwIjo5OTk5OTk5OTk5fQ.c2lnbmF0dXJl"
FIELDS: Fields = ((b"user-agent", b"soak"), (b"accept", b"*/*"), (b"authorization", TOKEN))
PATIENCE = 60.0
"""Seconds a request may take. It is the machine that may stall, and is shared."""
KINDS = ("clear", "clear", "clear", "h1", "h2") * 2
WORKERS = {"clear": (16, 1), "h1": (8, 1), "h2": (2, 8)}
"""Connections, and requests at a time on each."""


class Origin(asyncio.Protocol):
    """Answers every request on a connection with BODY, one of ours with a complaint."""

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end].lower(), self._buffer[end + 4 :]
            status = b"200 OK" if ADDED + b":" in head else b"500 Not Modified By Plugin"
            self._transport.write(
                b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
                % (status, len(BODY), BODY)
            )


@asynccontextmanager
async def running_origin(folder: Path) -> AsyncIterator[tuple[int, int]]:
    """Serve while the block runs; yields the ports for clear text and TLS."""
    loop = asyncio.get_running_loop()
    context = OriginCertificate(folder).server_context("http/1.1")
    clear = await loop.create_server(Origin, "127.0.0.1", 0)
    secret = await loop.create_server(Origin, "127.0.0.1", 0, ssl=context)
    try:
        yield clear.sockets[0].getsockname()[1], secret.sockets[0].getsockname()[1]
    finally:
        clear.close()
        secret.close()


@dataclass(slots=True)
class Outcome:
    """What became of the requests so far."""

    sent: int = 0
    good: int = 0
    slowest: float = 0.0
    """Seconds from the moment it was due, of the good ones."""
    failures: Counter[str] = field(default_factory=Counter)
    """By reason."""

    @property
    def failed(self) -> int:
        return self.failures.total()


def fault_of(answer: Answer, mocked: bool) -> str | None:
    """Say what is wrong with an answer, or None."""
    if answer.status != 200:
        return f"status {answer.status}"
    if answer.body != (MOCKED if mocked else BODY):
        return "not answered by mock" if mocked else "wrong body"
    # A plugin that answers a request ends its round, so nobody after it has seen that one.
    if not mocked and not any(name.lower() == ADDED for name, _ in answer.fields):
        return "response not seen by header-modifier"
    return None


class Load:
    """Requests at `rate` a second through the proxy at `port`."""

    def __init__(self, port: int, ca_file: Path, origins: tuple[int, int], rate: float) -> None:
        self.outcome = Outcome()
        self.rate = rate
        self._clients = {
            kind: ProxyClient("127.0.0.1", port, ca_file, alpn)
            for kind, alpn in (("clear", ()), ("h1", ("http/1.1",)), ("h2", ("h2",)))
        }
        self._clear, self._secret = (f"localhost:{port}" for port in origins)
        self._due: dict[str, asyncio.Queue[tuple[float, int]]] = {
            kind: asyncio.Queue(int(rate * PATIENCE) + 1) for kind in WORKERS
        }

    async def run(self, seconds: float) -> None:
        """Send for so long, and wait for the answers."""
        async with AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            connections = [
                group.create_task(self._connection(kind, at_once))
                for kind, (count, at_once) in WORKERS.items()
                for _ in range(count)
            ]
            await self._schedule(seconds)
            try:
                async with asyncio.timeout(PATIENCE):
                    for queue in self._due.values():
                        await queue.join()
            except TimeoutError:
                left = sum(queue.qsize() for queue in self._due.values())
                self.outcome.failures["never sent, for want of a connection"] += left
            for connection in connections:
                connection.cancel()

    async def _schedule(self, seconds: float) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        for number in range(int(seconds * self.rate)):
            due = began + number / self.rate
            if (delay := due - clock()) > 0:
                await asyncio.sleep(delay)
            self.outcome.sent += 1
            try:
                self._due[KINDS[number % len(KINDS)]].put_nowait((due, number))
            except asyncio.QueueFull:
                self.outcome.failures["the proxy does not keep up"] += 1

    async def _connection(self, kind: str, at_once: int) -> None:
        """Keep one connection open and its workers busy; open it anew when it ends."""
        while True:
            try:
                async with self._open(kind) as session, asyncio.TaskGroup() as group:
                    for _ in range(at_once):
                        group.create_task(self._work(kind, session))
            except* _Ended:
                pass  # and counted
            except* FAILURES as errors:
                self.outcome.failures[f"{kind}: no connection: {errors.exceptions[0]}"[:200]] += 1
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def _open(self, kind: str) -> AsyncIterator[Http1Session | Http2Session]:
        client = self._clients[kind]
        async with client.plain() if kind == "clear" else client.tunnel(self._secret) as session:
            yield session

    async def _work(self, kind: str, session: Http1Session | Http2Session) -> None:
        queue = self._due[kind]
        clock = asyncio.get_running_loop().time
        while True:
            due, number = await queue.get()
            mocked = number % MOCKED_EVERY == 0
            path = "/int3-mock" if mocked else f"/path/{number % 1000}"
            target = f"http://{self._clear}{path}" if kind == "clear" else path
            try:
                async with asyncio.timeout(PATIENCE):
                    answer = await session.request("GET", target, FIELDS)
                fault = fault_of(answer, mocked)
                if fault is None:
                    self.outcome.good += 1
                    self.outcome.slowest = max(self.outcome.slowest, clock() - due)
                else:
                    self.outcome.failures[f"{kind}: {fault}"] += 1
            except FAILURES as error:
                self.outcome.failures[f"{kind}: {type(error).__name__}: {error}"[:200]] += 1
                raise _Ended from error
            except asyncio.CancelledError:
                self.outcome.failures[f"{kind}: the connection ended"] += 1
                raise
            finally:
                queue.task_done()


class _Ended(Exception):
    """The connection is of no more use."""
