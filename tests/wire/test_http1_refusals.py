"""What two parsers could read differently is refused, whole or in pieces, in both directions."""

from __future__ import annotations

import pytest

from proxy_core.wire.http1 import RequestReader, ResponseReader
from tests.wire.http1_reading import every_split, read_requests, read_responses

CHUNKED = b"Transfer-Encoding: chunked\r\n"

FIELD_LINES = {
    "both lengths": b"Content-Length: 3\r\n" + CHUNKED,
    "both lengths, the other way round": CHUNKED + b"Content-Length: 3\r\n",
    "the same length twice": b"Content-Length: 3\r\nContent-Length: 3\r\n",
    "two different lengths": b"Content-Length: 3\r\ncontent-length: 4\r\n",
    "a list of lengths": b"Content-Length: 3, 3\r\n",
    "a signed length": b"Content-Length: +3\r\n",
    "a negative length": b"Content-Length: -3\r\n",
    "a hexadecimal length": b"Content-Length: 0x3\r\n",
    "an empty length": b"Content-Length:\r\n",
    "a length with a fraction": b"Content-Length: 3.0\r\n",
    "a length with a space in it": b"Content-Length: 3 0\r\n",
    "a length in other digits": b"Content-Length: \xd9\xa3\r\n",
    "a length beyond 64 bits": b"Content-Length: 99999999999999999999\r\n",
    "an unknown coding": b"Transfer-Encoding: gzip\r\n",
    "chunked not last": b"Transfer-Encoding: chunked, gzip\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "chunked twice in two lines": CHUNKED + CHUNKED,
    "another coding before chunked": b"Transfer-Encoding: gzip, chunked\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "an empty coding": b"Transfer-Encoding:\r\n",
    "a quoted coding": b'Transfer-Encoding: "chunked"\r\n',
    "a coding with a parameter": b"Transfer-Encoding: chunked;q=1\r\n",
    "a coding with a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "space before the colon": b"Content-Length : 3\r\n",
    "tab before the colon": b"A\t: b\r\n",
    "obs-fold with a space": b"A: b\r\n c\r\n",
    "obs-fold with a tab": b"A: b\r\n\tc\r\n",
    "obs-fold of a length": b"Content-Length: 1\r\n 0\r\n",
    "a folded first line": b" A: b\r\n",
    "bare LF after a field": b"A: b\nC: d\r\n",
    "bare CR in a value": b"A: b\rc\r\n",
    "bare CR hiding a field": b"A: b\rContent-Length: 3\r\n",
    "bare CR hiding a coding": b"A: b\rTransfer-Encoding: chunked\r\n",
    "bare CR at the start of a value": b"A: \rb\r\n",
    "bare CR before the line's end": b"A: b\r\r\n",
    "bare CR at the start of a line": b"\rA: b\r\n",
    "bare CR in a name": b"A\rB: c\r\n",
    "NUL in a value": b"A: b\0c\r\n",
    "NUL in a name": b"A\0B: c\r\n",
    "DEL in a value": b"A: \x7f\r\n",
    "an escape in a value": b"A: \x1b[31m\r\n",
    "no colon": b"A\r\n",
    "no name": b": b\r\n",
    "a name with a space": b"A B: c\r\n",
    "a name in quotes": b'"A": c\r\n',
    "a name beyond ASCII": b"\xc3\xa4: c\r\n",
}

REQUESTS = {
    **{
        name: b"POST / HTTP/1.1\r\nHost: h\r\n%b\r\n" % lines for name, lines in FIELD_LINES.items()
    },
    "coding in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: h\r\n" + CHUNKED + b"\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "Host twice": b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    "Host twice in HTTP/1.0": b"GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n",
    "a Host with a path": b"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n",
    "a Host with user information": b"GET / HTTP/1.1\r\nHost: a@h\r\n\r\n",
    "two names in one Host": b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "a Host with a space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a Host with a port beyond range": b"GET / HTTP/1.1\r\nHost: h:65536\r\n\r\n",
    "a Host with a port that is no number": b"GET / HTTP/1.1\r\nHost: h:x\r\n\r\n",
    "a Host that is no address in brackets": b"GET / HTTP/1.1\r\nHost: [.]\r\n\r\n",
    "a Host with an address too long": b"GET / HTTP/1.1\r\nHost: [1:2:3:4:5:6:7:8:9]\r\n\r\n",
    "a Host with an old address in brackets": b"GET / HTTP/1.1\r\nHost: [127.0.0.1]\r\n\r\n",
    "a name that is no address in brackets": b"GET http://[:::]/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "user information in the target": b"GET http://a@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "no authority in the target": b"GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n",
    "another scheme": b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "a target without a slash": b"GET a HTTP/1.1\r\nHost: h\r\n\r\n",
    "an asterisk for GET": b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
    "a target beyond ASCII": b"GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n",
    "a control character in the target": b"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
    "a tab in the request line": b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "two spaces in the request line": b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a space at the end of the request line": b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
    "a space before the method": b" GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: h\r\n\r\n",
    "bare CR in the request line": b"GET /\r HTTP/1.1\r\nHost: h\r\n\r\n",
    "bare LF throughout": b"GET / HTTP/1.1\nHost: h\n\n",
    "NUL in the request line": b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
    "no version": b"GET /\r\nHost: h\r\n\r\n",
    "a version in lower case": b"GET / http/1.1\r\nHost: h\r\n\r\n",
    "a version with more digits": b"GET / HTTP/1.10\r\nHost: h\r\n\r\n",
    "a version with a leading zero": b"GET / HTTP/01.1\r\nHost: h\r\n\r\n",
    "another protocol": b"GET / ICAP/1.0\r\nHost: h\r\n\r\n",
    "a method that is no token": b"GE(T / HTTP/1.1\r\nHost: h\r\n\r\n",
    "no method": b" / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a host beyond ASCII that is no name": b"GET http://\xff/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "a path beyond ASCII behind a host": b"GET http://h/\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n",
    "CONNECT with a length": b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
    "CONNECT with chunks": b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n" + CHUNKED + b"\r\n",
    "CONNECT without a port": b"CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n",
    "CONNECT with a path": b"CONNECT h:1/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "CONNECT with a URL": b"CONNECT http://h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
    "CONNECT with an empty port": b"CONNECT h: HTTP/1.1\r\nHost: h\r\n\r\n",
    "CONNECT without a host": b"CONNECT :443 HTTP/1.1\r\nHost: h\r\n\r\n",
}

RESPONSES = {
    **{name: b"HTTP/1.1 200 OK\r\n%b\r\n" % lines for name, lines in FIELD_LINES.items()},
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n",
    "HTTP/0.9": b"<html>hello</html>\r\n\r\n",
    "an empty line first": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 OK\r\n\r\n",
    "a status with a sign": b"HTTP/1.1 +20 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "bare CR in the reason": b"HTTP/1.1 200 O\rK\r\n\r\n",
    "bare LF after the status line": b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\n\r\n",
    "ICY": b"ICY 200 OK\r\n\r\n",
}

CHUNKS = {
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "no hexadecimal": b"g\r\nhello\r\n0\r\n\r\n",
    "nothing": b"\r\nhello\r\n0\r\n\r\n",
    "an extension alone": b";a\r\nhello\r\n0\r\n\r\n",
    "space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "digits after a space": b"5 0\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"5_0\r\nhello\r\n0\r\n\r\n",
    "more than 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "bare CR after the size": b"5\rhello\r\n0\r\n\r\n",
    "bare LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "bare CR after the data": b"5\r\nhello\r0\r\n\r\n",
    "data longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "data shorter than its size": b"5\r\nhell\r\n0\r\n\r\n",
    "bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;\0\r\nhello\r\n0\r\n\r\n",
    "bare LF at the end": b"0\r\n\n",
    "bare LF after the last size": b"0\n\r\n",
    "a folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "a trailer without a colon": b"0\r\nA\r\n\r\n",
    "space before a trailer's colon": b"0\r\nA : b\r\n\r\n",
    "bare LF in a trailer": b"0\r\nA: b\nC: d\r\n\r\n",
    "bare CR in a trailer": b"0\r\nA: b\rC: d\r\n\r\n",
    "NUL in a trailer": b"0\r\nA: \0\r\n\r\n",
}


@pytest.mark.parametrize("name", REQUESTS)
def test_request_head_is_refused(name: str) -> None:
    data = REQUESTS[name]
    reading = read_requests([data, b""])
    assert reading.refusal, reading
    assert not reading.messages
    assert reading.status in (400, 501, 505)
    for pieces in every_split(data):
        in_pieces = read_requests([*pieces, b""])
        assert in_pieces.refusal, pieces
        assert not in_pieces.messages


@pytest.mark.parametrize("name", RESPONSES)
def test_response_head_is_refused(name: str) -> None:
    data = RESPONSES[name]
    reading = read_responses([data, b""])
    assert reading.refusal, reading
    assert not reading.messages
    for pieces in every_split(data):
        in_pieces = read_responses([*pieces, b""])
        assert in_pieces.refusal, pieces
        assert not in_pieces.messages


@pytest.mark.parametrize("name", CHUNKS)
def test_chunked_request_is_refused(name: str) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\n" + CHUNKED + b"\r\n"
    for pieces in ([CHUNKS[name]], *every_split(CHUNKS[name])):
        reading = read_requests([head, *pieces, b""])
        assert reading.refusal, pieces
        assert not reading.messages[0].complete


@pytest.mark.parametrize("name", CHUNKS)
def test_chunked_response_is_refused(name: str) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"\r\n"
    for pieces in ([CHUNKS[name]], *every_split(CHUNKS[name])):
        reading = read_responses([head, *pieces, b""])
        assert reading.refusal, pieces
        assert not reading.messages[0].complete


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"GET /" + b"a" * 32768 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET /" + b"a" * 65536, 414),
        (b"A" * 65537, 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 65536 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 65536, 431),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
    ],
    ids=lambda value: value[:40] if isinstance(value, bytes) else None,
)
def test_the_status_says_what_was_wrong(data: bytes, status: int) -> None:
    assert read_requests([data]).status == status


def test_limits_are_those_that_were_given() -> None:
    fits = b"GET /abc HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n"
    assert not read_requests([fits], RequestReader("http", len(fits), 2, 4)).refusal
    assert read_requests([fits], RequestReader("http", len(fits) - 1, 2, 4)).status == 431
    assert read_requests([fits], RequestReader("http", len(fits), 1, 4)).status == 431
    assert read_requests([fits], RequestReader("http", len(fits), 2, 3)).status == 414
    answer = b"HTTP/1.1 204 No\r\nA: b\r\nC: d\r\n\r\n"
    assert not read_responses([answer], reader=ResponseReader(len(answer), 2)).refusal
    assert read_responses([answer], reader=ResponseReader(len(answer) - 1, 2)).refusal
    assert read_responses([answer], reader=ResponseReader(len(answer), 1)).refusal


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /\r\n", 400),
        (b"GET / HTTP/2.0\r\n", 505),
        (b"\r\nhello\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost", 400),
        (b"\0\1\2", 400),
        (b"{}", 400),
        (b"<", 400),
        (b"GET / HTTP/1.1", None),
        (b"\r", None),
        (b"\r\n", None),
        (b"\r\n\r", None),
    ],
)
def test_what_is_no_request_is_refused_before_it_ends(data: bytes, status: int | None) -> None:
    assert read_requests([data]).status == status


@pytest.mark.parametrize("data", [b"hello", b"<", b"H2", b"HTTP/2 200", b"SSH-2.0-x\r\n", b"\0"])
def test_what_is_no_answer_is_refused_before_it_ends(data: bytes) -> None:
    assert "not an HTTP/1 status line" in (read_responses([data]).refusal or "")


@pytest.mark.parametrize(
    "data",
    [
        b"0\r\nA: b\n\r\n",
        b"0\r\nA: b\n",
        b"0\r\nA: b\n\n",
        b"0\r\nA: b\r\n\n",
        b"0\r\n\n",
        b"0\n",
        b"5\n",
        b"5\r\nhello\n",
        b"5\r\nhello5",
        b"5\rh",
        b"hello",
        b"-",
        b"0x",
        b"5 5",
        b"5;a\0",
        b"\r",
        b"{",
    ],
)
def test_what_are_no_chunks_is_refused_before_it_ends(data: bytes) -> None:
    for head, read in (
        (b"POST / HTTP/1.1\r\nHost: h\r\n", read_requests),
        (b"HTTP/1.1 200 OK\r\n", read_responses),
    ):
        for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
            assert read([head + CHUNKED + b"\r\n", *pieces]).refusal, (read, pieces)


@pytest.mark.parametrize(
    "data",
    [
        b"5",
        b"5 ",
        b"5 \t;",
        b"5;a=b",
        b"5;a=b\r",
        b"5\r",
        b"5\r\nhel",
        b"5\r\nhello",
        b"5\r\nhello\r",
        b"0\r\n",
        b"0\r\n\r",
        b"0\r\nA: b",
        b"0\r\nA: b\r",
        b"0\r\nA: b\r\n",
        b"0\r\nA: b\r\n\r",
    ],
)
def test_what_may_become_chunks_is_waited_for(data: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\n" + CHUNKED + b"\r\n"
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        assert read_requests([head, *pieces]).refusal is None


@pytest.mark.parametrize("data", [b"H", b"HTTP/1", b"HTTP/1.", b"HTTP/1.1 200 OK\r\nA: b\r\n"])
def test_what_may_become_an_answer_is_waited_for(data: bytes) -> None:
    assert read_responses([data]).refusal is None


@pytest.mark.parametrize(
    "endless",
    [b"\r\n", b"A: b\r\n", b"a"],
)
def test_a_head_that_never_ends_is_cut_off(endless: bytes) -> None:
    start = b"" if endless == b"\r\n" else b"GET / HTTP/1.1\r\nHost: h\r\n"
    pieces = [start, *[endless * 100] * 1000] if start else [endless] * 1000
    assert read_requests(pieces).refusal


@pytest.mark.parametrize(
    "endless", [b"5;" + b"a" * 5000, b"0" * 5000, b"0\r\n" + b"A: b\r\n" * 20000]
)
def test_chunk_framing_that_never_ends_is_cut_off(endless: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\n" + CHUNKED + b"\r\n"
    assert read_requests([head, endless]).refusal
    assert read_requests(
        [head, *(endless[i : i + 100] for i in range(0, len(endless), 100))]
    ).refusal


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"HTTP/2 200 OK\r\n\r\n", "not an HTTP/1 status line: 'HTTP/2 200 OK'"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "a header line without a colon: 'no colon'"),
        (b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", "a bare CR in a header line: 'A: b\\rc'"),
    ],
)
def test_a_line_is_quoted_without_its_end(raw: bytes, reason: str) -> None:
    assert read_responses([raw]).refusal == reason
