"""Two connections joined byte for byte: what HTTP left to itself (CONNECT, 101)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy_core.errors import ConnectionLost, ConnectionTimeout, TlsError
from proxy_core.exchange.ports import ByteStream


async def join(
    client: ByteStream,
    server: ByteStream,
    on_sent: Callable[[bytes], None],
    on_received: Callable[[bytes], None],
) -> str | None:
    """Carry bytes both ways until both sides have ended; each end is passed on by itself.

    `on_sent` sees the client's bytes, `on_received` the server's. Returns why a side failed, or
    None. Both connections are closed afterwards.
    """
    failures: list[str] = []

    async def carry(
        source: ByteStream, sink: ByteStream, note: Callable[[bytes], None], who: str
    ) -> None:
        try:
            while data := await source.receive():
                note(data)
                sink.write(data)
                if sink.write_blocked:
                    await sink.drain()
            sink.write_eof()
        except (ConnectionLost, ConnectionTimeout, TlsError) as error:
            failures.append(f"{who}: {error}")
            client.abort()
            server.abort()

    async with asyncio.TaskGroup() as group:
        group.create_task(carry(client, server, on_sent, "from the client"))
        group.create_task(carry(server, client, on_received, "from the server"))
    client.close()
    server.close()
    return failures[0] if failures else None
