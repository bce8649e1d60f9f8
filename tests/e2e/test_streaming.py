"""Bodies flow as they come, and stop flowing when nobody takes them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time

import h2.config
import h2.connection
import h2.events
import pytest

from int3rceptor_tui.demo.messages import RequestRecord
from tests.e2e.harness import BackgroundOrigin, ProxyProcess
from tests.e2e.wires import Wires
from tests.waiting import until

GIGABYTE = 1_000_000_000
MIB = 1024 * 1024


async def arrival(origin: BackgroundOrigin, path: str) -> RequestRecord:
    """Wait until a request for `path`, with its query, has come in."""
    wanted = path.encode()
    await until(lambda: any(r.target == wanted for r in list(origin.recording.requests)))
    return [r for r in list(origin.recording.requests) if r.target == wanted][-1]


async def closing(origin: BackgroundOrigin, request: RequestRecord) -> None:
    """Wait until the connection that a request came on is closed."""
    connections = list(origin.recording.connections)
    (record,) = [c for c in connections if c.number == request.connection]
    await until(lambda: record.closed)


async def settled(request: RequestRecord) -> int:
    """Return how much of an answer the origin has sent once it sends no more."""
    sent = -1
    while sent != request.sent:
        sent = request.sent
        await asyncio.sleep(0.3)
    return sent


async def test_a_slow_stream_arrives_piece_by_piece(wires: Wires, origin: BackgroundOrigin) -> None:
    url = f"http://127.0.0.1:{origin.http}/slow?pieces=3&delay=0.4"
    reader, _ = await wires.get(url)
    arrivals = []
    for number in range(3):
        await reader.readuntil(b"piece %d\n" % number)
        arrivals.append(time.monotonic())
    # Buffered, all three would come at once.
    assert arrivals[1] - arrivals[0] > 0.2
    assert arrivals[2] - arrivals[1] > 0.2


async def test_server_sent_events_arrive_while_the_stream_is_open(
    wires: Wires, origin: BackgroundOrigin
) -> None:
    reader, _ = await wires.get(f"http://127.0.0.1:{origin.http}/events?count=2&delay=30")
    assert b"event: tick" in await reader.readuntil(b'data: {"n":0}\n\n')


async def test_an_upload_reaches_the_origin_while_it_is_sent(
    wires: Wires, origin: BackgroundOrigin
) -> None:
    reader, writer = await wires.open()
    url = f"http://127.0.0.1:{origin.http}/echo"
    head = f"POST {url} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + b"5\r\nfirst\r\n")
    await reader.readuntil(b"first")  # the answer to a piece, while the next is not yet sent
    writer.write(b"6\r\nsecond\r\n0\r\n\r\n")
    await reader.readuntil(b"second")


@pytest.mark.parametrize("way", ["http", "https", "https1"])
async def test_a_client_that_stops_reading_stops_the_origin(
    proxy: ProxyProcess, wires: Wires, origin: BackgroundOrigin, way: str
) -> None:
    before = proxy.memory()
    port = getattr(origin, way)
    path = f"/bytes/{GIGABYTE}?{way}"
    if way == "http":
        await wires.get(f"http://127.0.0.1:{port}{path}")
    else:
        _, writer = await wires.secure(f"localhost:{port}")
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    # What the sockets' buffers hold on the way, and a little more.
    assert await settled(await arrival(origin, path)) < 40 * MIB
    assert proxy.memory() - before < 16 * MIB


async def test_an_http_2_client_that_opens_no_window_stops_the_origin(
    proxy: ProxyProcess, wires: Wires, origin: BackgroundOrigin
) -> None:
    before = proxy.memory()
    path = f"/bytes/{GIGABYTE}?window"
    reader, writer = await wires.secure(f"localhost:{origin.https}", "h2")
    connection = h2.connection.H2Connection(h2.config.H2Configuration())
    connection.initiate_connection()
    authority = f"localhost:{origin.https}"
    head = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", path)]
    connection.send_headers(1, head, end_stream=True)
    writer.write(connection.data_to_send())
    received = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.DataReceived):
                        received += len(event.data or b"")
                writer.write(connection.data_to_send())
    assert received == 65535  # the window every stream begins with (RFC 9113, section 6.9.2)
    assert await settled(await arrival(origin, path)) < 20 * MIB
    assert proxy.memory() - before < 16 * MIB


async def test_an_origin_that_stops_reading_stops_the_client(
    proxy: ProxyProcess, wires: Wires
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        before = proxy.memory()
        _, writer = await wires.open()
        url = f"http://127.0.0.1:{port}/"
        head = f"POST {url} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {GIGABYTE}\r\n\r\n"
        writer.write(head.encode())
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < GIGABYTE:
                writer.write(b"x" * MIB)
                sent += MIB
                async with asyncio.timeout(1):
                    await writer.drain()
        assert sent < 40 * MIB
        assert proxy.memory() - before < 16 * MIB


async def test_memory_stays_flat_while_much_passes(
    proxy: ProxyProcess, wires: Wires, origin: BackgroundOrigin
) -> None:
    async def download() -> int:
        reader, _ = await wires.get(f"http://127.0.0.1:{origin.http}/bytes/{100 * MIB}")
        await reader.readuntil(b"\r\n\r\n")
        left = 100 * MIB
        while left:
            left -= len(await reader.read(MIB))
        return proxy.memory()

    first = await download()
    assert await download() - first < 16 * MIB


async def test_a_stream_that_is_reset_ends_the_work_at_the_origin(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    path = "/stall?reset-stream"
    async with proxy.client().tunnel(f"localhost:{origin.https1}") as session:
        task = asyncio.get_running_loop().create_task(session.request("GET", path))
        request = await arrival(origin, path)
        task.cancel()
        await closing(origin, request)
        assert (await session.request("GET", "/")).status == 200


@pytest.mark.parametrize("secure", [False, True], ids=["cleartext", "tls"])
async def test_a_client_that_resets_ends_the_work_at_the_origin(
    wires: Wires, origin: BackgroundOrigin, secure: bool
) -> None:
    path = f"/stall?reset-{secure}"
    if secure:
        _, writer = await wires.secure(f"localhost:{origin.https1}")
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{origin.https1}\r\n\r\n".encode())
    else:
        _, writer = await wires.get(f"http://127.0.0.1:{origin.http}{path}")
    request = await arrival(origin, path)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await closing(origin, request)


async def test_a_client_that_ends_its_side_still_gets_its_answer(
    wires: Wires, origin: BackgroundOrigin
) -> None:
    url = f"http://127.0.0.1:{origin.http}/slow?pieces=3&delay=0.1&half-closed"
    reader, writer = await wires.get(url)
    writer.write_eof()
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"piece 2\n" in answer
