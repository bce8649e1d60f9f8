"""A limit that is set in the settings is the one that holds: each tried with a small value."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import h2.events
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy_core.config import Limits
from proxy_core.model.message import PREVIEW
from proxy_core.net.clock import SWEEP_INTERVAL
from tests.e2e.inside import Inside
from tests.net.h2_peer import REQUEST, H2Peer
from tests.net.wires import Peer
from tests.waiting import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Opening = Callable[..., Awaitable[Inside]]


@pytest.fixture
async def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opening]:
    monkeypatch.setenv("HOME", str(tmp_path))
    made: list[Inside] = []

    async def open_one(**limits: float) -> Inside:
        inside = Inside(tmp_path / "data", Limits(**limits))  # type: ignore[arg-type]
        made.append(inside)
        await inside.open()
        return inside

    yield open_one
    for inside in made:
        await inside.close()


async def speak_http2(inside: Inside) -> H2Peer:
    client = H2Peer(inside.client(), client_side=True)
    await client.begin()
    await client.next(h2.events.RemoteSettingsChanged)
    return client


@asynccontextmanager
async def exchange(inside: Inside, answer: bytes = OK) -> AsyncIterator[tuple[Peer, Peer]]:
    """One request that has been answered, its connections still open."""
    client = inside.client(reverse=True)
    await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    origin = await inside.origin.accept()
    await origin.read_head()
    await origin.send(answer)
    await inside.answer(client)
    yield client, origin
    client.close()
    origin.close()


async def test_connections(opened: Opening) -> None:
    inside = await opened(connections=1)
    first = inside.client()
    await until(lambda: inside.core.counters.client_connections == 1)
    refused = await inside.client().read_to_end()
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert refused.endswith(b"1 are connected already; raise [limits] connections\n")
    first.close()
    await until(lambda: inside.core.counters.client_connections == 0)
    await inside.still_serves()


async def test_streams(opened: Opening) -> None:
    client = await speak_http2(await opened(streams=2))
    assert client.h2.remote_settings.max_concurrent_streams == 2


async def test_stream_buffer(opened: Opening) -> None:
    client = await speak_http2(await opened(stream_buffer=70_000))
    assert client.h2.remote_settings.initial_window_size == 70_000


@pytest.mark.parametrize(
    ("limits", "field", "status"),
    [
        ({"header_count": 3}, (b"x", b"y"), b"431"),
        ({"target_bytes": 4}, (b":path", b"/long"), b"414"),
    ],
)
async def test_heads_in_http_2(
    opened: Opening, limits: dict[str, int], field: tuple[bytes, bytes], status: bytes
) -> None:
    client = await speak_http2(await opened(**limits))
    fields = [pair for pair in REQUEST if pair[0] != field[0]]
    client.h2.send_headers(1, [*fields, field] if field[0] == b":path" else [*fields, *[field] * 4])
    await client.flush()
    answer = await client.next(h2.events.ResponseReceived, 1)
    assert (answer.headers or [])[0] == (b":status", status)


async def test_head_bytes_in_http_2(opened: Opening) -> None:
    client = await speak_http2(await opened(head_bytes=2000))
    assert client.h2.remote_settings[SettingCodes.MAX_HEADER_LIST_SIZE] == 2000
    client.h2.send_headers(1, [*REQUEST, (b"x", b"y" * 3000)])
    await client.flush()
    end = await client.next(h2.events.ConnectionTerminated)
    assert end.error_code == ErrorCodes.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(("budget", "cut"), [(100, True), (500, False)])
async def test_http2_budget(opened: Opening, budget: int, cut: bool) -> None:
    client = await speak_http2(await opened(http2_budget=budget, http2_forgiven=0))
    for _ in range(10):  # 10 points each
        client.h2.ping(b"12345678")
    await client.flush()
    if cut:
        end = await client.next(h2.events.ConnectionTerminated)
        assert end.error_code == ErrorCodes.ENHANCE_YOUR_CALM
    else:
        for _ in range(10):
            await client.next(h2.events.PingAckReceived)


async def test_http2_forgiven(opened: Opening) -> None:
    client = await speak_http2(await opened(http2_budget=100, http2_forgiven=1000))
    for _ in range(2):
        for _ in range(4):
            client.h2.ping(b"12345678")
        await client.flush()
        for _ in range(4):
            await client.next(h2.events.PingAckReceived)
        await asyncio.sleep(2 * SWEEP_INTERVAL)  # until the core's clock has moved


async def test_captured_body(opened: Opening) -> None:
    inside = await opened(captured_body=3)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"
    async with exchange(inside, answer):
        detail = await inside.flow()
    assert detail.response_body is not None
    assert (detail.response_body.kept, detail.response_body.size) == (b"who", 5)


async def test_captured_total(opened: Opening) -> None:
    inside = await opened(captured_total=2000)
    for _ in range(12):
        async with exchange(inside):
            pass
    flows = await inside.core.control().flows()
    assert 0 < len(flows) < 12
    assert flows[-1].id == 12


async def test_captured_total_of_flows_that_go_on(opened: Opening) -> None:
    inside = await opened(captured_total=300_000, captured_body=1024 * 1024)
    peers = []
    for _ in range(4):
        client = inside.client(reverse=True)
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        origin = await inside.origin.accept()
        await origin.read_head()
        await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200001\r\n\r\n")
        await origin.send(bytes(200_000))
        head = await client.read_head()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert await client.read_exactly(200_000) == bytes(200_000)  # whatever is kept of it
        peers += [(client, origin)]

    bodies = [flow.response_body for flow in inside.core.flows]
    assert [body.size for body in bodies] == [200_000] * 4
    await until(lambda: sum(body.kept_size for body in bodies) < 300_000)  # weighed now and then
    assert min(body.kept_size for body in bodies) == PREVIEW
    for client, origin in peers:
        client.close()
        origin.close()


@pytest.mark.parametrize(
    "limits", [{"upstream_idle_per_origin": 0}, {"upstream_idle_total": 0}], ids=str
)
async def test_upstream_idle_connections(opened: Opening, limits: dict[str, int]) -> None:
    inside = await opened(**limits)
    async with exchange(inside) as (_, origin):
        assert await origin.read_to_end() == b""


async def test_upstream_idle(opened: Opening) -> None:
    inside = await opened(upstream_idle=0.1)
    async with exchange(inside) as (_, origin):
        assert await origin.read_to_end() == b""


@asynccontextmanager
async def answered_early(inside: Inside, length: int) -> AsyncIterator[Peer]:
    """A client whose request is answered while its body is still to come."""
    client = inside.client(reverse=True)
    await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length)
    origin = await inside.origin.accept()
    await origin.read_head()
    await origin.send(OK)
    await inside.answer(client)
    yield client
    client.close()


async def test_unwanted_body(opened: Opening) -> None:
    async with answered_early(await opened(unwanted_body=10), 100) as client:
        await client.send(bytes(11))
        assert await client.read_to_end() == b""


async def test_unwanted_timeout(opened: Opening) -> None:
    async with answered_early(await opened(unwanted_timeout=0.1), 100) as client:
        assert await client.read_to_end() == b""
