"""Requests: what is read of them, however they arrive."""

from __future__ import annotations

import pytest

from proxy_core.model.message import HTTP_10, HTTP_11, RequestHead
from proxy_core.wire.events import CHUNKED, EndOfMessage, RequestReceived
from proxy_core.wire.http1 import CONNECTION_CLOSED, RequestReader
from proxy_core.wire.http1_encode import encode_request_head
from tests.wire.http1_reading import every_split, read_requests

GET = b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n"
POST = b"POST /up HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello"
CHUNKY = (
    b"PUT /c HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"
)


def head_of(data: bytes, scheme: str = "http") -> RequestReceived:
    reader = RequestReader(scheme)
    reader.receive_data(data)
    event = reader.next_event()
    assert isinstance(event, RequestReceived)
    return event


def facts(head: RequestHead) -> tuple[bytes, str, bytes, bytes]:
    return head.method, head.scheme, head.authority, head.path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET /a HTTP/1.1", (b"GET", "http", b"h:1", b"/a")),
        (b"GET //a//b HTTP/1.1", (b"GET", "http", b"h:1", b"//a//b")),
        (b"GET http://h:1/a?x HTTP/1.1", (b"GET", "http", b"h:1", b"/a?x")),
        (b"GET http://h:1 HTTP/1.1", (b"GET", "http", b"h:1", b"/")),
        (b"GET http://h:1?x=/y HTTP/1.1", (b"GET", "http", b"h:1", b"/?x=/y")),
        (b"GET http://h:/a HTTP/1.1", (b"GET", "http", b"h", b"/a")),
        (b"GET http://[::1]:/ HTTP/1.1", (b"GET", "http", b"[::1]", b"/")),
        (b"GET HTTPS://h:1/ HTTP/1.1", (b"GET", "https", b"h:1", b"/")),
        (b"GET http://other/ HTTP/1.1", (b"GET", "http", b"other", b"/")),
        (b"GET http://[::1]:8/ HTTP/1.1", (b"GET", "http", b"[::1]:8", b"/")),
        (b"OPTIONS * HTTP/1.1", (b"OPTIONS", "http", b"h:1", b"*")),
        (b"OPTIONS http://h:1 HTTP/1.1", (b"OPTIONS", "http", b"h:1", b"*")),
        (b"OPTIONS http://h:1/ HTTP/1.1", (b"OPTIONS", "http", b"h:1", b"/")),
        (b"CONNECT h:443 HTTP/1.1", (b"CONNECT", "https", b"h:443", b"")),
        (b"CONNECT [::1]:443 HTTP/1.1", (b"CONNECT", "https", b"[::1]:443", b"")),
        (b"BREW /pot HTTP/1.1", (b"BREW", "http", b"h:1", b"/pot")),
        (b'GET /"<>\\^`{|}[]% HTTP/1.1', (b"GET", "http", b"h:1", b'/"<>\\^`{|}[]%')),
    ],
)
def test_every_form_of_target_is_read(
    line: bytes, expected: tuple[bytes, str, bytes, bytes]
) -> None:
    head = head_of(line + b"\r\nHost: h:1\r\n\r\n").head
    assert facts(head) == expected


def test_an_empty_port_is_left_out() -> None:
    event = head_of(b"GET / HTTP/1.1\r\nHost: h:\r\n\r\n")
    assert (event.head.authority, event.clean) == (b"h", None)
    sent = encode_request_head(event.head, 0)
    assert sent == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def test_inside_tls_an_origin_form_target_means_https() -> None:
    assert head_of(GET, "https").head.url == "https://example.com/a?b=c"


def test_fields_keep_order_spelling_and_repetition() -> None:
    lines = b"HOST: h\r\nx-A:1\r\nX-a: \t 2 \t \r\nX-Empty:\r\nX-Raw: \xff\x80\r\n"
    raw = b"GET / HTTP/1.1\r\n" + lines + b"\r\n"
    head = head_of(raw).head
    assert head.headers.fields == [
        (b"HOST", b"h"),
        (b"x-A", b"1"),
        (b"X-a", b"2"),
        (b"X-Empty", b""),
        (b"X-Raw", b"\xff\x80"),
    ]
    assert head.raw == raw


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        (b"HTTP/1.1", None, True),
        (b"HTTP/1.1", b"close", False),
        (b"HTTP/1.1", b"Close", False),
        (b"HTTP/1.1", b"x, CLOSE ,y", False),
        (b"HTTP/1.1", b"closed", True),
        (b"HTTP/1.0", None, False),
        (b"HTTP/1.0", b"keep-alive", True),
        (b"HTTP/1.0", b"keep-alive, close", False),
    ],
)
def test_keep_alive_follows_version_and_connection(
    version: bytes, connection: bytes | None, keep_alive: bool
) -> None:
    line = b"" if connection is None else b"Connection: " + connection + b"\r\n"
    event = head_of(b"GET / " + version + b"\r\nHost: h\r\n" + line + b"\r\n")
    assert event.keep_alive is keep_alive
    assert event.head.version == (HTTP_11 if version == b"HTTP/1.1" else HTTP_10)


def test_http_1_0_needs_no_host() -> None:
    assert head_of(b"GET / HTTP/1.0\r\n\r\n").head.authority == b""


def test_upgrade_and_expect_are_noticed() -> None:
    asked = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    assert head_of(b"GET / HTTP/1.1\r\nHost: h\r\n" + asked + b"\r\n").upgrade == b"websocket"
    unasked = b"Upgrade: websocket\r\n"
    assert head_of(b"GET / HTTP/1.1\r\nHost: h\r\n" + unasked + b"\r\n").upgrade is None
    assert head_of(b"GET / HTTP/1.0\r\nHost: h\r\n" + asked + b"\r\n").upgrade is None


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (b"Upgrade: h2c\r\n", None),
        (b"Upgrade: H2C\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", None),
        (b"Upgrade: h2c, websocket\r\n", b"websocket"),
        (b"Upgrade: foo/2 ,h2c\r\n", b"foo/2"),
        (b"Upgrade: foo\r\nUpgrade: bar\r\n", b"foo, bar"),
        (b"Upgrade: xh2c\r\n", b"xh2c"),
    ],
)
def test_http_2_is_not_asked_for_by_upgrade(lines: bytes, wanted: bytes | None) -> None:
    asked = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n" + lines
    event = head_of(asked + b"\r\n")
    assert event.upgrade == wanted
    sent = encode_request_head(event.head, 0, event.upgrade)
    assert (b"\r\nUpgrade: " in sent) is (wanted is not None)
    assert b" h2c" not in sent.lower()
    assert b"HTTP2-Settings" not in sent
    expecting = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n"
    assert head_of(expecting).expect_continue


def test_a_body_of_a_given_length_ends_there() -> None:
    (message,) = read_requests([POST]).messages
    assert (message.body, message.complete) == (b"hello", True)


@pytest.mark.parametrize(
    ("line", "authority"),
    [
        ("GET http://bücher.example/ HTTP/1.1", b"xn--bcher-kva.example"),
        ("GET http://BÜCHER.example:81/ HTTP/1.1", b"xn--bcher-kva.example:81"),
        ("CONNECT bücher.example:443 HTTP/1.1", b"xn--bcher-kva.example:443"),
    ],
)
def test_hosts_beyond_ascii_are_read_as_dns_knows_them(line: str, authority: bytes) -> None:
    reader = RequestReader("http")
    reader.receive_data(f"{line}\r\nHost: bücher.example\r\n\r\n".encode())
    received = reader.next_event()
    assert isinstance(received, RequestReceived)
    assert received.head.authority == authority
    assert received.head.method == b"CONNECT" or received.clean is None  # Host is said anew


def test_many_tiny_chunks_are_read_in_several_goes_and_none_is_lost() -> None:
    reader = RequestReader("http")
    reader.receive_data(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert isinstance(reader.next_event(), RequestReceived)
    reader.receive_data(b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n")
    pieces = []
    while isinstance(event := reader.next_event(), bytes):
        pieces.append(event)
        assert reader.has_more is (len(pieces) < 5)
    assert isinstance(event, EndOfMessage)
    assert b"".join(pieces) == b"x" * 5000
    assert len(pieces) == 5


def test_chunks_are_joined_extensions_dropped_trailers_kept() -> None:
    (message,) = read_requests([CHUNKY]).messages
    assert message.body == b"hello world"
    assert message.trailers == [(b"x-sum", b"1"), (b"x-more", b"2")]
    assert head_of(CHUNKY).length == CHUNKED


@pytest.mark.parametrize(
    "size", [b"5", b"05", b"0000005", b"5 ", b"5;a", b'5;a="b"', b"5;\xff", b"5 ; a"]
)
def test_a_chunk_size_may_be_dressed_up(size: bytes) -> None:
    head = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
    (message,) = read_requests([head + size + b"\r\nhello\r\n0\r\n\r\n"]).messages
    assert (message.body, message.complete) == (b"hello", True)


def test_trailers_that_would_change_framing_are_dropped() -> None:
    head = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    trailers = b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: x\r\nX-Ok: 1\r\n"
    (message,) = read_requests([head + b"0\r\n" + trailers + b"\r\n"]).messages
    assert message.trailers == [(b"x-ok", b"1")]


def test_empty_lines_before_a_request_are_ignored() -> None:
    assert len(read_requests([b"\r\n\r\n" + GET + b"\r\n" + GET]).messages) == 2


def test_pipelined_requests_wait_for_start_next() -> None:
    reader = RequestReader("http")
    reader.receive_data(GET + POST)
    assert isinstance(reader.next_event(), RequestReceived)
    assert isinstance(reader.next_event(), EndOfMessage)
    assert reader.next_event() is None
    assert not reader.at_rest
    reader.start_next()
    assert isinstance(reader.next_event(), RequestReceived)
    assert reader.next_event() == b"hello"
    assert isinstance(reader.next_event(), EndOfMessage)
    assert reader.at_rest


def test_the_end_of_input_between_requests_is_a_clean_close() -> None:
    reading = read_requests([GET, b""])
    assert (reading.closed, reading.refusal) == (True, None)
    reader = RequestReader("http")
    reader.receive_data(b"")
    assert reader.next_event() is CONNECTION_CLOSED
    assert reader.next_event() is CONNECTION_CLOSED


@pytest.mark.parametrize("data", [GET[:-1], POST[:-1], CHUNKY[:-1], CHUNKY[:-20], b"G"])
def test_the_end_of_input_inside_a_request_is_refused(data: bytes) -> None:
    reading = read_requests([data, b""])
    assert reading.refusal is not None
    assert not any(message.complete for message in reading.messages)


@pytest.mark.parametrize(
    "data",
    [
        GET,
        POST,
        CHUNKY,
        GET + POST + CHUNKY + GET,
        b"\r\n" * 3 + GET,
        b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n\x16\x03\x01",
        b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabcrest",
    ],
)
def test_split_at_every_byte_reads_as_the_whole(data: bytes) -> None:
    whole = read_requests([data, b""])
    for pieces in every_split(data):
        assert read_requests([*pieces, b""]) == whole, pieces


def test_what_follows_a_connect_is_left_for_the_tunnel() -> None:
    reader = RequestReader("http")
    reader.receive_data(b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n\x16abc")
    event = reader.next_event()
    assert isinstance(event, RequestReceived)
    assert event.length == 0
    assert isinstance(reader.next_event(), EndOfMessage)
    assert reader.take_rest() == b"\x16abc"
    assert reader.take_rest() == b""


@pytest.mark.parametrize(
    ("lines", "clean"),
    [
        (b"Host: h\r\nA: b\r\n", b"Host: h\r\nA: b\r\n\r\n"),
        (b"Host: h\r\nConnection: keep-alive\r\nA: b\r\n", b"Host: h\r\nA: b\r\n\r\n"),
        (b"Proxy-Connection: x\r\nHost: h\r\n", b"Host: h\r\n\r\n"),
        (b"Host: h\r\nConnection:close\r\nA: b\r\n", None),
        (b"Host: h\r\nConnection: A\r\nA: b\r\n", None),
        (b"Host: other\r\n", None),
        (b"Host: H\r\nTE: trailers\r\n", None),
        (b"Host: h\r\nTransfer-Encoding: chunked\r\n", None),
    ],
)
def test_clean_lines_may_go_on_as_they_are_or_not_at_all(lines: bytes, clean: bytes | None) -> None:
    event = head_of(b"GET http://h/ HTTP/1.1\r\n" + lines + b"\r\n")
    assert event.clean == clean


def test_mid_message_tells_a_slow_client_from_an_idle_one() -> None:
    reader = RequestReader("http")
    assert not reader.mid_message
    reader.receive_data(b"G")
    assert reader.next_event() is None
    assert reader.mid_message


def test_start_next_before_the_end_is_a_bug_of_ours() -> None:
    reader = RequestReader("http")
    with pytest.raises(RuntimeError, match="before the end"):
        reader.start_next()
