from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy_core.wire.sniff import HTTP2_PREFACE, LINE_LIMIT, Protocol, sniff

TLS, HTTP1, HTTP2, OTHER = Protocol.TLS, Protocol.HTTP1, Protocol.HTTP2, Protocol.OTHER

DECIDED = [
    (b"\x16\x03\x01", TLS),
    (b"\x16\x03\x03\x02\x00\x01\x00\x01\xfc", TLS),
    (b"\x16\x03\x05", OTHER),
    (b"\x16\x02", OTHER),
    (b"\x15\x03\x01\x00\x02", OTHER),
    (b"\x80\x2e\x01\x00\x02", OTHER),
    (HTTP2_PREFACE, HTTP2),
    (HTTP2_PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", HTTP2),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", HTTP1),
    (b"PRI / HTTP/1.1\r\n", HTTP1),
    (b"GET / HTTP/1.1\r\n", HTTP1),
    (b"GET / HTTP/1.1\n", HTTP1),
    (b"GET http://example.com/ HTTP/1.0\r\n", HTTP1),
    (b"CONNECT example.com:443 HTTP/1.1\r\n", HTTP1),
    (b"OPTIONS * HTTP/1.1\r\n", HTTP1),
    (b"m-search * HTTP/1.1\r\n", HTTP1),
    (b"\r\nGET / HTTP/1.1\r\n", HTTP1),
    (b"\r\n\r\nGET / HTTP/1.1\r\n", HTTP1),
    (b"GET /\xc3\xbc HTTP/1.1\r\n", HTTP1),
    (b"GET  / HTTP/1.1\r\n", HTTP1),
    (b"GET / x HTTP/1.1 \r\n", HTTP1),
    (b"GET / HTTP/9.9\r\n", HTTP1),
    (b"GET /" + b"a" * LINE_LIMIT, HTTP1),
    (b"GET /\r\n", OTHER),
    (b"GET / HTTP/1.1x\r\n", OTHER),
    (b"GET / HTTP/1.1\r\r\n", OTHER),
    (b"GET /\0 HTTP/1.1\r\n", OTHER),
    (b"GET /\rHost", OTHER),
    (b"GET\t/ HTTP/1.1\r\n", OTHER),
    (b"\r\n\r\n\r\nGET / HTTP/1.1\r\n", OTHER),
    (b"SSH-2.0-OpenSSH_9.6p1 Ubuntu-3\r\n", OTHER),
    (b"EHLO client.example\r\n", OTHER),
    (b"* OK IMAP4rev1\r\n", OTHER),
    (b"\x00\x00\x00\x08", OTHER),
    (b"A" * 33, OTHER),
    (b"\x05\x01\x00", OTHER),
]
UNDECIDED = [
    b"",
    b"\x16",
    b"\x16\x03",
    b"P",
    HTTP2_PREFACE[:-1],
    b"\r",
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n\r\n\r",
    b"GET",
    b"A" * 32,
    b"GET ",
    b"GET / HTTP/1.1",
    b"GET / HTTP/1.1\r",
    b"GET /" + b"a" * (LINE_LIMIT - 6),
]


@pytest.mark.parametrize(("data", "protocol"), DECIDED)
def test_first_bytes_tell_the_protocol(data: bytes, protocol: Protocol) -> None:
    assert sniff(data) is protocol


@pytest.mark.parametrize("data", UNDECIDED)
def test_too_few_bytes_tell_nothing(data: bytes) -> None:
    assert sniff(data) is None


ALPHABET = st.sampled_from(
    [b"\r", b"\n", b" ", b"GET", b"PRI * ", b"/", b"HTTP/1.1", b"HTTP/2.0", b"\x16", b"\x03", b"\0"]
)


@given(st.one_of(st.binary(max_size=60), st.lists(ALPHABET, max_size=8).map(b"".join)))
@example(HTTP2_PREFACE)
@example(b"\r\n\r\n\r\n")
@example(b"\r\n\r\n\r\r")
def test_answer_once_given_never_changes(data: bytes) -> None:
    answers = [sniff(data[:end]) for end in range(len(data) + 1)]
    decided = [answer for answer in answers if answer is not None]
    assert len(set(decided)) <= 1
    assert answers == [None] * (len(answers) - len(decided)) + decided


@pytest.mark.parametrize(("data", "protocol"), DECIDED)
def test_every_proper_start_tells_the_same_or_nothing(data: bytes, protocol: Protocol) -> None:
    for end in range(min(len(data), 100)):
        assert sniff(data[:end]) in (None, protocol)


def test_long_line_is_http1_whether_its_end_has_come_or_not() -> None:
    line = b"GET /" + b"a" * LINE_LIMIT
    assert sniff(line) is sniff(line + b" nonsense\r\n") is HTTP1
