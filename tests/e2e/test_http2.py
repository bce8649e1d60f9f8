"""HTTP/2 through the proxy: streams that are really concurrent, whatever the origin speaks."""

from __future__ import annotations

import asyncio
import json

import pytest

from int3rceptor_tui.demo import content
from int3rceptor_tui.demo.client import Http1Session, Http2Session
from tests.e2e.harness import BackgroundOrigin, ProxyProcess


@pytest.mark.parametrize("way", ["https", "https1"])
async def test_streams_of_one_connection_wait_for_each_other_at_the_origin(
    proxy: ProxyProcess, origin: BackgroundOrigin, way: str
) -> None:
    port = getattr(origin, way)
    async with proxy.client().tunnel(f"localhost:{port}") as session:
        assert isinstance(session, Http2Session)
        # No one of them is answered before all of them have reached the origin.
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(session.request("GET", "/together/20")) for _ in range(20)]
    assert {task.result().body for task in asked} == {b"20 together\n"}


async def test_streams_share_one_connection_to_an_http_2_origin(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    tunnel = proxy.client().tunnel(f"localhost:{origin.https}")
    async with tunnel as session, asyncio.TaskGroup() as group:
        asked = [group.create_task(session.request("GET", "/connection")) for _ in range(20)]
    assert len({task.result().body for task in asked}) == 1


async def test_a_slow_stream_does_not_hold_up_the_others(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    tunnel = proxy.client().tunnel(f"localhost:{origin.https}")
    async with tunnel as session, asyncio.TaskGroup() as group:
        stalled = group.create_task(session.request("GET", "/stall"))
        for _ in range(20):
            assert (await session.request("GET", "/api/users/7")).status == 200
        assert not stalled.done()
        stalled.cancel()


async def test_big_bodies_interleave_and_arrive_whole(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    body = b"".join(content.pattern(1_500_000))
    tunnel = proxy.client().tunnel(f"localhost:{origin.https}")
    async with tunnel as session, asyncio.TaskGroup() as group:
        down = [group.create_task(session.request("GET", "/bytes/1500000")) for _ in range(4)]
        up = [group.create_task(session.request("PUT", "/upload", (), body)) for _ in range(4)]
    assert {task.result().size for task in down} == {1_500_000}
    expected = {"size": 1_500_000, "sha256": content.pattern_sha256(1_500_000)}
    assert [json.loads(task.result().body) for task in up] == [expected] * 4


@pytest.mark.parametrize("way", ["https", "https1"])
async def test_a_reset_by_the_origin_ends_its_stream_alone(
    proxy: ProxyProcess, origin: BackgroundOrigin, way: str
) -> None:
    port = getattr(origin, way)
    async with proxy.client().tunnel(f"localhost:{port}") as session:
        refused = await session.request("GET", "/reset")
        assert refused.status == 502
        with pytest.raises(ConnectionResetError):
            await session.request("GET", "/cut")
        assert (await session.request("GET", "/")).status == 200


async def test_a_reset_by_the_client_reaches_an_http_2_origin(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    async with proxy.client().tunnel(f"localhost:{origin.https}") as session:
        connection = int((await session.request("GET", "/connection")).body)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await session.request("GET", "/stall")
        # The stream is gone at both ends; the connection upstream goes on.
        assert int((await session.request("GET", "/connection")).body) == connection


async def test_fields_of_http_2_become_fields_of_http_1(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    crumbs = [(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-twice", b"1"), (b"x-twice", b"2")]
    async with proxy.client().tunnel(f"localhost:{origin.https1}") as session:
        assert (await session.request("GET", "/headers?crumbs", crumbs)).status == 200
    (record,) = [r for r in origin.recording.of("/headers") if r.target == b"/headers?crumbs"]
    assert record.version == "HTTP/1.1"
    assert record.values(b"host") == [b"localhost:%d" % origin.https1]
    assert record.values(b"cookie") == [b"a=1; b=2"]
    assert record.values(b"x-twice") == [b"1", b"2"]
    assert not [name for name, _ in record.fields if name.startswith(b":")]


async def test_fields_of_http_1_become_fields_of_http_2(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    fields = [(b"X-Mixed-Case", b"1"), (b"Connection", b"close, X-Gone"), (b"X-Gone", b"2")]
    async with proxy.client("http/1.1").tunnel(f"localhost:{origin.https}") as session:
        assert isinstance(session, Http1Session)
        assert (await session.request("GET", "/headers?lower", fields)).status == 200
    (record,) = [r for r in origin.recording.of("/headers") if r.target == b"/headers?lower"]
    assert record.version == "HTTP/2"
    names = [name for name, _ in record.fields]
    assert sorted(names[:4]) == [b":authority", b":method", b":path", b":scheme"]
    assert b"x-mixed-case" in names
    assert not {b"connection", b"x-gone", b"host", b"X-Mixed-Case"} & set(names)
