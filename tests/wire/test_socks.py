from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.wire.socks import (
    Reply,
    SocksError,
    SocksRequest,
    choose,
    encode_reply,
    judge_password,
    read_methods,
    read_password,
    read_request,
)

V4 = b"\x05\x01\x00\x01\xc0\x00\x02\x07\x01\xbb"
NAME = b"\x05\x01\x00\x03\x0borigin.test\x00\x50"
V6 = b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x1f\x90"


@pytest.mark.parametrize(
    ("wire", "request_"),
    [
        (V4, SocksRequest("192.0.2.7", 443)),
        (NAME, SocksRequest("origin.test", 80)),
        (V6, SocksRequest("::1", 8080)),
    ],
)
def test_request_is_read_whole_and_no_further(wire: bytes, request_: SocksRequest) -> None:
    assert read_request(wire + b"more") == (request_, len(wire))
    for end in range(len(wire)):
        assert read_request(wire[:end]) is None


@pytest.mark.parametrize(
    ("wire", "complaint", "reply"),
    [
        (b"\x04\x01\x00\x50", "no version 5", None),
        (b"\x05\x02" + V4[2:], "BIND is not served", Reply.COMMAND_NOT_SUPPORTED),
        (b"\x05\x03" + V4[2:], "UDP ASSOCIATE is not served", Reply.COMMAND_NOT_SUPPORTED),
        (b"\x05\x09" + V4[2:], "command 9 is not served", Reply.COMMAND_NOT_SUPPORTED),
        (b"\x05\x01\x00\x05\x00", "address type 5 is unknown", Reply.ADDRESS_NOT_SUPPORTED),
        (b"\x05\x01\x00\x03\x00\x00\x50", "is no host name", Reply.ADDRESS_NOT_SUPPORTED),
        (b"\x05\x01\x00\x03\x03a\rb\x00\x50", "is no host name", Reply.ADDRESS_NOT_SUPPORTED),
        (b"\x05\x01\x00\x03\x02\xc3\xa4\x00\x50", "is no host name", Reply.ADDRESS_NOT_SUPPORTED),
    ],
)
def test_request_for_anything_else_is_refused_with_its_reply(
    wire: bytes, complaint: str, reply: Reply | None
) -> None:
    with pytest.raises(SocksError, match=complaint) as refusal:
        read_request(wire)
    assert refusal.value.answer == (b"" if reply is None else encode_reply(reply))


def test_greeting_offers_methods() -> None:
    assert read_methods(b"\x05\x02\x00\x02rest") == (frozenset({0, 2}), 4)
    assert read_methods(b"\x05\x00") == (frozenset(), 2)
    for begun in (b"", b"\x05", b"\x05\x03\x00\x01"):
        assert read_methods(begun) is None
    with pytest.raises(SocksError, match=r"no SOCKS 5 \(SOCKS 4 is not served\)"):
        read_methods(b"\x04\x01")
    with pytest.raises(SocksError, match=r"no SOCKS 5$"):
        read_methods(b"GET / HTTP/1.1\r\n")


def test_password_is_read_whole() -> None:
    wire = b"\x01\x02me\x06secret"
    assert read_password(wire + b"x") == ("me", "secret", len(wire))
    assert read_password(b"\x01\x00\x00") == ("", "", 3)
    for end in range(len(wire)):
        assert read_password(wire[:end]) is None
    with pytest.raises(SocksError, match="RFC 1929"):
        read_password(b"\x05\x02me")


def test_answers_are_what_the_rfcs_say() -> None:
    assert choose(2) == b"\x05\x02"
    assert judge_password(True) == b"\x01\x00"
    assert judge_password(False) == b"\x01\x01"
    assert encode_reply(Reply.SUCCEEDED) == b"\x05\x00\x00\x01" + bytes(6)


@given(st.binary(max_size=600))
def test_any_bytes_are_understood_or_refused(data: bytes) -> None:
    for read in (read_methods, read_password, read_request):
        try:
            found = read(data)
        except SocksError:
            continue
        assert found is None or 0 < found[-1] <= len(data)
