"""Sending a body as HTTP/2's flow control allows (RFC 9113, section 5.2), for origin and client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from h2.connection import H2Connection


async def send_pieces(
    connection: H2Connection,
    stream_id: int,
    data: bytes,
    window: asyncio.Event,
    flush: Callable[[], Awaitable[None]],
) -> AsyncIterator[int]:
    """Send `data` in frames, yielding the bytes of each once the transport took it.

    `window` is set by whoever reads, when the peer's windows may have grown. h2's ProtocolError
    comes through where the stream or the connection has ended meanwhile.
    """
    left = memoryview(data)
    while left:
        window.clear()
        room = min(
            connection.local_flow_control_window(stream_id),
            connection.max_outbound_frame_size,
            len(left),
        )
        if room <= 0:
            await window.wait()
            continue
        connection.send_data(stream_id, bytes(left[:room]))
        await flush()
        yield room
        left = left[room:]
