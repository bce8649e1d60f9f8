"""Two connections joined byte for byte: what HTTP left to itself (CONNECT, 101)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from proxy_core.errors import ConnectionLost, ConnectionTimeout, RefusedByHook, TlsError
from proxy_core.exchange.hooks import TunnelFilter
from proxy_core.exchange.news import News
from proxy_core.exchange.ports import ByteStream
from proxy_core.model.flow import Flow


@dataclass(frozen=True, slots=True)
class TunnelTimes:
    """How many seconds a tunnel may stand still."""

    idle: float = 3600.0
    """Nothing comes, from either side."""
    blocked: float = 300.0
    """A side does not read what is there for it."""


async def join(
    client: ByteStream,
    server: ByteStream,
    on_sent: Callable[[bytes], None],
    on_received: Callable[[bytes], None],
    times: TunnelTimes = TunnelTimes(),
    through: TunnelFilter | None = None,
) -> str | None:
    """Carry bytes both ways until both sides have ended; each end is passed on by itself.

    `on_sent` sees the client's bytes, `on_received` the server's, as they go on; `through` is what
    they go through before. Returns why a side failed, or None. Both connections are closed
    afterwards, also where this is cancelled.
    """
    loop = asyncio.get_running_loop()
    halves: list[asyncio.Task[None]] = []
    failure: str | None = None
    moved = loop.time()
    done = False

    def fail(reason: str) -> None:
        nonlocal failure
        failure = failure or reason
        for half in halves:
            half.cancel()

    async def carry(
        source: ByteStream, sink: ByteStream, note: Callable[[bytes], None], who: str, whom: str
    ) -> None:
        nonlocal moved
        try:
            ended = False
            while not ended:
                data = await source.receive()
                moved = loop.time()
                ended = not data
                if through is not None:
                    data = await through(source is client, data, ended)
                if not data:
                    continue
                note(data)
                sink.write(data)
                if sink.write_blocked:
                    async with asyncio.timeout(times.blocked):
                        await sink.drain()
            sink.write_eof()
        except (ConnectionLost, ConnectionTimeout, TlsError) as error:
            fail(f"from the {who}: {error}")
        except RefusedByHook as error:
            fail(str(error))
        except TimeoutError:
            fail(f"the {whom} did not read for {times.blocked:g} s")

    async def watch() -> None:
        while (left := moved + times.idle - loop.time()) > 0:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(left)
        fail(f"nothing came through the tunnel for {times.idle:g} s")

    try:
        async with asyncio.TaskGroup() as group:
            halves += [
                group.create_task(carry(client, server, on_sent, "client", "server")),
                group.create_task(carry(server, client, on_received, "server", "client")),
            ]
            watcher = group.create_task(watch())
            await asyncio.wait(halves)
            watcher.cancel()
        done = failure is None
    finally:
        for side in (client, server):
            if done:
                side.close()
            else:
                side.abort()
    return failure


async def join_as(
    flow: Flow,
    client: ByteStream,
    server: ByteStream,
    times: TunnelTimes,
    tell: Callable[[Flow], None],
    through: TunnelFilter | None = None,
) -> str | None:
    """See `join`: as a flow that counts the bytes, and of which `tell` lets people know."""
    news = News(flow, tell)

    def on_sent(data: bytes) -> None:
        flow.request_body.feed(data)
        news.note()

    def on_received(data: bytes) -> None:
        flow.response_body.feed(data)
        news.note()

    try:
        return await join(client, server, on_sent, on_received, times, through)
    finally:
        news.cancel()
