"""What two parsers could read differently passes in neither direction; what is only odd, does.

Beside the parsers' own tests these look at what an origin really gets, byte for byte.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy_core.config import Limits
from tests.e2e.inside import Inside
from tests.net.wires import Peer
from tests.wire.test_http1_refusals import CHUNKS, REQUESTS, RESPONSES

LIMITS = Limits(head_bytes=8192, header_count=50, target_bytes=2048)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inside]:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Inside(tmp_path / "data", LIMITS)
    await made.open()
    yield made
    await made.close()


# --- the client's fault

MORE_REQUESTS = {
    "a target that is too long": b"GET /" + b"a" * 2048 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
    "too many fields": b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 50 + b"\r\n",
    "too long a head": b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 8192 + b"\r\n\r\n",
    "too long a head without an end": b"GET / HTTP/1.1\r\nA: " + b"b" * 8192,
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: h\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
    "HTTP/0.9": b"GET / HTTP/0.9\r\nHost: h\r\n\r\n",
    "CONNECT": b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
}
STATUSES = {
    "another coding before chunked": 501,
    "a version with more digits": 505,
    "a target that is too long": 414,
    "too many fields": 431,
    "too long a head": 431,
    "too long a head without an end": 431,
    "HTTP/2.0": 505,
    "HTTP/1.2": 505,
    "HTTP/0.9": 505,
    "CONNECT": 405,
}
"""What is not answered 400."""
REASONS = {
    "both lengths": "both Content-Length and Transfer-Encoding",
    "both lengths, the other way round": "both Content-Length and Transfer-Encoding",
    "the same length twice": "Content-Length is given twice",
    "two different lengths": "Content-Length is given twice",
    "chunked twice in two lines": "Transfer-Encoding is given twice",
    "a coding with a vertical tab": "a control character",
    "space before the colon": "white space before the colon",
    "tab before the colon": "white space before the colon",
    "obs-fold with a space": "obs-fold",
    "obs-fold with a tab": "obs-fold",
    "obs-fold of a length": "obs-fold",
    "a folded first line": "obs-fold",
    "bare LF after a field": "a bare LF",
    "bare LF after the request line": "a bare LF",
    "bare LF after the status line": "bare LF",
    "bare LF throughout": "a bare LF",
    "bare CR in a value": "a bare CR",
    "bare CR hiding a field": "a bare CR",
    "bare CR hiding a coding": "a bare CR",
    "bare CR at the start of a value": "a bare CR",
    "bare CR before the line's end": "a bare CR",
    "bare CR at the start of a line": "a bare CR",
    "bare CR in a name": "a bare CR",
    "NUL in a value": "a NUL",
    "NUL in a name": "a NUL",
    "DEL in a value": "a control character",
    "an escape in a value": "a control character",
    "no colon": "without a colon",
    "coding in HTTP/1.0": "Transfer-Encoding in an HTTP/1.0 message",
    "another coding before chunked": "only chunked is",
    "no Host": "Host is missing",
    "Host twice": "Host is given twice",
    "Host twice in HTTP/1.0": "Host is given twice",
    "a method that is no token": "the method is not a token",
    "no method": "the method is not a token",
    "a target that is too long": "at most 2048 pass",
    "too many fields": "at most 50 pass",
    "too long a head": "8192",
    "too long a head without an end": "8192",
    "CONNECT": "CONNECT is not taken here",
}
KINDS = {  # of those whose names begin so
    "a Host": "not a host and port",
    "two names": "not a host and port",
    "a name": "a header name that is not a token",
    "a name that": "not a host and port",
    "no name": "a header name that is not a token",
    "an empty length": "Content-Length is not a number",
    "a length": "Content-Length is not a number",
    "a list of lengths": "Content-Length is not a number",
    "a signed length": "Content-Length is not a number",
    "a negative length": "Content-Length is not a number",
    "a hexadecimal length": "Content-Length is not a number",
    "an unknown coding": "does not end in one chunked",
    "chunked": "does not end in one chunked",
    "identity": "does not end in one chunked",
    "a quoted coding": "does not end in one chunked",
    "a coding": "does not end in one chunked",
    "an empty coding": "does not end in one chunked",
    "HTTP/": "version not supported",
    "a version with more digits": "version not supported",
}


def reason_of(name: str) -> str:
    kinds = [reason for kind, reason in KINDS.items() if name.startswith(kind)]
    return REASONS.get(name) or (kinds[-1] if kinds else "")


async def test_request_that_is_refused_is_told_why_and_nothing_of_it_is_sent_on(
    inside: Inside,
) -> None:
    """Neither the request nor what a second parser would find behind it."""
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    for name, data in (REQUESTS | MORE_REQUESTS).items():
        client = inside.client(reverse=True)
        await client.send(data + smuggled)
        client.end()
        answer = await client.read_to_end()
        head, _, body = answer.partition(b"\r\n\r\n")
        status = STATUSES.get(name, 400)
        assert head.startswith(b"HTTP/1.1 %d " % status), (name, answer)
        assert b"\r\nConnection: close" in head, name
        assert reason_of(name) in body.decode(), (name, body)
        assert answer.count(b"\r\n\r\n") == 1, (name, answer)  # what is behind it gets none
        assert inside.origin.accept_nowait() is None, name
        assert reason_of(name) in await inside.failure(), name
        client.close()
    await inside.still_serves()


async def test_chunks_that_are_refused_do_not_make_a_whole_request(inside: Inside) -> None:
    for name, chunks in CHUNKS.items():
        client = inside.client(reverse=True)
        await client.send(
            b"POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        )
        client.end()
        head, body = await inside.answer(client)
        assert head.startswith(b"HTTP/1.1 400 "), name
        assert b"the client sent a bad body" in body, name
        assert b"bad body" in (await inside.failure()).encode(), name
        origin = await inside.origin.accept()
        try:
            got = await origin.read_to_end()
        except ConnectionResetError:
            got = b""
        assert got in (b"", b"hello") or got.endswith(b"\r\n"), name
        assert b"0\r\n\r\n" not in got, (name, got)
        client.close()
        origin.close()
    await inside.still_serves()


# --- the origin's fault


async def ask(inside: Inside, method: bytes = b"GET") -> tuple[Peer, Peer]:
    client = inside.client(reverse=True)
    await client.send(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
    origin = await inside.origin.accept()
    await origin.read_head()
    return client, origin


MORE_RESPONSES = {
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 51 + b"\r\n",
    "too long a head": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 8192 + b"\r\n\r\n",
    "too long a head without an end": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 8192,
    "an unasked upgrade": b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
}


async def test_response_that_is_refused_is_a_502_that_says_why(inside: Inside) -> None:
    for name, data in (RESPONSES | MORE_RESPONSES).items():
        client, origin = await ask(inside)
        await origin.send(data + b"smuggled")
        origin.end()
        head, body = await inside.answer(client)
        assert head.startswith(b"HTTP/1.1 502 "), (name, head)
        assert inside.origin.name in body, (name, body)
        reason = "" if name.startswith("HTTP/") else reason_of(name)
        assert reason in body.decode(), (name, body)
        assert b"smuggled" not in body, name
        assert reason in await inside.failure(), name
        # The client's connection goes on, on another one to the origin.
        origin.close()
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        origin = await inside.origin.accept()
        await origin.read_head()
        await origin.send(OK)
        assert (await inside.answer(client))[1] == b"ok", name
        client.close()
        origin.close()


async def test_chunks_that_are_refused_do_not_make_a_whole_response(inside: Inside) -> None:
    for name, chunks in CHUNKS.items():
        client, origin = await ask(inside)
        await origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        origin.end()
        answer = await client.read_to_end()
        assert answer.startswith(b"HTTP/1.1 200 "), (name, answer)
        assert not answer.endswith(b"\r\n0\r\n\r\n"), (name, answer)
        assert "cut its answer short" in await inside.failure(), name
        client.close()
        origin.close()
    await inside.still_serves()
