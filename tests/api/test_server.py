from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from proxy_core.api import server as server_module
from proxy_core.api.gate import Gate
from proxy_core.api.server import ApiServer
from proxy_core.control.local import LocalControl
from proxy_core.net.bound import Bound, bind
from proxy_core.net.guard import OwnAddresses
from tests.api.asgi import SECRET
from tests.control.cores import RunningCore
from tests.waiting import until

FIELDS = b"Host: localhost\r\nAuthorization: Bearer " + SECRET + b"\r\n"


class House:
    """A server over real sockets."""

    def __init__(self, core: RunningCore, bound: Bound) -> None:
        self.faults: list[BaseException] = []
        self.port = bound.sockets[0].getsockname()[1]
        control = LocalControl(core, core.loop)
        self.server = ApiServer(control, bound, Gate(SECRET), self.faults.append)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request: bytes) -> bytes:
        reader, writer = await self.open()
        writer.write(request)
        try:
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.fixture
async def house(core: RunningCore) -> AsyncIterator[House]:
    made = House(core, await bind("127.0.0.1", 0, "--api", OwnAddresses()))
    await made.server.start()
    yield made
    await made.server.stop()
    assert made.faults == []


async def until_cut_off(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


def get(path: str, fields: bytes = FIELDS) -> bytes:
    return b"GET %b HTTP/1.1\r\n%bConnection: close\r\n\r\n" % (path.encode(), fields)


async def test_requests_are_answered(house: House) -> None:
    answer = await house.ask(get("/api/plugins"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"server:" not in head.lower()
    assert json.loads(body)["total"] == 2


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/api/plugins", b"Host: localhost\r\n"), 401),
        (get("/api/plugins", FIELDS.replace(b"localhost", b"evil.example")), 403),
        (get("/api/plugins", FIELDS + b"Host: localhost\r\n"), 400),
        (get("/api/plugins", b""), 400),
        (b"GET /api/plugins HTTP/1.0\r\n\r\n", 400),
        (get("http://evil.example/api/plugins"), 404),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /api/" + b"x" * 20_000, 400),
        (get("/api/plugins", FIELDS + b"Upgrade: websocket\r\n"), 200),
        (
            b"POST /api/plugins/reload/alpha HTTP/1.1\r\n%b"
            b"Content-Length: 1000000000\r\n\r\n%b" % (FIELDS, b"x" * 100_000),
            413,
        ),
    ],
)
async def test_odd_requests_are_refused(house: House, request_bytes: bytes, status: int) -> None:
    answer = await house.ask(request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert SECRET not in answer


async def test_forwarded_fields_do_not_change_who_asks(house: House) -> None:
    fields = b"Host: evil.example\r\nX-Forwarded-Host: localhost\r\nForwarded: host=localhost\r\n"
    answer = await house.ask(get("/api/health", fields))
    assert answer.startswith(b"HTTP/1.1 403 ")


async def test_many_requests_share_a_connection(house: House) -> None:
    reader, writer = await house.open()
    for _ in range(3):
        writer.write(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readuntil(b"}")).endswith(b'"program":"int3rceptor"}')
    writer.close()


async def test_a_connection_that_asks_for_nothing_or_slowly_is_closed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "HEAD_SECONDS", 0.1)
    silent, slow = await house.open(), await house.open()
    slow[1].write(b"GET /api/health HTTP/1.1\r\nHo")
    for reader, writer in (silent, slow):
        assert await until_cut_off(reader) == b""
        writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        get("/api/plugins", FIELDS + b"Host: localhost\r\n"),
        get("/api/plugins", b""),
        b"GET /api/" + b"x" * 20_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
        b"POST /api/plugins/reload/alpha HTTP/1.1\r\n%bContent-Length: 5, 6\r\n\r\nhello" % FIELDS,
    ],
)
async def test_what_cannot_be_read_is_refused_in_json_and_fills_no_log(
    house: House, caplog: pytest.LogCaptureFixture, request_bytes: bytes
) -> None:
    answer = await house.ask(request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/json" in head
    assert "no HTTP request that can be read" in json.loads(body)["error"]
    assert caplog.records == []


async def test_who_asks_for_another_protocol_is_answered_in_this_one_and_fills_no_log(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    for protocol in (b"websocket", b"h2c"):
        fields = FIELDS + b"Connection: Upgrade\r\nUpgrade: %b\r\n" % protocol
        reader, writer = await house.open()
        writer.write(b"GET /api/health HTTP/1.1\r\n%b\r\n" % fields)
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()
    assert caplog.records == []


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
    ],
)
async def test_a_command_whose_body_is_broken_is_not_carried_out(
    house: House, core: RunningCore, body: bytes
) -> None:
    request = b"POST /api/plugins/alpha/disable HTTP/1.1\r\n%b" % FIELDS
    answer = await house.ask(request + body)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert core.plugins.by_name["alpha"].enabled


async def ask_health(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"}")


async def test_idle_connections_give_way_to_those_that_ask(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 2)
    kept = [await house.open() for _ in range(2)]
    for each in kept:
        await ask_health(*each)
    await ask_health(*kept[0])
    late = await house.open()
    assert await until_cut_off(kept[1][0]) == b""  # the one that is idle for longest
    for each in (kept[0], late):
        await ask_health(*each)
    for _, writer in (*kept, late):
        writer.close()


async def test_connections_beyond_a_number_are_closed_where_all_are_busy(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 2)
    streams = [await follow(house) for _ in range(2)]
    reader, writer = await house.open()
    assert await until_cut_off(reader) == b""
    writer.close()
    for _, each in streams:
        each.close()


async def follow(house: House) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await house.open()
    writer.write(b"GET /api/plugins/alpha/logs?follow=1 HTTP/1.1\r\n%b\r\n" % FIELDS)
    await reader.readuntil(b": following\n\n")
    return reader, writer


async def test_a_stop_ends_followers_cleanly_and_at_once(house: House, core: RunningCore) -> None:
    streams = [await follow(house) for _ in range(3)]
    core.log("last words")
    for reader, _ in streams:
        await reader.readuntil(b"last words")
    await house.server.stop()
    for reader, writer in streams:
        assert (await reader.read()).endswith(b"0\r\n\r\n")
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await house.open()
    await house.server.stop()


async def test_a_stop_does_not_wait_for_clients_that_do_not_read_or_work_that_takes_long(
    house: House, core: RunningCore, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = socket.create_connection(("127.0.0.1", house.port))
    deaf.sendall(b"GET /api/plugins/alpha/logs?follow=1&since=0 HTTP/1.1\r\n%b\r\n" % FIELDS)
    for _ in range(900):
        core.log("x" * 8000)
    core.plugins.stuck = asyncio.Event()
    _, writer = await house.open()
    writer.write(get("/api/plugins/discover"))
    await asyncio.to_thread(core.plugins.entered.wait)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        await house.server.stop()
    assert await asyncio.to_thread(core.plugins.cancelled.wait, 10)
    assert caplog.records == []
    deaf.close()
    writer.close()


async def test_a_server_that_dies_is_told_and_the_rest_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(self: object, counter: int) -> bool:
        raise KeyError("tick")

    monkeypatch.setattr(server_module._Server, "on_tick", die)
    await until(lambda: house.faults)
    assert isinstance(house.faults.pop(), KeyError)


async def test_signals_are_left_alone(house: House) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_core_without_the_api_does_not_load_its_server() -> None:
    code = (
        "import sys, proxy_core.core, int3rceptor_tui.serve, int3rceptor_tui.app\n"
        "print([name for name in ('uvicorn', 'starlette', 'anyio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
