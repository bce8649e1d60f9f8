"""Peers that fail at every point: bounded time and memory, a flow that says what happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proxy_core.config import Limits
from tests.e2e.inside import Inside
from tests.net.wires import Peer
from tests.waiting import until

MIB = 1024 * 1024
LIMITS = Limits(
    head_timeout=0.5,
    body_timeout=0.5,
    idle_timeout=0.5,
    tunnel_timeout=1.5,
    connect_timeout=0.5,
    response_timeout=0.5,
    stream_buffer=65536,
    informational_heads=20,
)
PATIENT = replace(LIMITS, connect_timeout=15.0)
"""For what has to come before time is up, on however slow a machine."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n"


@pytest.fixture
async def inside(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Inside]:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Inside(tmp_path / "data", getattr(request, "param", LIMITS))
    await made.open()
    yield made
    await until(lambda: made.core.counters.active == 0)
    await made.close()


def memory() -> int:
    """Resident bytes of this process (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


async def send_much(peer: Peer, piece: bytes, size: int) -> None:
    """Send until the other side has had enough of it."""
    with contextlib.suppress(ConnectionError):
        for _ in range(size // len(piece)):
            await peer.send(piece)


async def to_the_end(peer: Peer) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while more := await peer.read_some():
            data += more
    return data


# --- the origin


async def ask(inside: Inside, method: bytes = b"GET", *lines: bytes) -> tuple[Peer, Peer]:
    """Send a request; return the client, and the origin that has read it."""
    client = inside.client(reverse=True)
    await client.send(b"\r\n".join([method + b" / HTTP/1.1", b"Host: h", *lines, b"", b""]))
    origin = await inside.origin.accept()
    await origin.read_head()
    return client, origin


async def say_nothing(origin: Peer) -> None:
    """Keep the connection."""


async def close(origin: Peer) -> None:
    origin.close()


async def reset(origin: Peer) -> None:
    origin.reset()


def say(data: bytes, then: Callable[[Peer], Awaitable[None]]) -> Callable[[Peer], Awaitable[None]]:
    async def act(origin: Peer) -> None:
        await origin.send(data)
        await asyncio.sleep(0.05)  # so that it arrives before what comes next
        await then(origin)

    return act


def flood(start: bytes, piece: bytes, size: int = 30 * MIB) -> Callable[[Peer], Awaitable[None]]:
    async def act(origin: Peer) -> None:
        await origin.send(start)
        await send_much(origin, piece, size)

    return act


async def trickle(origin: Peer) -> None:
    """Send a head that never ends, a byte at a time."""
    with contextlib.suppress(ConnectionError):
        for byte in b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100:
            await origin.send(bytes([byte]))
            await asyncio.sleep(0.05)


FAILING_ORIGINS: dict[str, tuple[Callable[[Peer], Awaitable[None]], int, str]] = {
    "says nothing": (say_nothing, 504, "did not answer in time"),
    "stalls in its head": (say(b"HTTP/1.1 200 OK\r\nA", say_nothing), 504, "did not answer"),
    "trickles its head": (trickle, 504, "did not answer in time"),
    "closes without an answer": (close, 502, "closed the connection without an answer"),
    "closes in its head": (say(b"HTTP/1.1 200 OK\r\nA", close), 502, "in the middle of a head"),
    "resets without an answer": (reset, 502, "the connection was reset"),
    "resets in its head": (say(b"HTTP/1.1 200 OK\r\nA", reset), 502, "the connection was reset"),
    "speaks another protocol": (say(b"SSH-2.0-x\r\n\r\n", close), 502, "not an HTTP/1 status"),
    "sends noise": (say(bytes(range(256)) * 4, close), 502, "sent a bad answer"),
    "sends endless fields": (
        flood(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 10_000),
        502,
        "a head of more than 65536 bytes",
    ),
    "sends one endless field": (
        flood(b"HTTP/1.1 200 OK\r\nA: ", b"b" * 65536),
        502,
        "a head of more than 65536 bytes",
    ),
    "sends endless informational answers": (
        flood(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000),
        502,
        "more than 20 informational answers",
    ),
    "says continue for ever": (
        flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        502,
        "more than 20 informational answers",
    ),
}


@pytest.mark.parametrize("name", FAILING_ORIGINS)
async def test_origin_that_gives_no_answer_is_a_502_or_504_that_says_why(
    inside: Inside, name: str
) -> None:
    act, status, reason = FAILING_ORIGINS[name]
    before = memory()
    client, origin = await ask(inside)
    await act(origin)
    head = await client.read_head()
    while head.startswith(b"HTTP/1.1 1"):
        head = await client.read_head()
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert reason in await inside.failure()
    assert memory() - before < 16 * MIB
    await inside.still_serves()


CUT_SHORT: dict[str, tuple[Callable[[Peer], Awaitable[None]], str]] = {
    "stalls in its body": (say(BEGUN, say_nothing), "stopped in the middle of its answer"),
    "stalls between chunks": (say(CHUNKS, say_nothing), "stopped in the middle of its answer"),
    "closes in its body": (say(BEGUN, close), "the body ended 5 bytes early"),
    "closes between chunks": (say(CHUNKS, close), "in the middle of a chunked body"),
    "resets in its body": (say(BEGUN, reset), "the connection was reset"),
    "sends chunks that are none": (say(CHUNKS + b"no size\r\n", close), "not a chunk size"),
    "sends endless chunk extensions": (
        flood(CHUNKS + b"5;", b"a" * 65536),
        "not a chunk size",
    ),
    "sends endless trailers": (
        flood(CHUNKS + b"0\r\n", b"A: b\r\n" * 10_000),
        "trailers of more than 65536 bytes",
    ),
}


@pytest.mark.parametrize("name", CUT_SHORT)
async def test_answer_cut_short_ends_so_that_the_client_can_tell(inside: Inside, name: str) -> None:
    act, reason = CUT_SHORT[name]
    before = memory()
    client, origin = await ask(inside)
    await act(origin)
    answer = await to_the_end(client)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not answer.endswith(b"0\r\n\r\n")
    assert reason in await inside.failure()
    assert memory() - before < 16 * MIB
    await inside.still_serves()


async def test_answer_longer_than_it_says_is_cut_noted_and_its_connection_closed(
    inside: Inside,
) -> None:
    client, origin = await ask(inside)
    await origin.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled")
    assert await client.read_until(b"ok") == OK
    assert await to_the_end(origin) == b""
    assert (await inside.flow()).notes == ("response: the origin sent more than its answer",)
    await inside.still_serves()


async def test_bytes_that_nobody_asked_for_end_a_kept_connection(inside: Inside) -> None:
    client, origin = await ask(inside)
    await origin.send(OK)
    await client.read_until(b"ok")
    await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled")
    assert await to_the_end(origin) == b""
    await client.send(b"GET /again HTTP/1.1\r\nHost: h\r\n\r\n")
    fresh = await inside.origin.accept()
    await fresh.read_head()
    await fresh.send(OK)
    assert await client.read_until(b"ok") == OK


async def test_origin_that_refuses_connections_is_a_502(inside: Inside) -> None:
    inside.origin.stop_listening()
    client = inside.client(reverse=True)
    await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    head, body = await inside.answer(client)
    assert head.startswith(b"HTTP/1.1 502 ")
    assert b"connection refused" in body
    assert "connection refused" in await inside.failure()


async def test_origin_that_does_not_accept_is_a_504(inside: Inside) -> None:
    client = inside.client()
    # Nobody is there to answer (RFC 5737); where there is no network at all, that is told at once.
    await client.send(b"GET http://192.0.2.1/ HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n")
    head, body = await inside.answer(client)
    assert head[9:12] in (b"504", b"502")
    assert b"could not connect to 192.0.2.1:80" in body


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("says nothing", LIMITS),
        ("closes", PATIENT),
        ("resets", PATIENT),
        ("speaks no TLS", PATIENT),
    ],
    indirect=["inside"],
)
async def test_origin_that_fails_in_its_handshake_is_told(inside: Inside, name: str) -> None:
    acts: dict[str, tuple[Callable[[Peer], Awaitable[None]], bytes]] = {
        "says nothing": (say_nothing, b"504"),
        "closes": (close, b"502"),
        "resets": (reset, b"502"),
        "speaks no TLS": (say(OK, close), b"502"),
    }
    act, status = acts[name]
    client = inside.client()
    where = inside.origin.name
    await client.send(b"GET https://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (where, where))
    origin = await inside.origin.accept()
    await origin.read_some()
    await act(origin)
    head, body = await inside.answer(client)
    assert head[9:12] == status, body
    assert b"TLS" in body
    assert "TLS" in await inside.failure()
    await inside.still_serves()


async def test_origin_that_stops_reading_is_a_504(inside: Inside) -> None:
    before = memory()
    client, _ = await ask(inside, b"POST", b"Content-Length: %d" % (64 * MIB))
    sending = asyncio.get_running_loop().create_task(send_much(client, bytes(65536), 64 * MIB))
    head = await client.read_head()
    assert head.startswith(b"HTTP/1.1 504 ")
    assert "did not read the request in time" in await inside.failure()
    await sending
    assert memory() - before < 16 * MIB


# --- the client


async def trickled(client: Peer) -> None:
    """Slowloris: a head, a byte at a time."""
    with contextlib.suppress(ConnectionError):
        for byte in b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 40:
            await client.send(bytes([byte]))
            await asyncio.sleep(0.05)


FAILING_CLIENTS: dict[str, tuple[Callable[[Peer], Awaitable[None]], bytes]] = {
    "says nothing": (say_nothing, b""),
    "stalls in its head": (say(b"GET / HT", say_nothing), b"HTTP/1.1 408 "),
    "trickles its head": (trickled, b"HTTP/1.1 408 "),
    "sends endless fields": (
        flood(b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 10_000),
        b"HTTP/1.1 431 ",
    ),
    "sends one endless field": (
        flood(b"GET / HTTP/1.1\r\nA: ", b"b" * 65536),
        b"HTTP/1.1 431 ",
    ),
    "sends an endless target": (flood(b"GET /", b"a" * 65536), b"HTTP/1.1 414 "),
    "sends an endless method": (flood(b"", b"A" * 65536), b"HTTP/1.1 431 "),
    "sends empty lines for ever": (flood(b"", b"\r\n" * 10_000, MIB), b"HTTP/1.1 400 "),
    "sends noise": (say(b"\x00\xff" * 100, say_nothing), b"HTTP/1.1 4"),
}


@pytest.mark.parametrize("name", FAILING_CLIENTS)
async def test_client_that_makes_no_request_is_cut_off(inside: Inside, name: str) -> None:
    act, expected = FAILING_CLIENTS[name]
    before = memory()
    client = inside.client(reverse=True)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(to_the_end(client))
        await act(client)
    assert reading.result().startswith(expected)
    assert inside.origin.accept_nowait() is None
    await until(lambda: inside.core.counters.client_connections == 0)
    if expected:
        assert "the client sent what is no request" in await inside.failure()
    assert memory() - before < 16 * MIB
    await inside.still_serves()


HELLO = bytes.fromhex("1603010200010001fc0303")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes.fromhex("000000040000000000")
STALLS = {
    "in a TLS record's header": b"\x16\x03",
    "in its ClientHello": HELLO,
    "in HTTP/2's preface": PREFACE[:20],
    "behind HTTP/2's preface": PREFACE,
    "behind its settings": PREFACE + SETTINGS,
    "in a frame's header": PREFACE + SETTINGS + b"\x00\x00\x10",
    "in a head of HTTP/2": PREFACE + SETTINGS + bytes.fromhex("000001010100000001") + b"\x82",
    "in a frame": PREFACE + SETTINGS + bytes.fromhex("000010010500000001") + b"\x82",
}


@pytest.mark.parametrize("name", STALLS)
@pytest.mark.parametrize("how", ["at once", "a byte at a time"])
async def test_client_that_stalls_before_its_request_is_cut_off(
    inside: Inside, name: str, how: str
) -> None:
    client = inside.client(reverse=True)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(to_the_end(client))
        for piece in [STALLS[name]] if how == "at once" else [bytes((b,)) for b in STALLS[name]]:
            with contextlib.suppress(ConnectionError):
                await client.send(piece)
                await asyncio.sleep(0)
    assert b"HTTP/1.1 2" not in reading.result()
    await until(lambda: inside.core.counters.client_connections == 0)
    assert inside.origin.accept_nowait() is None
    await inside.still_serves()


@pytest.mark.parametrize(
    "line", [b"Content-Length: 100", b"Transfer-Encoding: chunked"], ids=["counted", "chunked"]
)
async def test_body_that_stops_coming_ends_the_request_at_both_ends(
    inside: Inside, line: bytes
) -> None:
    client, origin = await ask(inside, b"POST", line)
    await client.send(b"5\r\nbegun")
    assert b"0\r\n\r\n" not in await to_the_end(origin)
    await to_the_end(client)
    assert "the request's body stopped coming" in await inside.failure()
    await inside.still_serves()


@pytest.mark.parametrize("inside", [replace(LIMITS, body_timeout=2.0)], indirect=True)
async def test_body_that_trickles_ends_the_request_at_both_ends(inside: Inside) -> None:
    client, origin = await ask(inside, b"POST", b"Content-Length: 1000")
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(to_the_end(client))
        at_origin = group.create_task(to_the_end(origin))
        while not at_origin.done():
            await client.send(b"x")
            await asyncio.sleep(0.05)
        client.end()
    assert answer.result().startswith(b"HTTP/1.1 408 ")
    assert "a bad body: less than 64 bytes a second came, for 2 s in all" in await inside.failure()
    await inside.still_serves()


async def test_client_that_stops_reading_is_cut_off(inside: Inside) -> None:
    before = memory()
    client, origin = await ask(inside)
    await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
    await send_much(origin, bytes(65536), 64 * MIB)
    assert "the client stopped reading" in await inside.failure()
    assert memory() - before < 16 * MIB
    client.close()
    await inside.still_serves()


async def leave_after(inside: Inside, client: Peer, stage: str) -> Peer | None:
    """Bring an exchange as far as `stage`; return its origin where there is one."""
    if stage == "nothing":
        return None
    if stage == "half a head":
        await client.send(b"GET / HTTP/1.1\r\nHo")
        return None
    if stage == "half a body":
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf")
    else:
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    origin = await inside.origin.accept()
    await origin.read_head()
    if stage == "half an answer":
        await origin.send(BEGUN)
        await client.read_until(b"begun")
    return origin


@pytest.mark.parametrize(
    "stage", ["nothing", "half a head", "half a body", "a request", "half an answer"]
)
async def test_client_that_resets_leaves_nothing_behind(inside: Inside, stage: str) -> None:
    client = inside.client(reverse=True)
    origin = await leave_after(inside, client, stage)
    await asyncio.sleep(0.05)
    client.reset()
    if origin is not None:
        assert b"\r\n\r\n" not in await to_the_end(origin)  # which ends, without more requests
        assert "the client went away" in await inside.failure()
    counters = inside.core.counters
    await until(lambda: counters.client_connections == counters.server_connections == 0)
    await inside.still_serves()


@pytest.mark.parametrize("stage", ["nothing", "half a head", "half a body"])
async def test_client_that_ends_its_side_too_early_is_let_go(inside: Inside, stage: str) -> None:
    client = inside.client(reverse=True)
    origin = await leave_after(inside, client, stage)
    client.end()
    await to_the_end(client)
    if origin is not None:
        await to_the_end(origin)
    if stage != "nothing":
        assert await inside.failure()
    client.close()
    await until(lambda: inside.core.counters.client_connections == 0)
    await inside.still_serves()


# --- tunnels


async def tunnel(inside: Inside) -> tuple[Peer, Peer]:
    """Open a tunnel that carries what is neither HTTP nor TLS."""
    client = inside.client()
    name = inside.origin.name
    await client.send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (name, name))
    await client.read_head()
    await client.send(b"\x01hello")
    origin = await inside.origin.accept()
    assert await origin.read_exactly(6) == b"\x01hello"
    return client, origin


@pytest.mark.parametrize("who", ["client", "origin"])
async def test_tunnel_whose_peer_stops_reading_ends(inside: Inside, who: str) -> None:
    before = memory()
    client, origin = await tunnel(inside)
    sender = origin if who == "client" else client
    await send_much(sender, bytes(65536), 64 * MIB)
    side = "client" if who == "client" else "server"
    assert f"the {side} did not read for 0.5 s" in await inside.failure()
    assert memory() - before < 16 * MIB
    await inside.still_serves()


async def test_tunnel_through_which_nothing_comes_ends(inside: Inside) -> None:
    client, origin = await tunnel(inside)
    assert await to_the_end(client) == await to_the_end(origin) == b""
    assert await inside.failure() == "nothing came through the tunnel for 1.5 s"


@pytest.mark.parametrize("who", ["client", "origin"])
async def test_tunnel_whose_one_end_resets_ends_at_the_other(inside: Inside, who: str) -> None:
    client, origin = await tunnel(inside)
    (client if who == "client" else origin).reset()
    await to_the_end(origin if who == "client" else client)
    assert await inside.failure()
    counters = inside.core.counters
    await until(lambda: counters.client_connections == counters.server_connections == 0)


@pytest.mark.parametrize("way", ["resets", "closes"])
async def test_origin_that_leaves_a_silent_tunnel_ends_it(inside: Inside, way: str) -> None:
    client = inside.client()
    name = inside.origin.name
    await client.send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (name, name))
    await client.read_head()
    origin = await inside.origin.accept()  # asked, because the client is silent
    await asyncio.sleep(0.05)
    if way == "resets":
        origin.reset()
    else:
        origin.close()
    await to_the_end(client)
    client.close()
    await until(lambda: inside.core.counters.client_connections == 0)
    logs = await inside.core.control().logs()
    assert not [line for line in logs if "fault" in line.text]
