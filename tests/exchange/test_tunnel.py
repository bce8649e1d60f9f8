from __future__ import annotations

import asyncio

import pytest

from proxy_core.errors import ConnectionLost, RefusedByHook
from proxy_core.exchange.tunnel import TunnelTimes, join
from tests.waiting import until


class Side:
    """A connection of bytes in memory; what is joined to it is in the test's hands."""

    def __init__(self) -> None:
        self.arriving: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.written = b""
        self.write_blocked = False
        self.ends: list[str] = []
        self.readable = asyncio.Event()

    async def receive(self) -> bytes:
        data = await self.arriving.get()
        if isinstance(data, Exception):
            raise data
        return data

    def unread(self, data: bytes) -> None:
        raise AssertionError("a tunnel has nothing to put back")

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        await self.readable.wait()

    def write_eof(self) -> None:
        self.ends.append("eof")

    def close(self) -> None:
        self.ends.append("close")

    def abort(self) -> None:
        self.ends.append("abort")


@pytest.fixture
async def sides() -> tuple[Side, Side]:
    return Side(), Side()


def ignore(data: bytes) -> None:
    """Note nothing."""


async def test_bytes_pass_both_ways_and_are_noted(sides: tuple[Side, Side]) -> None:
    client, server = sides
    sent: list[bytes] = []
    received: list[bytes] = []
    for data in (b"one", b"two", b""):
        client.arriving.put_nowait(data)
    for data in (b"three", b""):
        server.arriving.put_nowait(data)
    assert await join(client, server, sent.append, received.append) is None
    assert (server.written, client.written) == (b"onetwo", b"three")
    assert (sent, received) == ([b"one", b"two"], [b"three"])
    assert client.ends == server.ends == ["eof", "close"]


async def test_one_end_is_passed_on_while_the_other_direction_goes_on(
    sides: tuple[Side, Side],
) -> None:
    client, server = sides
    client.arriving.put_nowait(b"")
    async with asyncio.TaskGroup() as group:
        joined = group.create_task(join(client, server, ignore, ignore))
        await until(lambda: server.ends == ["eof"])
        server.arriving.put_nowait(b"late")
        server.arriving.put_nowait(b"")
    assert joined.result() is None
    assert client.written == b"late"


@pytest.mark.parametrize("who", ["client", "server"])
async def test_failure_of_a_side_ends_both_and_is_told(sides: tuple[Side, Side], who: str) -> None:
    client, server = sides
    failing = client if who == "client" else server
    failing.arriving.put_nowait(ConnectionLost("the connection was reset"))
    told = await join(client, server, ignore, ignore)
    assert told == f"from the {who}: the connection was reset"
    assert client.ends == server.ends == ["abort"]


async def test_cancelled_tunnel_leaves_no_connection_open(sides: tuple[Side, Side]) -> None:
    client, server = sides
    task = asyncio.get_running_loop().create_task(join(client, server, ignore, ignore))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.ends == server.ends == ["abort"]


@pytest.mark.parametrize("who", ["client", "server"])
async def test_side_that_stops_reading_ends_the_tunnel(sides: tuple[Side, Side], who: str) -> None:
    client, server = sides
    lazy, other = (client, server) if who == "client" else (server, client)
    lazy.write_blocked = True
    other.arriving.put_nowait(b"data")
    times = TunnelTimes(idle=60.0, blocked=0.05)
    told = await join(client, server, ignore, ignore, times)
    assert told == f"the {who} did not read for 0.05 s"
    assert client.ends == server.ends == ["abort"]


async def test_side_that_reads_slowly_is_waited_for(sides: tuple[Side, Side]) -> None:
    client, server = sides
    client.write_blocked = True
    for data in (b"data", b""):
        server.arriving.put_nowait(data)
    client.arriving.put_nowait(b"")
    asyncio.get_running_loop().call_later(0.02, client.readable.set)
    assert await join(client, server, ignore, ignore, TunnelTimes(60.0, 10.0)) is None


async def test_tunnel_through_which_nothing_comes_ends(sides: tuple[Side, Side]) -> None:
    client, server = sides
    told = await join(client, server, ignore, ignore, TunnelTimes(idle=0.05))
    assert told == "nothing came through the tunnel for 0.05 s"
    assert client.ends == server.ends == ["abort"]


async def test_traffic_one_way_keeps_a_tunnel_open(sides: tuple[Side, Side]) -> None:
    client, server = sides
    loop = asyncio.get_running_loop()
    for number in range(1, 8):
        loop.call_later(number * 0.05, server.arriving.put_nowait, b"x")
    told = await join(client, server, ignore, ignore, TunnelTimes(idle=0.2))
    assert told is not None
    assert client.written == b"x" * 7


async def test_bytes_go_through_a_filter_that_may_change_or_keep_them(
    sides: tuple[Side, Side],
) -> None:
    client, server = sides
    kept = b""
    seen: list[tuple[bool, bytes, bool]] = []
    sent: list[bytes] = []

    async def through(from_client: bool, data: bytes, end: bool) -> bytes:
        nonlocal kept
        seen.append((from_client, data, end))
        if not from_client:
            return data.upper()
        kept += data
        return kept if end else b""

    for data in (b"one", b"two", b""):
        client.arriving.put_nowait(data)
    for data in (b"answer", b""):
        server.arriving.put_nowait(data)
    assert await join(client, server, sent.append, ignore, through=through) is None
    assert (server.written, client.written) == (b"onetwo", b"ANSWER")
    assert sent == [b"onetwo"]
    assert [end for from_client, _, end in seen if from_client] == [False, False, True]


async def test_a_filter_that_refuses_ends_the_tunnel(sides: tuple[Side, Side]) -> None:
    client, server = sides

    async def through(from_client: bool, data: bytes, end: bool) -> bytes:
        raise RefusedByHook("blocked by plugin p")

    client.arriving.put_nowait(b"secret")
    assert await join(client, server, ignore, ignore, through=through) == "blocked by plugin p"
    assert server.written == b""
    assert (client.ends, server.ends) == (["abort"], ["abort"])
