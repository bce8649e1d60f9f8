"""What the first bytes on a connection tell, read and left there for whoever is to read them."""

from __future__ import annotations

import asyncio
import contextlib

from proxy_core.errors import ConnectionLost, ConnectionTimeout, TlsError
from proxy_core.exchange.ports import ByteStream
from proxy_core.net.channel import Channel
from proxy_core.wire.sniff import Protocol, sniff


async def sniff_protocol(channel: Channel) -> tuple[Protocol | None, bytes]:
    """Return what is spoken, None where too few bytes came to tell, and the bytes."""
    data = b""
    while (protocol := sniff(data)) is None:
        try:
            more = await channel.receive()
        except ConnectionTimeout:
            if not data:
                raise
            break  # whoever speaks with the client says that it was late
        if not more:
            break
        data += more
    channel.unread(data)
    return protocol, data


async def server_speaks_first(client: ByteStream, server: ByteStream) -> bool:
    """Wait for the first word of either side; return whether it is the server's, or both's."""
    async with asyncio.TaskGroup() as group:
        server_speaks = group.create_task(_wait_for_bytes(server))
        client_speaks = group.create_task(_wait_for_bytes(client))
        await asyncio.wait((server_speaks, client_speaks), return_when=asyncio.FIRST_COMPLETED)
        for task in (server_speaks, client_speaks):
            task.cancel()
    return client_speaks.cancelled() or (server_speaks.done() and not server_speaks.cancelled())


async def _wait_for_bytes(side: ByteStream) -> None:
    """Wait until something has come, and leave it there; a failure comes again to who reads it."""
    with contextlib.suppress(ConnectionLost, ConnectionTimeout, TlsError):
        side.unread(await side.receive())
