from __future__ import annotations

import asyncio
import contextlib

import pytest

from proxy_core.errors import ConnectionLost, ConnectionTimeout
from proxy_core.net.buffers import Buffers
from proxy_core.net.channel import Channel
from proxy_core.net.clock import Clock
from tests.net.wires import Peer, Wires, send_until_blocked
from tests.waiting import until


def fill(peer: Peer) -> int:
    """Send until the sockets take no more; return how many bytes they took."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += peer.sock.send(b"x" * 65536)
    return sent


async def block(channel: Channel) -> int:
    """Write until the channel asks to stop; return how many bytes that took."""
    return await send_until_blocked(channel.write, lambda: channel.write_blocked)


# --- receiving


async def test_what_arrives_is_received_in_order_and_then_the_end(wires: Wires) -> None:
    channel, peer = await wires.open()
    await peer.send(b"one")
    assert await channel.receive() == b"one"
    await peer.send(b"two")
    peer.end()
    assert await channel.receive() == b"two"
    assert await channel.receive() == b""
    assert await channel.receive() == b""
    assert channel.ended
    assert channel.error is None


async def test_pieces_that_nobody_received_come_as_one(wires: Wires) -> None:
    channel, _ = await wires.open()
    channel.data_received(b"a")
    channel.data_received(b"b")
    channel.data_received(b"c")
    assert await channel.receive() == b"abc"
    assert channel.take() == b""


async def test_bytes_put_back_come_first(wires: Wires) -> None:
    channel, _ = await wires.open()
    channel.data_received(b"world")
    channel.unread(b"hello ")
    channel.unread(b"")
    assert await channel.receive() == b"hello world"


async def test_bytes_put_back_after_the_end_come_before_it(wires: Wires) -> None:
    channel, peer = await wires.open()
    peer.end()
    assert await channel.receive() == b""
    channel.unread(b"late")
    assert await channel.receive() == b"late"
    assert await channel.receive() == b""


async def test_sender_is_held_back_while_nobody_receives(wires: Wires) -> None:
    channel, peer = await wires.open(limit=1000)
    sent = fill(peer)
    await until(lambda: channel._paused)
    before = channel._incoming_size
    sent += fill(peer)
    for _ in range(5):
        await asyncio.sleep(0)
    assert channel._incoming_size == before  # the rest waits in the kernel
    assert sent > before
    peer.end()
    received = 0
    while data := await channel.receive():
        received += len(data)
    assert received == sent


async def test_no_more_is_read_beyond_half_of_what_may_be_kept(wires: Wires) -> None:
    channel, peer = await wires.open(limit=1000)
    await peer.send(bytes(500))
    await until(lambda: channel._incoming_size == 500)
    assert not channel._paused
    await peer.send(b"x")
    await until(lambda: channel._paused)
    await peer.send(b"more")
    assert await channel.receive() == bytes(500) + b"x"
    assert await channel.receive() == b"more"


async def test_receiver_that_is_cancelled_loses_nothing(wires: Wires) -> None:
    channel, peer = await wires.open()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await channel.receive()
    await peer.send(b"still here")
    assert await channel.receive() == b"still here"


async def test_reset_is_an_error_after_what_came_before_it(wires: Wires) -> None:
    channel, peer = await wires.open()
    await peer.send(b"last words")
    await until(lambda: channel._incoming_size)
    peer.reset()
    await until(lambda: channel.closed)
    assert await channel.receive() == b"last words"
    with pytest.raises(ConnectionLost, match="the connection was reset"):
        await channel.receive()


# --- sending


async def test_writer_is_told_to_wait_while_the_peer_does_not_read(wires: Wires) -> None:
    channel, peer = await wires.open(limit=1000)
    written = await block(channel)
    first = wires.start(channel.drain())
    second = wires.start(channel.drain())
    await asyncio.sleep(0)
    assert not first.done()
    await peer.read_exactly(written)
    await first
    await second
    assert not channel.write_blocked


async def test_drain_does_not_wait_where_there_is_room(wires: Wires) -> None:
    channel, peer = await wires.open()
    channel.write(b"small")
    assert not channel.write_blocked
    await channel.drain()
    assert await peer.read_exactly(5) == b"small"


async def test_cancelled_drain_leaves_the_others_waiting(wires: Wires) -> None:
    channel, peer = await wires.open(limit=1000)
    written = await block(channel)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await channel.drain()
    other = wires.start(channel.drain())
    await peer.read_exactly(written)
    await other


async def test_drain_fails_when_the_connection_breaks(wires: Wires) -> None:
    channel, peer = await wires.open(limit=1000)
    await block(channel)
    blocked = wires.start(channel.drain())
    await asyncio.sleep(0)
    peer.reset()
    with pytest.raises(ConnectionLost):
        await blocked


async def test_write_to_a_lost_connection_is_dropped_and_drain_tells(wires: Wires) -> None:
    channel, _ = await wires.open()
    channel.abort()
    await until(lambda: channel.closed)
    channel.write(b"nobody reads this")
    assert channel.write_blocked
    with pytest.raises(ConnectionLost, match="the connection was closed"):
        await channel.drain()


# --- time


async def test_silence_beyond_the_deadline_fails_the_receiver(wires: Wires, clock: Clock) -> None:
    channel, _ = await wires.open()
    clock.sweep(100.0)
    channel.allow(30.0, "nothing came")
    waiting = wires.start(channel.receive())
    await asyncio.sleep(0)
    clock.sweep(130.0)
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.sweep(130.5)
    with pytest.raises(ConnectionTimeout, match="nothing came"):
        await waiting


async def test_deadline_that_was_lifted_does_not_fail(wires: Wires, clock: Clock) -> None:
    channel, peer = await wires.open()
    channel.allow(30.0, "nothing came")
    channel.allow_for_ever()
    clock.sweep(1000.0)
    await peer.send(b"late, and welcome")
    assert await channel.receive() == b"late, and welcome"


async def test_peer_that_does_not_read_in_time_fails_the_writer(wires: Wires, clock: Clock) -> None:
    channel, _ = await wires.open(limit=1000)
    await block(channel)
    channel.allow(5.0, "did not read")
    blocked = wires.start(channel.drain())
    await asyncio.sleep(0)
    clock.sweep(6.0)
    with pytest.raises(ConnectionTimeout, match="did not read"):
        await blocked
    with pytest.raises(ConnectionTimeout, match="did not read"):
        await channel.drain()


async def test_clock_watches_a_connection_as_long_as_it_lasts(wires: Wires, clock: Clock) -> None:
    channel, _ = await wires.open()
    assert len(clock) == 1
    channel.abort()
    await until(lambda: channel.closed)
    assert len(clock) == 0


async def test_closed_connection_whose_peer_never_reads_is_given_up(
    wires: Wires, clock: Clock
) -> None:
    channel, _ = await wires.open(limit=1000)
    await block(channel)
    channel.close()
    clock.sweep(30.0)
    await asyncio.sleep(0)
    assert not channel.closed
    clock.sweep(1000.0)
    await until(lambda: channel.closed)


# --- the end


async def test_peer_that_ended_its_side_still_gets_an_answer(wires: Wires) -> None:
    channel, peer = await wires.open()
    await peer.send(b"question")
    peer.end()
    assert await channel.receive() == b"question"
    assert await channel.receive() == b""
    assert not channel.closed
    channel.write(b"answer")
    channel.close()
    assert await peer.read_to_end() == b"answer"


async def test_our_side_may_end_while_the_peer_goes_on(wires: Wires) -> None:
    channel, peer = await wires.open()
    channel.write(b"that is all")
    channel.write_eof()
    assert await peer.read_to_end() == b"that is all"
    await peer.send(b"but not from here")
    assert await channel.receive() == b"but not from here"


async def test_close_sends_what_is_queued_first(wires: Wires) -> None:
    channel, peer = await wires.open(limit=1000)
    written = await block(channel)
    channel.close()
    assert len(await peer.read_to_end()) == written


async def test_abort_drops_what_is_queued(wires: Wires) -> None:
    channel, peer = await wires.open(limit=1000)
    written = await block(channel)
    channel.abort()
    assert len(await peer.read_to_end()) < written


async def test_linger_lets_the_answer_through_while_the_peer_still_sends(wires: Wires) -> None:
    channel, peer = await wires.open()
    fill(peer)
    channel.write(b"too large")
    async with asyncio.TaskGroup() as group:
        group.create_task(channel.linger(2.0, 10**9))
        assert await peer.read_to_end() == b"too large"
        peer.end()
    await until(lambda: channel.closed)


async def test_linger_reads_no_more_than_it_was_told(wires: Wires) -> None:
    channel, peer = await wires.open()
    fill(peer)
    await channel.linger(2.0, 1000)
    await until(lambda: channel.closed)


async def test_linger_ends_with_its_time(wires: Wires, clock: Clock) -> None:
    channel, _ = await wires.open()
    lingering = wires.start(channel.linger(2.0, 1000))
    await asyncio.sleep(0)
    clock.sweep(3.0)
    await lingering
    await until(lambda: channel.closed)


async def test_linger_waits_for_who_was_late_before(wires: Wires, clock: Clock) -> None:
    channel, peer = await wires.open()
    channel.allow(1.0, "late")
    clock.sweep(2.0)
    channel.write(b"too late")
    lingering = wires.start(channel.linger(2.0, 1000))
    assert await peer.read_to_end() == b"too late"
    assert not lingering.done()
    peer.end()
    await lingering


async def test_loss_is_told_once(wires: Wires) -> None:
    channel, peer = await wires.open()
    lost: list[None] = []
    channel.on_lost = lambda: lost.append(None)
    peer.reset()
    await until(lambda: channel.closed)
    channel.abort()
    channel.close()
    channel.write_eof()
    await asyncio.sleep(0)
    assert len(lost) == 1


@pytest.mark.parametrize("happening", ["bytes", "end", "reset"])
async def test_idle_connection_tells_of_anything_that_happens(wires: Wires, happening: str) -> None:
    channel, peer = await wires.open()
    told = asyncio.Event()
    channel.on_activity = lambda _: told.set()
    if happening == "bytes":
        await peer.send(b"unasked")
    elif happening == "end":
        peer.end()
    else:
        peer.reset()
    await told.wait()


async def test_addresses_are_those_of_the_two_ends(wires: Wires) -> None:
    channel, peer = await wires.open()
    assert channel.peer_address() == peer.sock.getsockname()
    assert channel.local_address() == peer.sock.getpeername()
    assert channel.socket is not None


# --- what all keep together


async def test_what_nobody_takes_counts_until_it_is_taken_or_the_connection_is_gone(
    wires: Wires,
) -> None:
    buffers = Buffers(65536, 2**20)
    channel, peer = await wires.open(buffers=buffers)
    other, other_peer = await wires.open(buffers=buffers)
    await peer.send(b"one")
    await other_peer.send(b"four")
    await until(lambda: buffers.held == 7)
    channel.unread(b"and ")
    assert buffers.held == 11
    assert channel.take() == b"and one"
    assert buffers.held == 4
    other.abort()
    await until(lambda: other.closed)
    assert buffers.held == 0
    assert other.take() == b"four"
    assert buffers.held == 0


async def test_what_a_peer_does_not_read_counts_until_it_does(wires: Wires) -> None:
    buffers = Buffers(65536, 2**30)
    channel, peer = await wires.open(buffers=buffers)
    sent = await block(channel)
    assert buffers.held >= 65536
    channel.write(b"more")
    await peer.read_exactly(sent + 4)
    await channel.drain()
    assert buffers.held == 0


async def test_where_it_is_tight_little_is_read_that_nobody_waits_for(wires: Wires) -> None:
    buffers = Buffers(2**20, 0)
    buffers.held = 1
    channel, peer = await wires.open(buffers=buffers)
    peer.sock.setblocking(False)
    peer.sock.send(bytes(200_000))
    await until(lambda: channel.has_unread)
    await wires.turn()
    assert len(channel.take()) <= len(buffers.bite)
    buffers.held = 0
    buffers.together = 2**20
    assert len(await channel.receive()) > len(buffers.bite)


async def test_where_it_is_tight_little_is_written_that_nobody_reads(wires: Wires) -> None:
    buffers = Buffers(2**20, 0)
    buffers.held = 1
    channel, peer = await wires.open(buffers=buffers)
    sent = await block(channel)
    assert buffers.held - 1 < 2**18
    buffers.together = 2**30
    await peer.read_exactly(sent)
    await channel.drain()
    channel.write(bytes(2**19))
    assert not channel.write_blocked
