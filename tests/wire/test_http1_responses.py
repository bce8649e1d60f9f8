"""Responses: what is read of them, and what request they answer decides how (RFC 9112, 6.3)."""

from __future__ import annotations

import pytest

from proxy_core.wire.events import CHUNKED, UNTIL_CLOSE, ResponseReceived
from proxy_core.wire.http1 import ResponseReader
from tests.wire.http1_reading import every_split, read_responses

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CHUNKY = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n"
TO_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\nas long as it lasts"


def head_of(data: bytes, method: bytes = b"GET") -> ResponseReceived:
    reader = ResponseReader()
    reader.expect(method)
    reader.receive_data(data)
    event = reader.next_event()
    assert isinstance(event, ResponseReceived)
    return event


@pytest.mark.parametrize(
    ("line", "version", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK", "HTTP/1.1", 200, b"OK"),
        (b"HTTP/1.0 404 Not Found", "HTTP/1.0", 404, b"Not Found"),
        (b"HTTP/1.1 299 ", "HTTP/1.1", 299, b""),
        (b"HTTP/1.1 204", "HTTP/1.1", 204, b""),
        (b"HTTP/1.1 600 Odd", "HTTP/1.1", 600, b"Odd"),
        (b"HTTP/1.1 999 Request denied", "HTTP/1.1", 999, b"Request denied"),
        (b"HTTP/1.1 500 \xc3\xa4 \t!", "HTTP/1.1", 500, b"\xc3\xa4 \t!"),
    ],
)
def test_status_lines_are_read(line: bytes, version: str, status: int, reason: bytes) -> None:
    head = head_of(line + b"\r\n\r\n").head
    assert (head.version, head.status, head.reason) == (version, status, reason)


@pytest.mark.parametrize(
    ("method", "status", "fields", "length"),
    [
        (b"GET", 200, b"Content-Length: 7\r\n", 7),
        (b"GET", 200, b"Transfer-Encoding: chunked\r\n", CHUNKED),
        (b"GET", 200, b"", UNTIL_CLOSE),
        (b"GET", 204, b"Content-Length: 7\r\n", 0),
        (b"GET", 304, b"Content-Length: 7\r\n", 0),
        (b"GET", 304, b"Transfer-Encoding: chunked\r\n", 0),
        (b"HEAD", 200, b"Content-Length: 7\r\n", 0),
        (b"HEAD", 200, b"Transfer-Encoding: chunked\r\n", 0),
        (b"HEAD", 200, b"", 0),
        (b"CONNECT", 200, b"Content-Length: 7\r\n", 0),
        (b"CONNECT", 407, b"Content-Length: 7\r\n", 7),
        (b"GET", 103, b"", 0),
        (b"GET", 101, b"", 0),
    ],
)
def test_length_follows_method_status_and_fields(
    method: bytes, status: int, fields: bytes, length: int
) -> None:
    assert head_of(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, fields), method).length == length


def test_a_body_until_close_takes_the_connection_with_it() -> None:
    event = head_of(TO_CLOSE)
    assert not event.keep_alive
    (message,) = read_responses([TO_CLOSE, b""]).messages
    assert (message.body, message.complete) == (b"as long as it lasts", True)


def test_an_empty_body_until_close_is_complete() -> None:
    (message,) = read_responses([b"HTTP/1.1 200 OK\r\n\r\n", b""]).messages
    assert (message.body, message.complete) == (b"", True)


def test_informational_responses_come_before_the_final_one() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    messages = read_responses([b"HTTP/1.1 100 Continue\r\n\r\n" + hints + PLAIN]).messages
    assert [message.start[1] for message in messages] == [b"100", b"103", b"200"]
    assert messages[1].fields == [(b"link", b"</a>")]


def test_101_hands_the_connection_over() -> None:
    reader = ResponseReader()
    reader.receive_data(
        b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00"
    )
    event = reader.next_event()
    assert isinstance(event, ResponseReceived)
    assert (event.upgrade, event.informational) == (b"websocket", False)
    assert reader.take_rest() == b"\x81\x00"


def test_bytes_after_a_response_show() -> None:
    reader = ResponseReader()
    reader.receive_data(PLAIN + b"HTTP/1.1 200 Unasked\r\n")
    for _ in range(3):
        reader.next_event()
    assert not reader.at_rest


def test_the_end_of_input_in_a_response_at_rest_shows() -> None:
    reader = ResponseReader()
    reader.receive_data(PLAIN)
    for _ in range(3):
        reader.next_event()
    assert reader.at_rest
    reader.receive_data(b"")
    assert not reader.at_rest


@pytest.mark.parametrize("data", [PLAIN[:-1], CHUNKY[:-1], CHUNKY[:50], PLAIN[:30], b"H"])
def test_the_end_of_input_inside_a_response_is_refused(data: bytes) -> None:
    reading = read_responses([data, b""])
    assert reading.refusal is not None
    assert not any(message.complete for message in reading.messages)


@pytest.mark.parametrize(
    ("method", "data"),
    [
        (b"GET", PLAIN),
        (b"GET", CHUNKY),
        (b"GET", TO_CLOSE),
        (b"GET", PLAIN + CHUNKY + TO_CLOSE),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"),
        (b"GET", b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN),
    ],
)
def test_split_at_every_byte_reads_as_the_whole(method: bytes, data: bytes) -> None:
    whole = read_responses([data, b""], method)
    for pieces in every_split(data):
        assert read_responses([*pieces, b""], method) == whole, pieces


@pytest.mark.parametrize(
    ("lines", "clean"),
    [
        (b"A: b\r\nContent-Length: 0\r\n", b"A: b\r\nContent-Length: 0\r\n\r\n"),
        (b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nA: b\r\n", b"A: b\r\n\r\n"),
        (b"Proxy-Authenticate: Basic\r\n", b"\r\n"),
        (b"Connection: A\r\nA: b\r\n", None),
        (b"Transfer-Encoding: chunked\r\n", None),
    ],
)
def test_clean_lines_may_go_on_as_they_are_or_not_at_all(lines: bytes, clean: bytes | None) -> None:
    assert head_of(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n").clean == clean
