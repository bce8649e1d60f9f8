"""Valid messages that only look odd are forwarded, normalised: what arrives is looked at."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy_core.config import Limits
from tests.e2e.inside import Inside
from tests.net.wires import Peer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inside]:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Inside(tmp_path / "data", Limits(unwanted_timeout=0.5))
    await made.open()
    yield made
    await made.close()


REQUESTS: dict[str, tuple[bytes, bytes]] = {
    "an empty line before the request line": (
        b"\r\nGET http://@/ HTTP/1.1\r\nHost: @\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\n\r\n",
    ),
    "a Host that disagrees": (
        b"GET http://@/ HTTP/1.1\r\nHost: other.example\r\nA: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\nA: b\r\n\r\n",
    ),
    "an empty Host": (
        b"GET http://@/ HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\n\r\n",
    ),
    "HTTP/1.0 without a Host": (
        b"GET http://@/ HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\n\r\n",
    ),
    "a target without a path": (
        b"GET http://@ HTTP/1.1\r\nHost: @\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\n\r\n",
    ),
    "a target with a query and no path": (
        b"GET http://@?a=b HTTP/1.1\r\nHost: @\r\n\r\n",
        b"GET /?a=b HTTP/1.1\r\nHost: @\r\n\r\n",
    ),
    "a scheme in capitals": (
        b"GET HTTP://@/ HTTP/1.1\r\nHost: @\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\n\r\n",
    ),
    "OPTIONS for the whole server": (
        b"OPTIONS http://@ HTTP/1.1\r\nHost: @\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: @\r\n\r\n",
    ),
    "OPTIONS with an asterisk": (
        b"OPTIONS * HTTP/1.1\r\nHost: @\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: @\r\n\r\n",
    ),
    "a method nobody knows": (
        b"BREW http://@/pot HTTP/1.1\r\nHost: @\r\n\r\n",
        b"BREW /pot HTTP/1.1\r\nHost: @\r\n\r\n",
    ),
    "fields for the next hop only": (
        b"GET http://@/ HTTP/1.1\r\nHost: @\r\nProxy-Connection: keep-alive\r\nKeep-Alive: 5\r\n"
        b"Connection: keep-alive, X-Private\r\nX-Private: 1\r\nProxy-Authorization: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\n\r\n",
    ),
    "Connection naming what a request needs": (
        b"GET http://@/ HTTP/1.1\r\nHost: @\r\nConnection: Host, Authorization\r\n"
        b"Authorization: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\nAuthorization: x\r\n\r\n",
    ),
    "TE with trailers": (
        b"GET http://@/ HTTP/1.1\r\nHost: @\r\nTE: gzip, trailers\r\nConnection: TE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\nConnection: TE\r\nTE: trailers\r\n\r\n",
    ),
    "white space round values": (
        b"GET http://@/ HTTP/1.1\r\nHost: @\r\nA: \t b \t\r\nB:c\r\nC:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\nA: \t b \t\r\nB:c\r\nC:\r\n\r\n",
    ),
    "bytes beyond ASCII in a value": (
        b"GET http://@/ HTTP/1.1\r\nHost: @\r\nA: \xff\xe4\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\nA: \xff\xe4\r\n\r\n",
    ),
    "a length for a body that is empty": (
        b"GET http://@/ HTTP/1.1\r\nHost: @\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\nContent-Length: 0\r\n\r\n",
    ),
    "a length with leading zeros": (
        b"POST http://@/ HTTP/1.1\r\nHost: @\r\nContent-Length: 0002\r\n\r\nhi",
        b"POST / HTTP/1.1\r\nHost: @\r\nContent-Length: 2\r\n\r\nhi",
    ),
    "a body of GET": (
        b"GET http://@/ HTTP/1.1\r\nHost: @\r\nContent-Length: 2\r\n\r\nhi",
        b"GET / HTTP/1.1\r\nHost: @\r\nContent-Length: 2\r\n\r\nhi",
    ),
    "chunk extensions, and trailers": (
        b"POST http://@/ HTTP/1.1\r\nHost: @\r\nTrailer: A\r\nTransfer-Encoding: CHUNKED\r\n\r\n"
        b'002;a=b\r\nhi\r\n0;c="d"\r\nA: b\r\n\r\n',
        b"POST / HTTP/1.1\r\nHost: @\r\nTrailer: A\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nhi\r\n0\r\nA: b\r\n\r\n",
    ),
    "trailers that only a head may have": (
        b"POST http://@/ HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\nContent-Length: 5\r\nHost: x\r\nB: c\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: @\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nB: c\r\n\r\n",
    ),
    "Expect without a body": (
        b"GET http://@/ HTTP/1.1\r\nHost: @\r\nExpect: 100-continue\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: @\r\nExpect: 100-continue\r\n\r\n",
    ),
}


async def test_odd_request_arrives_normalised(inside: Inside) -> None:
    name = inside.origin.name
    for what, (sent, expected) in REQUESTS.items():
        expected = expected.replace(b"@", name)
        client = inside.client()
        await client.send(sent.replace(b"@", name))
        origin = await inside.origin.accept()
        assert await origin.read_exactly(len(expected)) == expected, what
        await origin.send(OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))
        head, _ = await inside.answer(client)
        assert head.startswith(b"HTTP/1.1 200 "), what
        assert await origin.read_to_end() == b"", what  # and nothing behind it
        client.close()
        origin.close()


RESPONSES: dict[str, tuple[bytes, bytes, bytes]] = {
    "no reason": (
        b"GET",
        b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
    ),
    "an empty reason": (
        b"GET",
        b"HTTP/1.1 299 \r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 299 \r\nContent-Length: 2\r\n\r\nok",
    ),
    "HTTP/1.0 until the connection's end": (
        b"GET",
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    "HTTP/1.1 until the connection's end": (
        b"GET",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    "HEAD with a length": (
        b"HEAD",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
    ),
    "204 with a length": (
        b"GET",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ),
    "304 with a length": (
        b"GET",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: x\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: x\r\n\r\n",
    ),
    "103 before the answer": (
        b"GET",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
    ),
    "chunk extensions, and trailers": (
        b"GET",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n",
    ),
    "fields for the next hop only": (
        b"GET",
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: X-P\r\nX-P: 1\r\n"
        b"Content-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
}


async def test_odd_response_arrives_normalised_and_the_next_follows(inside: Inside) -> None:
    name = inside.origin.name
    for what, (method, sent, expected) in RESPONSES.items():
        client = inside.client()
        request = b"%b http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (method, name, name)
        await client.send(request)
        origin = await inside.origin.accept()
        await origin.read_head()
        await origin.send(sent)
        origin.end()
        assert await client.read_exactly(len(expected)) == expected, what
        await client.send(request)
        following = await inside.origin.accept()
        await following.read_head()
        await following.send(OK.replace(b"ok", b"") if method == b"HEAD" else OK)
        following.end()
        assert (await client.read_head()).startswith(b"HTTP/1.1 200 OK\r\n"), what
        for peer in (client, origin, following):
            peer.close()


# --- what takes several steps


def post(name: bytes, *lines: bytes) -> bytes:
    head = [b"POST http://%b/ HTTP/1.1" % name, b"Host: " + name, *lines]
    return b"\r\n".join(head) + b"\r\n\r\n"


async def test_pipelined_requests_arrive_one_after_the_other(inside: Inside) -> None:
    name = inside.origin.name
    client = inside.client()
    await client.send(
        post(name, b"Content-Length: 3") + b"one" + post(name, b"Content-Length: 3") + b"two"
    )
    client.end()
    origin = await inside.origin.accept()
    assert (await origin.read_until(b"one")).endswith(b"\r\n\r\none")
    assert not origin.buffer
    await origin.send(OK)
    assert (await origin.read_until(b"two")).startswith(b"POST / HTTP/1.1\r\n")
    await origin.send(OK.replace(b"ok", b"no"))
    assert await client.read_to_end() == OK + OK.replace(b"ok", b"no")


async def test_continue_comes_from_the_origin(inside: Inside) -> None:
    client = inside.client()
    await client.send(post(inside.origin.name, b"Expect: 100-continue", b"Content-Length: 2"))
    origin = await inside.origin.accept()
    assert b"Expect: 100-continue\r\n" in await origin.read_head()
    await origin.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert await client.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"hi")
    assert await origin.read_exactly(2) == b"hi"
    await origin.send(OK)
    assert await client.read_until(b"ok") == OK


@pytest.mark.parametrize(
    "lines",
    [[b"Expect: 100-Continue"], [b"Expect: 100-continue, x"], [b"Expect: 100-continue"] * 2],
)
async def test_origin_may_refuse_instead_of_saying_continue(
    inside: Inside, lines: list[bytes]
) -> None:
    client = inside.client()
    await client.send(post(inside.origin.name, *lines, b"Content-Length: 2"))
    origin = await inside.origin.accept()
    await origin.read_head()
    await origin.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
    head = await client.read_head()
    assert head.startswith(b"HTTP/1.1 417 No\r\n")
    assert b"\r\nConnection: close\r\n" in head
    # The client may or may not send its body now: nobody could tell what follows.
    assert await client.read_to_end() == b""
    with contextlib.suppress(ConnectionResetError):
        assert await origin.read_to_end() == b""


async def test_client_that_waits_for_no_continue_is_served(inside: Inside) -> None:
    client = inside.client()
    await client.send(post(inside.origin.name, b"Expect: 100-continue", b"Content-Length: 2"))
    origin = await inside.origin.accept()
    await origin.read_head()
    await client.send(b"hi")
    assert await origin.read_exactly(2) == b"hi"
    await origin.send(OK)
    assert await client.read_until(b"ok") == OK


async def test_answer_that_comes_while_the_body_is_sent_arrives(inside: Inside) -> None:
    client = inside.client()
    await client.send(post(inside.origin.name, b"Transfer-Encoding: chunked") + b"3\r\none\r\n")
    origin = await inside.origin.accept()
    await origin.read_until(b"one\r\n")
    await origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfrom\r\n")
    await client.read_until(b"from\r\n")
    await client.send(b"3\r\ntwo\r\n")  # both directions go on
    await origin.read_until(b"two\r\n")
    await client.send(b"0\r\n\r\n")
    await origin.read_until(b"0\r\n\r\n")
    await origin.send(b"0\r\n\r\n")
    assert await client.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"
    await client.send(post(inside.origin.name, b"Content-Length: 0"))
    await origin.read_head()  # on the same connection


async def test_answer_that_is_whole_before_the_body_ends_both_connections(inside: Inside) -> None:
    client = inside.client()
    await client.send(post(inside.origin.name, b"Content-Length: 100") + b"begun")
    origin = await inside.origin.accept()
    await origin.read_until(b"begun")
    await origin.send(b"HTTP/1.1 413 Enough\r\nContent-Length: 2\r\n\r\nno")
    head, body = await inside.answer(client)
    assert head.startswith(b"HTTP/1.1 413 Enough\r\n")
    assert body == b"no"
    assert await client.read_to_end() == b""
    with contextlib.suppress(ConnectionResetError):
        assert await origin.read_to_end() == b""


async def test_http_1_0_client_gets_what_it_understands(inside: Inside) -> None:
    name = inside.origin.name
    client = inside.client()
    await client.send(b"GET http://%b/ HTTP/1.0\r\n\r\n" % name)
    origin = await inside.origin.accept()
    await origin.read_head()
    await origin.send(
        b"HTTP/1.1 103 Early\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n"
    )
    assert await client.read_to_end() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"


# --- names


async def test_ipv6_literal_is_connected_to(inside: Inside) -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on loopback")
    with server:
        name = b"[::1]:%d" % server.getsockname()[1]
        client = inside.client()
        await client.send(b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (name, name))
        server.setblocking(False)
        sock, _ = await asyncio.get_running_loop().sock_accept(server)
        with sock:
            origin = Peer(sock)
            assert await origin.read_head() == b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % name
            await origin.send(OK)
            assert await client.read_until(b"ok") == OK


async def test_names_beyond_ascii_are_asked_for_as_dns_knows_them(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    real: Callable[..., Any] = socket.getaddrinfo

    def lookup(host: object, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    port = inside.origin.port
    client = inside.client()
    # Host may have it raw, where the target has no authority.
    await client.send(f"OPTIONS * HTTP/1.1\r\nHost: bücher.example:{port}\r\n\r\n".encode())
    origin = await inside.origin.accept()
    assert asked[-1] == "xn--bcher-kva.example"
    assert await origin.read_head() == (
        f"OPTIONS * HTTP/1.1\r\nHost: bücher.example:{port}\r\n\r\n".encode()
    )
    await origin.send(OK)
    await client.read_until(b"ok")
    # A target may not, and what it means is sent on as DNS knows it.
    await client.send(f"GET http://bücher.example:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    origin = await inside.origin.accept()
    name = f"xn--bcher-kva.example:{port}"
    assert await origin.read_head() == f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
    tunnel = inside.client()
    await tunnel.send(f"CONNECT bücher.example:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (await tunnel.read_head()).startswith(b"HTTP/1.1 200 ")
    await tunnel.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    origin = await inside.origin.accept()
    assert asked[-1] == "xn--bcher-kva.example"


async def test_absolute_form_of_https_is_spoken_in_tls(inside: Inside) -> None:
    name = inside.origin.name
    client = inside.client()
    await client.send(b"GET https://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (name, name))
    origin = await inside.origin.accept()
    assert (await origin.read_some())[:2] == b"\x16\x03"  # a handshake record
    origin.close()
    head, _ = await inside.answer(client)
    assert head.startswith(b"HTTP/1.1 502 ")
