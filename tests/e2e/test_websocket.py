"""WebSockets of a real client and a real server, through a proxy that reads every message."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosedError

from int3rceptor_tui.demo.certificate import OriginCertificate
from proxy_core.config import Settings
from proxy_core.control.views import FlowDetail, WebSocketView
from proxy_core.core import Core
from proxy_core.errors import ControlError
from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.model.verdict import CONTINUE, Block, Hold, Verdict
from proxy_core.model.websocket import WebSocketMessage
from tests.waiting import until

BIG = 1_000_000


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        if message == "ping me":
            await (await connection.ping(b"are you there"))
            await connection.send("you are")
        elif message == "fragments":
            await connection.send([b"one ", b"and ", b"two"])
        elif message == "leave me":
            await connection.close(4321, "as you like")
        else:
            await connection.send(message)


class House:
    """A proxy in this process, and an echo server in the clear or behind TLS."""

    def __init__(self, core: Core, ports: dict[str, int]) -> None:
        self.core = core
        self.ports = ports

    @contextlib.asynccontextmanager
    async def connect(
        self, scheme: str, compression: str | None = "deflate"
    ) -> AsyncIterator[ClientConnection]:
        context = self.trusting() if scheme == "wss" else None
        proxy = f"http://{self.core.listening[0]}"
        url = f"{scheme}://localhost:{self.ports[scheme]}/"
        async with connect(
            url, proxy=proxy, ssl=context, compression=compression, max_size=None
        ) as connection:
            yield connection

    def trusting(self, *alpn: str) -> ssl.SSLContext:
        """A client's TLS context that trusts the proxy."""
        context = ssl.create_default_context(cafile=self.core.ca_path)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def web_sockets(self) -> list[Flow]:
        return [flow for flow in self.core.flows if flow.kind is FlowKind.WEBSOCKET]

    async def finished(self) -> tuple[FlowDetail, WebSocketView]:
        """The only WebSocket, when it is over."""
        await until(lambda: self.web_sockets() and self.web_sockets()[0].ended)
        (flow,) = self.web_sockets()
        shown = await self.core.control().flow(flow.id)
        assert shown is not None
        assert shown.web_socket is not None
        return shown, shown.web_socket


@contextlib.asynccontextmanager
async def running(
    certificate: OriginCertificate,
    data_dir: Path,
    talk: Callable[[ServerConnection], Awaitable[None]] = _echo,
    plugins: tuple[Path, ...] = (),
    **settings: Any,
) -> AsyncIterator[House]:
    """A proxy with these settings, and servers that say what `talk` says."""
    core = Core(
        Settings(
            listen_port=0,
            data_dir=data_dir,
            upstream_ca=certificate.ca_file,
            plugins=plugins,
            **settings,
        )
    )
    async with contextlib.AsyncExitStack() as stack:
        clear = await stack.enter_async_context(serve(talk, "127.0.0.1", 0, max_size=None))
        context = certificate.server_context("http/1.1")
        secure = await stack.enter_async_context(
            serve(talk, "127.0.0.1", 0, ssl=context, max_size=None)
        )
        await core.start()
        stack.push_async_callback(core.stop)
        yield House(core, {"ws": _port(clear), "wss": _port(secure)})


@pytest.fixture
async def house(
    certificate: OriginCertificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    monkeypatch.setenv("HOME", str(tmp_path))  # where plugins would be looked for
    async with running(certificate, tmp_path) as house:
        yield house


def _port(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_messages_of_every_kind_pass_and_are_seen(
    house: House, scheme: str, compression: str | None
) -> None:
    async with house.connect(scheme, compression) as connection:
        agreed = (connection.response.headers if connection.response else {}).get(
            "Sec-WebSocket-Extensions", ""
        )
        assert ("permessage-deflate" in agreed) is (compression is not None)
        for message in ("hello", "hello again, and again hello", b"\0\1\2", "", "äß€😀"):
            await connection.send(message)
            assert await connection.recv() == message
        await connection.send(["in ", "three ", "fragments"])
        assert await connection.recv() == "in three fragments"
        await connection.send("fragments")
        assert await connection.recv() == b"one and two"
        await connection.send("ping me")
        assert await connection.recv() == "you are"
        await (await connection.ping(b"and you"))
    shown, seen = await house.finished()
    assert shown.summary.state is FlowState.DONE
    assert shown.summary.error is None
    told = [(m.from_client, m.opcode, m.payload) for m in seen.messages]
    assert told[:2] == [(True, 1, b"hello"), (False, 1, b"hello")]
    assert (True, 1, b"in three fragments") in told
    assert (False, 2, b"one and two") in told
    assert [m for m in told if m[1] in (9, 10)] == [
        (False, 9, b"are you there"),
        (True, 10, b"are you there"),
        (True, 9, b"and you"),
        (False, 10, b"and you"),
    ]
    data = [message for message in seen.messages if message.opcode < 8]
    assert all(message.compressed is (compression is not None) for message in data)
    assert (seen.ended_by, seen.close_code) == ("client", 1000)


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_large_messages_pass_and_are_measured(house: House, compression: str | None) -> None:
    text = "0123456789abcdef" * (BIG // 16)
    async with house.connect("wss", compression) as connection:
        for message in (text, text.encode(), text):
            await connection.send(message)
            assert await connection.recv() == message
    _, seen = await house.finished()
    assert [m.size for m in seen.messages if m.opcode < 8] == [BIG] * 6


async def test_the_server_closes_with_a_code_and_a_reason(house: House) -> None:
    async with house.connect("ws") as connection:
        await connection.send("leave me")
        with pytest.raises(ConnectionClosedError):
            await connection.recv()
        assert (connection.close_code, connection.close_reason) == (4321, "as you like")
    shown, seen = await house.finished()
    assert (seen.ended_by, seen.close_code, seen.close_reason) == ("server", 4321, "as you like")
    assert shown.summary.error is None


async def test_who_goes_without_a_word_is_seen_to(house: House) -> None:
    async with house.connect("ws") as connection:
        await connection.send("hello")
        await connection.recv()
        connection.transport.abort()
        await connection.wait_closed()
    _, seen = await house.finished()
    assert (seen.ended_by, seen.close_code) == ("client", 1006)


async def test_a_client_that_breaks_the_protocol_is_told(house: House) -> None:
    async with house.connect("ws", None) as connection:
        connection.transport.write(b"\x81\x05hello")  # not masked
        with pytest.raises(ConnectionClosedError) as told:
            await connection.recv()
        assert told.value.rcvd is not None
        assert told.value.rcvd.code == 1002
    shown, seen = await house.finished()
    assert shown.summary.state is FlowState.FAILED
    assert (seen.ended_by, seen.close_code) == ("proxy", 1002)


async def test_hooks_edit_drop_and_answer_compressed_messages(house: House) -> None:
    core = house.core

    async def censor(flow: Flow, message: WebSocketMessage) -> Verdict:
        if message.payload == b"drop me":
            await core.web_sockets.inject(flow.id, not message.from_client, 1, b"dropped, sorry")
            return Block("test")
        message.payload = message.payload.replace(b"secret", b"******")
        return CONTINUE

    core.hooks.websocket_message = censor
    async with house.connect("wss") as connection:
        for number in range(20):
            await connection.send(f"a secret, number {number}, and what follows it")
            assert await connection.recv() == f"a ******, number {number}, and what follows it"
            await connection.send("drop me")
            assert await connection.recv() == "dropped, sorry"
            await connection.send("left as it is, left as it is")
            assert await connection.recv() == "left as it is, left as it is"
        core.hooks.websocket_message = None
        await connection.send("a secret " * 1000)
        assert await connection.recv() == "a secret " * 1000
    _, seen = await house.finished()
    assert sum(message.dropped for message in seen.messages) == 20
    assert sum(message.injected for message in seen.messages) == 20
    assert sum(message.edited for message in seen.messages) == 20


async def test_a_console_sends_messages_into_either_direction(house: House) -> None:
    control = house.core.control()
    async with house.connect("wss") as connection:
        await connection.send("hello")
        assert await connection.recv() == "hello"
        (flow,) = house.web_sockets()
        await control.inject_message(flow.id, False, 2, b"\0from the console")
        assert await connection.recv() == b"\0from the console"
        await control.inject_message(flow.id, True, 1, b"echo me")
        assert await connection.recv() == "echo me"
        with pytest.raises(ControlError, match="could not be sent to the client"):
            await control.inject_message(flow.id, False, 1, b"\xff")
    _, seen = await house.finished()
    assert [(m.from_client, m.payload) for m in seen.messages if m.injected] == [
        (False, b"\0from the console"),
        (True, b"echo me"),
    ]
    with pytest.raises(ControlError, match="no open WebSocket"):
        await control.inject_message(flow.id, False, 1, b"too late")


async def test_a_message_is_held_until_a_console_resumes_its_flow(house: House) -> None:
    core, control = house.core, house.core.control()

    async def hold(flow: Flow, message: WebSocketMessage) -> Verdict:
        return Hold("test") if message.payload == b"wait" else CONTINUE

    core.hooks.websocket_message = hold
    async with house.connect("ws") as connection:
        (flow,) = house.web_sockets()

        def waits(from_client: bool) -> bool:
            message = flow.web_socket and flow.web_socket.held
            return bool(message and message.from_client is from_client)

        await connection.send("wait")
        await connection.send("behind it")
        for from_client in (True, False):  # the echo is held again, on its way back
            await until(partial(waits, from_client))
            shown = await control.flow(flow.id)
            assert shown is not None
            assert shown.web_socket is not None
            last = shown.web_socket.messages[-1]
            assert (last.payload, last.held, last.from_client) == (b"wait", True, from_client)
            assert shown.summary.state is FlowState.HELD
            assert control.status().held == 1
            assert await control.resume_flows([flow.id]) == 1
        assert await connection.recv() == "wait"
        assert await connection.recv() == "behind it"
        assert flow.state is FlowState.ACTIVE
        await connection.send("wait")
        await until(lambda: waits(True))
        assert await control.kill_flows([flow.id]) == 1
        with pytest.raises(ConnectionClosedError):
            await connection.recv()
    shown, seen = await house.finished()
    assert shown.summary.error == "killed by the user"
    assert control.status().held == 0
    assert [(m.payload, m.by) for m in seen.messages if m.dropped] == [(b"wait", ("the user",))]


async def test_many_messages_both_ways_at_once_arrive_in_order(house: House) -> None:
    sent = [f"message {number}" * (number % 50) for number in range(2000)]
    async with house.connect("ws") as connection:

        async def listen() -> list[str | bytes]:
            return [await connection.recv() for _ in sent]

        async with asyncio.TaskGroup() as group:
            listening = group.create_task(listen())
            for message in sent:
                await connection.send(message)
        assert listening.result() == sent
    _, seen = await house.finished()
    assert len(seen.messages) + seen.forgotten == 2 * len(sent) + 2
