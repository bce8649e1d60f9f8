"""The demo origin answers alike on every listener, and remembers exactly what it was sent."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import pytest

from int3rceptor_tui.demo import content
from int3rceptor_tui.demo.client import Answer, Http1Session, Http2Session, ProxyClient
from int3rceptor_tui.demo.messages import Fields
from int3rceptor_tui.demo.origin import DemoOrigin
from tests.waiting import until

WAYS = ["http", "https", "https1"]


class Visitor:
    """A session on one of the origin's listeners that hides where absolute-form is needed."""

    def __init__(self, session: Http1Session | Http2Session, prefix: str) -> None:
        self.session = session
        self._prefix = prefix

    async def request(
        self, method: str, path: str, fields: Fields = (), body: bytes = b""
    ) -> Answer:
        return await self.session.request(method, self._prefix + path, fields, body)


@asynccontextmanager
async def visit(client: ProxyClient, origin: DemoOrigin, way: str) -> AsyncIterator[Visitor]:
    port = getattr(origin, way)
    if way == "http":
        async with client.plain() as plain:
            yield Visitor(plain, f"http://127.0.0.1:{port}")
    else:
        async with client.tunnel(f"localhost:{port}") as session:
            yield Visitor(session, "")


@pytest.fixture(params=WAYS)
async def visitor(
    request: pytest.FixtureRequest, client: ProxyClient, origin: DemoOrigin
) -> AsyncIterator[Visitor]:
    async with visit(client, origin, request.param) as session:
        yield session


@pytest.mark.parametrize(
    ("path", "status", "media_type"),
    [
        ("/", 200, b"text/html; charset=utf-8"),
        ("/api/users?page=2", 200, b"application/json"),
        ("/api/users/17", 200, b"application/json"),
        ("/api/users/x", 404, b"application/json"),
        ("/assets/app.js", 200, b"text/javascript; charset=utf-8"),
        ("/images/logo.png", 200, b"image/png"),
        ("/pages/zstd", 200, b"text/html; charset=utf-8"),
        ("/pages/lzma", 404, b"application/json"),
        ("/status/503", 503, b"text/plain; charset=utf-8"),
        ("/status/abc", 404, b"application/json"),
        ("/redirect/2", 302, b"text/plain"),
        ("/events?count=2&delay=0", 200, b"text/event-stream"),
        ("/slow?pieces=2&delay=0", 200, b"text/plain; charset=utf-8"),
        ("/trailers", 200, b"text/plain; charset=utf-8"),
        ("/hints", 200, b"text/html; charset=utf-8"),
        ("/nothing/here", 404, b"application/json"),
    ],
)
async def test_pages_answer_on_every_listener(
    visitor: Visitor, path: str, status: int, media_type: bytes
) -> None:
    answer = await visitor.request("GET", path)
    assert (answer.status, dict(answer.fields)[b"content-type"]) == (status, media_type)


@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
async def test_answers_without_a_body_leave_the_connection_usable(
    visitor: Visitor, method: str
) -> None:
    assert (await visitor.request(method, "/api/users/3")).size == 0
    assert (await visitor.request("GET", "/status/304")).size == 0
    assert (await visitor.request("GET", "/api/users/3")).size > 0


async def test_echo_returns_the_body_and_upload_its_hash(visitor: Visitor) -> None:
    body = b"".join(content.pattern(300_000))
    echoed = await visitor.request("POST", "/echo", [(b"content-type", b"x/y")], body)
    assert (echoed.size, echoed.body) == (300_000, body[: len(echoed.body)])
    uploaded = await visitor.request("PUT", "/upload", (), body)
    assert json.loads(uploaded.body) == {
        "size": 300_000,
        "sha256": hashlib.sha256(body).hexdigest(),
    }


async def test_echo_tells_a_client_that_waits_to_send_its_body(origin: DemoOrigin) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", origin.http)
    fields = b"Host: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
    writer.write(b"POST /echo HTTP/1.1\r\n%b\r\n" % fields)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(b"hi")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert await reader.readexactly(2) == b"hi"
    writer.close()
    await writer.wait_closed()


async def test_downloads_have_the_size_asked_for(visitor: Visitor) -> None:
    assert (await visitor.request("GET", "/bytes/200001")).size == 200_001


async def test_a_reset_ends_the_request_not_the_origin(
    client: ProxyClient, origin: DemoOrigin
) -> None:
    for way in WAYS:
        for path in ("/reset", "/cut"):
            async with visit(client, origin, way) as visitor:
                with pytest.raises((ConnectionError, EOFError, h11.RemoteProtocolError)):
                    await visitor.request("GET", path)
    async with visit(client, origin, "http") as visitor:
        assert (await visitor.request("GET", "/")).status == 200


async def test_streams_of_one_connection_are_served_together(
    client: ProxyClient, origin: DemoOrigin
) -> None:
    async with visit(client, origin, "https") as visitor, asyncio.TaskGroup() as group:
        asked = [group.create_task(visitor.request("GET", "/together/8")) for _ in range(8)]
    assert {task.result().body for task in asked} == {b"8 together\n"}


async def test_a_web_socket_echoes(client: ProxyClient, origin: DemoOrigin) -> None:
    async with client.web_socket(f"localhost:{origin.https}", "/ws") as socket:
        assert await socket.say("hello") == "hello"
        assert await socket.say("ä" * 70_000) == "ä" * 70_000
        await socket.close()


async def test_the_listener_without_h2_speaks_http_1(
    client: ProxyClient, origin: DemoOrigin
) -> None:
    async with client.tunnel(f"localhost:{origin.https}") as session:
        assert isinstance(session, Http2Session)
    async with client.tunnel(f"localhost:{origin.https1}") as session:
        assert isinstance(session, Http1Session)


async def test_the_recording_keeps_spelling_order_and_repetition(
    client: ProxyClient, origin: DemoOrigin
) -> None:
    fields = [(b"X-Odd", b"1"), (b"x-odd", b"2"), (b"Accept", b"*/*")]
    async with visit(client, origin, "https1") as visitor:
        await visitor.request("GET", "/headers?q=1", fields)
    (record,) = origin.recording.of("/headers")
    assert record.target == b"/headers?q=1"
    assert record.fields[1:] == fields
    (connection,) = origin.recording.connections
    assert b"\r\nX-Odd: 1\r\nx-odd: 2\r\n" in connection.raw


async def test_the_recording_has_hashes_trailers_and_connections(
    client: ProxyClient, origin: DemoOrigin
) -> None:
    async with visit(client, origin, "https") as visitor:
        await visitor.request("POST", "/echo", (), b"abc")
        await visitor.request("POST", "/upload", (), b"abcd")
    records = list(origin.recording.requests)
    assert [record.size for record in records] == [3, 4]
    assert records[0].sha256 == hashlib.sha256(b"abc").hexdigest()
    assert records[0].connection == records[1].connection
    assert (b":method", b"POST") in records[0].fields


async def test_closing_the_origin_ends_requests_that_stall(
    client: ProxyClient, origin: DemoOrigin
) -> None:
    async def stall(way: str) -> None:
        async with visit(client, origin, way) as visitor:
            with pytest.raises((OSError, EOFError, h11.RemoteProtocolError)):
                await visitor.request("GET", "/stall")

    async with asyncio.TaskGroup() as group:
        for way in WAYS:
            group.create_task(stall(way))
        await until(lambda: len(origin.recording.requests) == 3)
        await origin.close()
    assert all(connection.closed for connection in origin.recording.connections)


def test_the_pattern_has_its_size_and_never_repeats_a_piece() -> None:
    pieces = list(content.pattern(3 * content.PIECE + 1))
    assert sum(map(len, pieces)) == 3 * content.PIECE + 1
    assert len(set(pieces)) == 4
    assert content.pattern_sha256(5) == hashlib.sha256(next(content.pattern(5))).hexdigest()


def test_encoders_undo() -> None:
    assert gzip.decompress(content.ENCODERS["gzip"](b"abc")) == b"abc"
