"""What is no plain exchange: bytes behind CONNECT, and WebSocket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest

from int3rceptor_tui.demo.certificate import OriginCertificate
from int3rceptor_tui.demo.listener import Listener
from tests.e2e.harness import BackgroundOrigin, ProxyProcess
from tests.e2e.wires import Wires


async def test_bytes_that_are_neither_http_nor_tls_are_tunnelled(
    wires: Wires, origin: BackgroundOrigin
) -> None:
    reader, writer = await wires.connect(f"127.0.0.1:{origin.echo}")
    payload = b"\x00\x01 no protocol at all \xff" * 20_000
    writer.write(payload)
    assert await reader.readline() == b"220 speak, friend\r\n"
    assert await reader.readexactly(len(payload)) == payload
    writer.write_eof()
    assert await reader.read() == b""


async def test_a_server_that_speaks_first_is_heard(wires: Wires, origin: BackgroundOrigin) -> None:
    reader, writer = await wires.connect(f"127.0.0.1:{origin.echo}")
    assert await reader.readline() == b"220 speak, friend\r\n"
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"


async def test_cleartext_http_inside_connect_is_understood(
    wires: Wires, origin: BackgroundOrigin
) -> None:
    reader, writer = await wires.connect(f"127.0.0.1:{origin.http}")
    writer.write(b"GET /api/users/7 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")


@pytest.fixture
async def greeter(certificate: OriginCertificate) -> AsyncIterator[int]:
    """A server that speaks first in TLS, says what ALPN chose, and echoes once."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        writer.write(f"220 {chosen}\r\n".encode())
        writer.write(await reader.read(65536))

    server = Listener(greet, certificate.server_context("imap", "mqtt"))
    yield server.open()
    await server.close()


@pytest.mark.parametrize(
    ("offered", "chosen"), [((), None), (("mqtt", "x"), "mqtt"), (("x",), None)], ids=str
)
async def test_what_is_no_http_in_tls_is_tunnelled_with_the_protocol_it_names(
    wires: Wires,
    proxy: ProxyProcess,
    greeter: int,
    offered: tuple[str, ...],
    chosen: str | None,
) -> None:
    reader, writer = await wires.connect(f"localhost:{greeter}")
    context = ssl.create_default_context(cafile=str(proxy.ca))
    if offered:
        context.set_alpn_protocols(offered)
    await writer.start_tls(context, server_hostname="localhost")
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
    assert await reader.readline() == f"220 {chosen}\r\n".encode()
    payload = b"\x10\x00 no protocol at all"
    writer.write(payload)
    assert await reader.readexactly(len(payload)) == payload
    writer.close()


async def test_who_types_a_request_in_tls_gets_an_answer_even_if_it_is_why_not(
    wires: Wires, proxy: ProxyProcess, greeter: int, origin: BackgroundOrigin
) -> None:
    for port, status in ((origin.https, b"HTTP/1.1 200"), (1, b"HTTP/1.1 502")):
        reader, writer = await wires.connect(f"localhost:{port}")
        context = ssl.create_default_context(cafile=str(proxy.ca))
        await writer.start_tls(context, server_hostname="localhost")
        await asyncio.sleep(0.4)  # longer than a client is waited for
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(status)


async def test_connect_to_nobody_is_answered_with_the_reason(wires: Wires) -> None:
    reader, writer = await wires.open()
    writer.write(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 200"):
        # The tunnel was granted before the origin was tried: what comes inside gets the answer.
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\nConnection: close\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502")
    assert b"127.0.0.1:1" in await reader.read()


async def test_a_web_socket_over_tls_passes(proxy: ProxyProcess, origin: BackgroundOrigin) -> None:
    # The origin would rather speak h2, over which this client knows no WebSocket.
    for port in (origin.https, origin.https1):
        async with proxy.client().web_socket(f"localhost:{port}", "/ws") as socket:
            assert await socket.say("hello") == "hello"
            assert await socket.say("x" * 200_000) == "x" * 200_000
            await socket.close()


@pytest.mark.parametrize("through", ["connect", "absolute-form"])
async def test_a_web_socket_in_cleartext_passes(
    wires: Wires, origin: BackgroundOrigin, through: str
) -> None:
    authority = f"127.0.0.1:{origin.http}"
    if through == "connect":
        reader, writer = await wires.connect(authority)
        target = "/ws"
    else:
        reader, writer = await wires.open()
        target = f"http://{authority}/ws"
    writer.write(
        f"GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    writer.write(bytes([0x81, 0x82, 0, 0, 0, 0]) + b"hi")  # a text frame, masked with zeros
    assert await reader.readexactly(4) == b"\x81\x02hi"


async def test_a_web_socket_that_is_refused_is_an_ordinary_answer(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    with pytest.raises(ConnectionRefusedError):
        async with proxy.client().web_socket(f"localhost:{origin.https1}", "/ws-not-here"):
            pass


async def test_a_client_that_offers_only_http_1_is_spoken_to_in_http_1(
    wires: Wires, origin: BackgroundOrigin
) -> None:
    for offered, spoken in ((["http/1.1"], "http/1.1"), (["h2"], "h2"), (["x", "h2"], "h2")):
        _, writer = await wires.secure(f"localhost:{origin.https}", *offered)
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == spoken
