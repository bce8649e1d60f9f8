#!/usr/bin/env python3
"""Requests at a fixed rate, whatever becomes of those before: latency as users meet it.

    open_loop.py PORT RATE SECONDS URL [CONNECTIONS]

PORT is a proxy's (or the origin's: URL is then sent in origin form). Prints JSON: a pair for each
request, of the second it was meant to go out at and its latency in milliseconds (-1: it failed).
Latency counts from that moment, so that a stalled proxy cannot hide its stall by slowing us down.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from urllib.parse import urlsplit

PATIENCE = 15.0


class Connection(asyncio.Protocol):
    """One keep-alive connection; carries one request at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.due: float | None = None
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self, due: float) -> None:
        self.due = due
        self.transport.write(self.load.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head_end = self.buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self.buffer[:head_end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.buffer) >= head_end + 4 + length:
            self.buffer = b""
            due, self.due = self.due, None
            self.load.answered(self, due, head.startswith(b"http/1.1 200"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.due is not None:
            self.load.failed(self.due)


class Load:
    """The schedule, and what came of it."""

    def __init__(self, rate: float, seconds: float, request: bytes) -> None:
        self.rate = rate
        self.count = int(rate * seconds)
        self.request = request
        self.idle: list[Connection] = []
        self.waiting: deque[float] = deque()
        self.results: list[tuple[float, float]] = []
        self.loop = asyncio.get_running_loop()
        self.start = 0.0

    def answered(self, connection: Connection, due: float | None, good: bool) -> None:
        if due is not None:
            late = (self.loop.time() - due) * 1e3
            self.results.append((due - self.start, late if good else -1))
        if self.waiting:
            connection.send(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def failed(self, due: float) -> None:
        self.results.append((due - self.start, -1))

    def fire(self, due: float) -> None:
        if self.idle:
            self.idle.pop().send(due)
        else:
            self.waiting.append(due)

    async def run(self, port: int, connections: int) -> None:
        for _ in range(connections):
            _, protocol = await self.loop.create_connection(
                lambda: Connection(self), "127.0.0.1", port
            )
            self.idle.append(protocol)
        self.start = self.loop.time() + 0.1
        for number in range(self.count):
            due = self.start + number / self.rate
            delay = due - self.loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            self.fire(due)
        deadline = self.loop.time() + PATIENCE
        while len(self.results) < self.count and self.loop.time() < deadline:
            await asyncio.sleep(0.01)
        for due in self.waiting:
            self.failed(due)


async def main() -> None:
    port, rate, seconds, url = sys.argv[1:5]
    connections = int(sys.argv[5]) if len(sys.argv) > 5 else 32
    parts = urlsplit(url)
    target = url if int(port) != parts.port else parts.path
    request = (
        f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: open-loop\r\n"
        "Accept: */*\r\nX-Trace: abcdef0123456789\r\n\r\n"
    ).encode()
    load = Load(float(rate), float(seconds), request)
    await load.run(int(port), connections)
    print(json.dumps(load.results))


if __name__ == "__main__":
    asyncio.run(main())
