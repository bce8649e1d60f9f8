"""Raw connections to a proxy, closed when their test is over."""

from __future__ import annotations

import asyncio

from tests.e2e.harness import ProxyProcess

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Wires:
    """Opens connections to one proxy."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self._proxy = proxy
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> Wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._proxy.port)
        self._writers.append(writer)
        return reader, writer

    async def get(self, url: str) -> Wire:
        """Send a GET in absolute-form."""
        reader, writer = await self.open()
        writer.write(f"GET {url} HTTP/1.1\r\nHost: {url.split('/')[2]}\r\n\r\n".encode())
        return reader, writer

    async def connect(self, authority: str) -> Wire:
        """Open a tunnel; whatever CONNECT is answered with is asserted to be 200."""
        reader, writer = await self.open()
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        return reader, writer

    async def secure(self, authority: str, *alpn: str) -> Wire:
        """Open a tunnel and TLS in it; http/1.1 where no protocol is named."""
        reader, writer = await self.connect(authority)
        name = authority.rpartition(":")[0]
        await writer.start_tls(self._proxy.context(*alpn), server_hostname=name)
        return reader, writer

    async def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # the sockets are closed on the loop's next turn
