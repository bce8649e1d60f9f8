"""A proxy that understands nothing: it splices CONNECT and absolute-form requests to loopback.

It stands in for the core where a test is about the demo alone; TLS passes through it untouched.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from int3rceptor_tui.demo.listener import Listener


class PassingProxy:
    """An async context manager that looks like a core to the demo."""

    def __init__(self, ca_path: Path) -> None:
        self.ca_path = ca_path
        self.listening: tuple[str, ...] = ()
        self.connections = 0
        self._listener = Listener(self._serve)

    async def __aenter__(self) -> Self:
        self.listening = (f"127.0.0.1:{self._listener.open()}",)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, EOFError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.decode().split(" ", 2)
            if method == "CONNECT":
                port = int(target.rpartition(":")[2])
                head = b""
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                port = urlsplit(target).port or 80
            await self._splice(port, head, reader, writer)

    @staticmethod
    async def _splice(
        port: int, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        there_writer.write(head)
        try:
            async with asyncio.TaskGroup() as group:
                ways = (
                    group.create_task(_pump(reader, there_writer)),
                    group.create_task(_pump(there_reader, writer)),
                )
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
        finally:
            there_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
