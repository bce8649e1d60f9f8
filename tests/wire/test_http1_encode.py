"""Heads and chunks to bytes: legal, framed as told, and free of this hop's fields."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import HTTP_2, HTTP_10, HTTP_11, RequestHead, ResponseHead
from proxy_core.wire.events import CHUNKED, UNTIL_CLOSE
from proxy_core.wire.http1_chunked import encode_chunk, encode_last_chunk
from proxy_core.wire.http1_encode import encode_request_head, encode_response_head, end_to_end
from proxy_core.wire.http1_fields import field_kind
from tests.wire.http1_messages import TEXT, TOKEN
from tests.wire.http1_oracles import h11_requests, h11_responses
from tests.wire.http1_reading import Message, lowered, read_requests, read_responses

names = st.lists(st.sampled_from(TOKEN), min_size=1, max_size=8).map(bytes)
ordinary = names.filter(lambda name: not field_kind(name))
values = st.lists(st.sampled_from(TEXT), max_size=12).map(
    lambda octets: bytes(octets).strip(b" \t")
)
fields = st.lists(st.tuples(ordinary, values), max_size=5)
pieces = st.lists(st.binary(min_size=1, max_size=30), max_size=4)


def request(
    head_fields: list[Field], method: bytes = b"POST", version: str = HTTP_11
) -> RequestHead:
    return RequestHead(method, "http", b"h", b"/p?q", Headers(head_fields), version)


def lines_of(encoded: bytes) -> list[bytes]:
    assert encoded.endswith(b"\r\n\r\n")
    return encoded.removesuffix(b"\r\n\r\n").split(b"\r\n")


@settings(max_examples=100, deadline=None)
@given(fields, pieces, fields)
def test_chunked_requests_round_trip(
    head_fields: list[Field], body: list[bytes], trailers: list[Field]
) -> None:
    head = encode_request_head(request([(b"Host", b"h"), *head_fields]), CHUNKED)
    data = head + b"".join(map(encode_chunk, body)) + encode_last_chunk(trailers)
    for reading in (read_requests([data]), h11_requests(data)):
        (message,) = reading.messages
        assert message.complete
        assert message.start == (b"POST", b"/p?q", b"HTTP/1.1")
        assert message.body == b"".join(body)
        assert message.trailers == lowered(trailers)
        assert message.fields == [
            (b"host", b"h"),
            *lowered(head_fields),
            (b"transfer-encoding", b"chunked"),
        ]


@settings(max_examples=100, deadline=None)
@given(st.integers(200, 599).filter(lambda s: s not in (204, 304)), fields, st.binary(max_size=50))
def test_counted_responses_round_trip(status: int, head_fields: list[Field], body: bytes) -> None:
    head = ResponseHead(status, b"Some Reason", Headers(head_fields))
    data = encode_response_head(head, len(body)) + body
    for reading in (read_responses([data]), h11_responses(data)):
        (message,) = reading.messages
        assert message.complete
        assert message.start == (b"HTTP/1.1", b"%d" % status, b"Some Reason")
        assert message.body == body
        assert message.fields == [
            *lowered(head_fields),
            (b"content-length", b"%d" % len(body)),
        ]


def test_hop_by_hop_fields_stay_on_their_hop() -> None:
    kept = [(b"A", b"1"), (b"Trailer", b"x"), (b"a", b"2")]
    dropped = [
        (b"Connection", b"keep-alive, X-Private ,x-other"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Proxy-Authorization", b"Basic eA=="),
        (b"Proxy-Authenticate", b"Basic"),
        (b"TE", b"trailers"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"h2c"),
        (b"HTTP2-Settings", b"AAMAAABkAAQAAP__"),
        (b"x-private", b"1"),
        (b"X-OTHER", b"2"),
    ]
    assert end_to_end([*kept[:1], *dropped, *kept[1:]]) == kept


@pytest.mark.parametrize("name", [b"Host", b"Content-Length", b"Cookie", b"Authorization"])
def test_connection_cannot_take_away_what_a_message_needs(name: bytes) -> None:
    assert end_to_end([(b"Connection", name), (name, b"1")]) == [(name, b"1")]
    lower = name.lower()
    assert end_to_end([(b"Connection", lower), (name, b"1")]) == [(name, b"1")]


@pytest.mark.parametrize(
    ("length", "given_fields", "framing"),
    [
        (0, [], []),
        (0, [(b"Content-Length", b"0")], [b"Content-Length: 0"]),
        (5, [(b"content-length", b"5")], [b"content-length: 5"]),
        (5, [(b"Content-Length", b"9")], [b"Content-Length: 5"]),
        (5, [], [b"Content-Length: 5"]),
        (0, [(b"Content-Length", b"9")], [b"Content-Length: 0"]),
        (CHUNKED, [(b"Content-Length", b"9")], [b"Transfer-Encoding: chunked"]),
        (CHUNKED, [(b"Transfer-Encoding", b"gzip")], [b"Transfer-Encoding: chunked"]),
        (5, [(b"Transfer-Encoding", b"chunked")], [b"Content-Length: 5"]),
    ],
)
def test_the_length_told_frames_a_request_whatever_its_fields_say(
    length: int, given_fields: list[Field], framing: list[bytes]
) -> None:
    lines = lines_of(encode_request_head(request([(b"Host", b"h"), *given_fields]), length))
    assert lines == [b"POST /p?q HTTP/1.1", b"Host: h", *framing]


@pytest.mark.parametrize(
    ("status", "length", "given_fields", "framing"),
    [
        (200, 0, [], [b"Content-Length: 0"]),
        (200, 5, [(b"Content-Length", b"5")], [b"Content-Length: 5"]),
        (200, UNTIL_CLOSE, [(b"Content-Length", b"5")], []),
        (200, CHUNKED, [(b"Content-Length", b"5")], [b"Transfer-Encoding: chunked"]),
        (204, 0, [(b"Content-Length", b"5")], []),
        (103, 0, [(b"Content-Length", b"5")], []),
        (304, 0, [(b"Content-Length", b"5")], [b"Content-Length: 5"]),
    ],
)
def test_the_length_told_frames_a_response_whatever_its_fields_say(
    status: int, length: int, given_fields: list[Field], framing: list[bytes]
) -> None:
    head = ResponseHead(status, b"X", Headers(given_fields))
    assert lines_of(encode_response_head(head, length))[1:] == framing


def test_the_answer_to_head_keeps_the_length_it_tells() -> None:
    head = ResponseHead(200, b"OK", Headers([(b"Content-Length", b"123")]))
    assert lines_of(encode_response_head(head, 0, to_head=True))[1:] == [b"Content-Length: 123"]


@pytest.mark.parametrize(
    ("given_fields", "hosts"),
    [
        ([(b"host", b"H")], [b"host: H"]),
        ([], [b"Host: h"]),
        ([(b"Host", b"other")], [b"Host: h"]),
        ([(b"Host", b"h"), (b"Host", b"h")], [b"Host: h"]),
        ([(b"Host", b"")], [b"Host: h"]),
    ],
)
def test_a_request_names_its_authority_once(given_fields: list[Field], hosts: list[bytes]) -> None:
    encoded = encode_request_head(request(given_fields), 0)
    assert [line for line in lines_of(encoded) if line[:5].lower() == b"host:"] == hosts


def test_versions_become_http_1_1() -> None:
    assert b" HTTP/1.1\r\n" in encode_request_head(request([], version=HTTP_2), 0)
    head = ResponseHead(200, b"", Headers(), version=HTTP_10)
    assert encode_response_head(head, 0).startswith(b"HTTP/1.1 200 OK\r\n")


def test_an_unknown_status_without_reason_keeps_its_space() -> None:
    assert encode_response_head(ResponseHead(299), 0).startswith(b"HTTP/1.1 299 \r\n")


def test_upgrades_connection_options_and_te_are_added_when_told() -> None:
    asking = request([(b"Host", b"h"), (b"Connection", b"x"), (b"Upgrade", b"y")], b"GET")
    assert lines_of(encode_request_head(asking, 0, upgrade=b"websocket"))[1:] == [
        b"Host: h",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
    ]
    assert lines_of(encode_request_head(asking, 0, trailers_ok=True))[2:] == [
        b"Connection: TE",
        b"TE: trailers",
    ]
    switching = ResponseHead(101, b"", Headers([(b"Upgrade", b"y")]))
    assert lines_of(encode_response_head(switching, 0, upgrade=b"websocket")) == [
        b"HTTP/1.1 101 Switching Protocols",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
    ]
    closing = encode_response_head(ResponseHead(204), 0, connection=b"close")
    assert lines_of(closing)[1:] == [b"Connection: close"]


def test_chunks_are_plain() -> None:
    assert encode_chunk(b"a" * 26) == b"1a\r\n" + b"a" * 26 + b"\r\n"
    assert encode_last_chunk(None) == b"0\r\n\r\n"
    assert encode_last_chunk([(b"A", b"b")]) == b"0\r\nA: b\r\n\r\n"


def test_reading_a_rendered_head_gives_it_back() -> None:
    (message,) = read_requests([encode_request_head(request([(b"Host", b"h")]), 0)]).messages
    assert message == Message(
        (b"POST", b"/p?q", b"HTTP/1.1"), [(b"host", b"h")], True, complete=True
    )
