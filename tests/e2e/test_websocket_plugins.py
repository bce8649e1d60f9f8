"""Plugins that edit, drop and trap over the messages of real WebSocket clients and servers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosedError
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from int3rceptor_tui.demo.certificate import OriginCertificate
from proxy_core.model.flow import FlowState
from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import PluginState
from tests.e2e.http2_websocket import Client
from tests.e2e.plugged import put_module
from tests.e2e.test_websocket import House, running
from tests.plugin_host.guests import importing, wasm

GET = importing("host_get_body", 3)
SET = importing("host_set_body", 2)
FIELD = importing("host_get_field", 3)

BY_FIRST_WORD = wasm(
    f"""(module {GET} {SET} {FIELD}
  (memory (export "memory") 40)
  (func (export "int3_abi_version") (result i32) i32.const 1)
  (func $begins (param i32) (result i32)
    (i32.eq (i32.load (i32.const 1024)) (local.get 0)))
  (func (export "on_websocket_message") (result i32) (local $n i32) (local $m i32)
    (i32.store (i32.const 1024) (i32.const 0))
    (local.set $n (call $get_body (i32.const 0) (i32.const 1024) (i32.const 2000000)))
    (if (call $begins (i32.const {int.from_bytes(b"drop", "little")})) (then
      (return (i32.const 1))))
    (if (call $begins (i32.const {int.from_bytes(b"trap", "little")})) (then unreachable))
    (if (call $begins (i32.const {int.from_bytes(b"void", "little")})) (then
      (drop (call $set_body (i32.const 0) (i32.const 0)))))
    (if (call $begins (i32.const {int.from_bytes(b"edit", "little")})) (then
      (i32.store8 (i32.add (i32.const 1024) (local.get $n)) (i32.const {ord("<")}))
      (local.set $m (call $get_field
        (i32.const 12) (i32.add (i32.const 1025) (local.get $n)) (i32.const 16)))
      (drop (call $set_body (i32.const 1024)
        (i32.add (i32.add (local.get $n) (local.get $m)) (i32.const 1))))))
    i32.const 0))"""
)
"""Drops, traps over, empties or marks with its direction what begins with that word."""


async def _talk(connection: ServerConnection) -> None:
    """Echo; `say X` is answered with X, `fragments` in several frames, `leave` with a close."""
    async for message in connection:
        word = message if isinstance(message, bytes) else message.encode()
        if word.startswith(b"say "):
            await connection.send(message[4:])
        elif word == b"fragments":
            await connection.send(["edit ", "in ", "pieces"])
        elif word == b"ping":
            await (await connection.ping(b"edit drop trap"))
            await connection.send("pong came")
        elif word == b"leave":
            await connection.close(4321, "edit me, drop me")
        else:
            await connection.send(message)


Enter = Callable[..., contextlib.AbstractAsyncContextManager[House]]


@pytest.fixture
def enter(certificate: OriginCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Runs a proxy with the plugin, and the servers; takes more lines of its manifest."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def start(manifest: str = "") -> contextlib.AbstractAsyncContextManager[House]:
        plugins = tmp_path / "plugins"
        put_module(plugins, "words", BY_FIRST_WORD, manifest)
        return running(certificate, tmp_path / "data", _talk, (plugins,))

    return start


class Talker:
    """A client over HTTP/1 or HTTP/2: sends a message in any frames, and hears the next."""

    def __init__(
        self,
        send: Callable[[Sequence[str | bytes]], Awaitable[None]],
        recv: Callable[[], Awaitable[str | bytes]],
        ping: Callable[[bytes], Awaitable[None]],
        extensions: str,
    ) -> None:
        self.send, self.recv, self.ping, self.extensions = send, recv, ping, extensions


@contextlib.asynccontextmanager
async def _over_http1(house: House, scheme: str, compress: bool) -> AsyncIterator[Talker]:
    async with house.connect(scheme, "deflate" if compress else None) as connection:

        async def send(parts: Sequence[str | bytes]) -> None:
            await connection.send(parts[0] if len(parts) == 1 else parts)

        async def ping(payload: bytes) -> None:
            await (await connection.ping(payload))

        assert connection.response is not None
        extensions = connection.response.headers.get("Sec-WebSocket-Extensions", "")
        yield Talker(send, connection.recv, ping, extensions)


@contextlib.asynccontextmanager
async def http2_client(house: House, compress: bool) -> AsyncIterator[Client]:
    """An open WebSocket over HTTP/2."""
    host, _, port = house.core.listening[0].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        authority = f"localhost:{house.ports['wss']}"
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await writer.start_tls(house.trusting("h2"), server_hostname="localhost")
        client = Client(reader, writer, compress=compress)
        await client.open(authority.encode(), b"/")
        assert client.status == b"200"
        yield client
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)  # the socket is closed on the loop's next turn


@contextlib.asynccontextmanager
async def _over_http2(house: House, compress: bool) -> AsyncIterator[Talker]:
    async with http2_client(house, compress) as client:

        async def send(parts: Sequence[str | bytes]) -> None:
            for number, part in enumerate(parts, 1):
                last = number == len(parts)
                if isinstance(part, str):
                    client.say(TextMessage(part, message_finished=last))
                else:
                    client.say(BytesMessage(part, message_finished=last))

        async def ping(payload: bytes) -> None:
            client.say(Ping(payload))
            await send(["say after the ping"])
            assert await client.hear() == "after the ping"
            assert client.pongs.pop() == payload

        yield Talker(send, client.hear, ping, client.extensions.decode())
        client.say(CloseConnection(1000))
        client.h2.end_stream(1)
        while not client.ended:
            await client.fill()


def over(house: House, way: str, compress: bool) -> contextlib.AbstractAsyncContextManager[Talker]:
    """Connect in the clear (`ws`), in TLS (`wss`), or in TLS over HTTP/2 (`h2`)."""
    return _over_http2(house, compress) if way == "h2" else _over_http1(house, way, compress)


each_way = pytest.mark.parametrize("way", ["ws", "wss", "h2"])
compressed_or_not = pytest.mark.parametrize("compress", [True, False], ids=["deflate", "plain"])


@compressed_or_not
@each_way
async def test_messages_are_edited_and_dropped_both_ways(
    enter: Enter, way: str, compress: bool
) -> None:
    async with enter() as house:
        async with over(house, way, compress) as client:
            assert ("permessage-deflate" in client.extensions) is compress
            for turn in range(5):
                await client.send([f"edit {turn}, and {turn} again"])
                marked = f"edit {turn}, and {turn} again<client<server"
                assert await client.recv() == marked
                await client.send([b"edit \0\xff", b"%d" % turn])
                assert await client.recv() == b"edit \0\xff%d<client<server" % turn
                await client.send([f"drop me on the way to the server, {turn}"])
                await client.send([b"say drop me on the way back"])
                await client.send(["say void what comes back"])
                assert await client.recv() == ""
                await client.send(["ed", "it ", "frag", "ments"])
                assert await client.recv() == "edit fragments<client<server"
                await client.send(["fragments"])
                assert await client.recv() == "edit in pieces<server"
                await client.send([f"as it is, {turn}, as it is"])
                assert await client.recv() == f"as it is, {turn}, as it is"
        shown, seen = await house.finished()
        assert (shown.summary.state, shown.summary.error) == (FlowState.DONE, None)
        assert shown.edited_by == ("plugin words",)
        edited = [(m.from_client, m.opcode, m.payload) for m in seen.messages if m.edited]
        assert edited[:5] == [
            (True, 1, b"edit 0, and 0 again<client"),
            (False, 1, b"edit 0, and 0 again<client<server"),
            (True, 2, b"edit \0\xff0<client"),
            (False, 2, b"edit \0\xff0<client<server"),
            (False, 1, b""),
        ]
        dropped = [(m.from_client, m.payload) for m in seen.messages if m.dropped]
        assert dropped[:2] == [
            (True, b"drop me on the way to the server, 0"),
            (False, b"drop me on the way back"),
        ]
        assert (len(edited), len(dropped)) == (5 * 8, 5 * 2)
        touched = [m for m in seen.messages if m.edited or m.dropped]
        assert {m.by for m in touched} == {("plugin words",)}
        assert {m.by for m in seen.messages if m not in touched} == {()}


@compressed_or_not
@each_way
async def test_control_frames_are_nobodys_messages(enter: Enter, way: str, compress: bool) -> None:
    async with enter() as house:
        async with over(house, way, compress) as client:
            await client.send(["edit"])
            assert await client.recv() == "edit<client<server"
            await client.ping(b"drop me")
            await client.send(["ping"])
            assert await client.recv() == "pong came"
            await client.ping(b"edit me")
        _, seen = await house.finished()
        control = [
            (m.from_client, m.opcode, m.payload) for m in seen.messages if m.opcode in (9, 10)
        ]
        assert control == [
            (True, 9, b"drop me"),
            (False, 10, b"drop me"),
            (False, 9, b"edit drop trap"),
            (True, 10, b"edit drop trap"),
            (True, 9, b"edit me"),
            (False, 10, b"edit me"),
        ]
        assert (seen.ended_by, seen.close_code) == ("client", 1000)


async def test_a_closing_goes_through_with_code_and_reason(enter: Enter) -> None:
    async with enter() as house:
        async with house.connect("wss") as connection:
            await connection.send("edit")
            assert await connection.recv() == "edit<client<server"
            await connection.send("leave")
            with pytest.raises(ConnectionClosedError):
                await connection.recv()
            assert (connection.close_code, connection.close_reason) == (4321, "edit me, drop me")
        _, seen = await house.finished()
        assert (seen.ended_by, seen.close_code) == ("server", 4321)


async def test_a_closing_goes_through_over_http2(enter: Enter) -> None:
    async with enter() as house, http2_client(house, compress=True) as client:
        client.say(TextMessage("leave"))
        closing: list[CloseConnection] = []
        while not closing:
            await client.fill()
            closing += [e for e in client.ws.events() if isinstance(e, CloseConnection)]
        assert (closing[0].code, closing[0].reason) == (4321, "edit me, drop me")


@compressed_or_not
@each_way
async def test_messages_pass_where_the_plugin_traps_and_where_it_is_in_quarantine(
    enter: Enter, way: str, compress: bool
) -> None:
    async with enter() as house:
        async with over(house, way, compress) as client:
            await client.send(["trap once"])  # and once more on the way back
            assert await client.recv() == "trap once"
            await client.send(["edit"])
            assert await client.recv() == "edit<client<server"
            (status,) = await house.core.control().plugins()
            assert (status.traps, status.state) == (2, PluginState.FAILING)
            await client.send(["say trap again"])
            assert await client.recv() == "trap again"
            (status,) = await house.core.control().plugins()
            assert status.state is PluginState.QUARANTINED
        shown, seen = await house.finished()
        assert shown.summary.error is None
        assert [m.payload for m in seen.messages if m.edited] == [
            b"edit<client",
            b"edit<client<server",
        ]
        errors = [
            line
            for line in house.core.plugins.logs.snapshot("words")
            if line.level is LogLevel.ERROR and "on_websocket_message trapped" in line.text
        ]
        assert len(errors) == 3
        assert {line.flow_id for line in errors} == {shown.summary.id}


async def test_messages_are_dropped_where_a_plugin_traps_that_must_not_fail(enter: Enter) -> None:
    async with enter('on_failure = "closed"') as house:
        async with house.connect("ws") as connection:
            await connection.send("trap")
            await connection.send("edit")
            assert await connection.recv() == "edit<client<server"
        _, seen = await house.finished()
        assert [m.payload for m in seen.messages if m.dropped] == [b"trap"]


async def test_text_stays_text(enter: Enter) -> None:
    async with enter() as house, house.connect("ws") as connection:
        text = "edit äöü €😀 " * 100_000
        await connection.send(text)
        assert await connection.recv() == text + "<client<server"


async def test_a_side_without_its_permission_is_not_edited(enter: Enter) -> None:
    async with (
        enter("[permissions]\nmodify_responses = false") as house,
        house.connect("wss") as connection,
    ):
        await connection.send("edit")
        assert await connection.recv() == "edit<client"


async def test_only_messages_that_the_filter_lets_through_are_shown(enter: Enter) -> None:
    async with (
        enter("filter = '~bs secret'") as house,
        house.connect("wss") as connection,
    ):
        await connection.send("edit a secret")
        assert await connection.recv() == "edit a secret<server"
        await connection.send("drop nothing")
        assert await connection.recv() == "drop nothing"
