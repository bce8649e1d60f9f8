from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.errors import RemoteProtocolError
from proxy_core.wire.events import RequestReceived, ResponseReceived
from proxy_core.wire.http1 import RequestReader, ResponseReader
from proxy_core.wire.http1_encode import encode_request_head

HOST = b"Host: o.example\r\n"


def read(raw: bytes, lenient: bool = True) -> RequestReceived:
    reader = RequestReader("http", lenient=lenient)
    reader.receive_data(raw)
    event = reader.next_event()
    assert isinstance(event, RequestReceived)
    return event


@pytest.mark.parametrize(
    ("raw", "sent", "note"),
    [
        (b"GET /a b HTTP/1.1\r\n" + HOST, b"GET /a%20b HTTP/1.1\r\n", "the first line was"),
        (b"GET /\xc3\xa4#x HTTP/1.1\r\n" + HOST, b"GET /%C3%A4 HTTP/1.1\r\n", "the first line"),
        (b"GET  /  HTTP/1.1\r\n" + HOST, b"GET / HTTP/1.1\r\n", "the first line was"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: 1\r\n 2\r\n", b"A: 1 2\r\n", "a line was folded"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A : 1\r\n", b"A: 1\r\n", "a space before the colon"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: x\x01y\r\n", b"A: x y\r\n", "control characters"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A(b): 1\r\n", b"GET /", "a line was left out"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"nothing\r\n", b"GET /", "a line was left out"),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST, b"Host: o.example\r\n", "came twice, alike"),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n" + HOST,
            b"Content-Length: 3\r\n",
            "came twice, alike",
        ),
    ],
)
def test_odd_heads_are_made_regular_and_told(raw: bytes, sent: bytes, note: str) -> None:
    with pytest.raises(RemoteProtocolError):
        read(raw + b"\r\n", lenient=False)
    received = read(raw + b"\r\n")
    assert any(note in odd for odd in received.oddities)
    encoded = encode_request_head(received.head, received.length)
    assert sent in encoded
    assert read(encoded, lenient=False).oddities == ()


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 3\r\nContent-Length: 4\r\n" + HOST,
        b"Content-Length : 3\r\n" + HOST,
        b"Content-Length: 3\r\n 4\r\n" + HOST,
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" + HOST,
        b"Transfer-Encoding : chunked\r\n" + HOST,
        b"Transfer-Encoding: chunked, identity\r\n" + HOST,
        b"Transfer-Encoding: \x0bchunked\r\n" + HOST,
        b"X(content-length): 3\r\n" + HOST,
        b"transfer-encoding chunked\r\n" + HOST,
        b"Host: a\r\nHost: b\r\n",
        b"Host : a\r\n",
        b"Connection: x\r\n close\r\n" + HOST,
        b" folded: first\r\n" + HOST,
        b"A: bare\rreturn\r\n" + HOST,
        b"A: bare\nline\r\n" + HOST,
    ],
)
def test_what_frames_or_routes_stays_refused(lines: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read(b"POST / HTTP/1.1\r\n" + lines + b"\r\n")


def test_regular_heads_are_read_as_ever() -> None:
    raw = b"GET http://o.example/ HTTP/1.1\r\n" + HOST + b"\r\n"
    assert read(raw).oddities == ()
    assert read(raw).clean == read(raw, lenient=False).clean


def test_responses_are_softened_too() -> None:
    raw = b"HTTP/1.1  200  O\x01K\r\nA : 1\r\nContent-Length: 2\r\n\r\nok"
    reader = ResponseReader(lenient=True)
    reader.receive_data(raw)
    event = reader.next_event()
    assert isinstance(event, ResponseReceived)
    assert (event.head.status, event.length, len(event.oddities)) == (200, 2, 2)
    strict = ResponseReader()
    strict.receive_data(raw)
    with pytest.raises(RemoteProtocolError):
        strict.next_event()


@given(st.binary(max_size=80))
def test_whatever_passes_passes_the_strict_reading_afterwards(junk: bytes) -> None:
    raw = b"GET / HTTP/1.1\r\n" + HOST + junk.replace(b"\r\n\r\n", b"") + b"\r\n\r\n"
    try:
        received = read(raw)
    except (RemoteProtocolError, AssertionError):
        return
    again = read(encode_request_head(received.head, received.length), lenient=False)
    assert (again.length, again.head.authority) == (received.length, received.head.authority)
