"""What is no plain exchange: bytes behind CONNECT, and WebSocket."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from tests.e2e.harness import BackgroundOrigin, ProxyProcess


async def connect(
    proxy: ProxyProcess, authority: str
) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """Send CONNECT; return the status line and the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    return head.partition(b"\r\n")[0], reader, writer


async def test_bytes_that_are_neither_http_nor_tls_are_tunnelled(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    status, reader, writer = await connect(proxy, f"127.0.0.1:{origin.echo}")
    assert status.startswith(b"HTTP/1.1 200")
    payload = b"\x00\x01 no protocol at all \xff" * 20_000
    writer.write(payload)
    assert await reader.readline() == b"220 speak, friend\r\n"
    assert await reader.readexactly(len(payload)) == payload
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_server_that_speaks_first_is_heard(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    status, reader, writer = await connect(proxy, f"127.0.0.1:{origin.echo}")
    assert status.startswith(b"HTTP/1.1 200")
    assert await reader.readline() == b"220 speak, friend\r\n"
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.transport.abort()


async def test_cleartext_http_inside_connect_is_understood(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    _, reader, writer = await connect(proxy, f"127.0.0.1:{origin.http}")
    writer.write(b"GET /api/users/7 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_connect_to_nobody_is_answered_with_the_reason(proxy: ProxyProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 200"):
        # The tunnel was granted before the origin was tried: what comes inside gets the answer.
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\nConnection: close\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502")
    assert b"127.0.0.1:1" in await reader.read()
    writer.close()


async def test_a_web_socket_over_tls_passes(proxy: ProxyProcess, origin: BackgroundOrigin) -> None:
    # The origin would rather speak h2, over which this client knows no WebSocket.
    for port in (origin.https, origin.https1):
        async with proxy.client().web_socket(f"localhost:{port}", "/ws") as socket:
            assert await socket.say("hello") == "hello"
            assert await socket.say("x" * 200_000) == "x" * 200_000
            await socket.close()


@pytest.mark.parametrize("through", ["connect", "absolute-form"])
async def test_a_web_socket_in_cleartext_passes(
    proxy: ProxyProcess, origin: BackgroundOrigin, through: str
) -> None:
    authority = f"127.0.0.1:{origin.http}"
    if through == "connect":
        _, reader, writer = await connect(proxy, authority)
        target = "/ws"
    else:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
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
    writer.transport.abort()


async def test_a_web_socket_that_is_refused_is_an_ordinary_answer(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    with pytest.raises(ConnectionRefusedError):
        async with proxy.client().web_socket(f"localhost:{origin.https1}", "/ws-not-here"):
            pass


async def test_a_client_that_offers_only_http_1_is_spoken_to_in_http_1(
    proxy: ProxyProcess, origin: BackgroundOrigin
) -> None:
    for offered, spoken in ((["http/1.1"], "http/1.1"), (["h2"], "h2"), (["x", "h2"], "h2")):
        _, _, writer = await connect(proxy, f"localhost:{origin.https}")
        await writer.start_tls(proxy.context(*offered), server_hostname="localhost")
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == spoken
        writer.transport.abort()
