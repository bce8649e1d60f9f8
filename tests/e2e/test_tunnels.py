"""What is no plain exchange: bytes behind CONNECT, and WebSocket."""

from __future__ import annotations

import ssl

import pytest

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
