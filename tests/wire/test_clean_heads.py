"""Heads that go on byte for byte: which of the edited ones still do, and that they say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.wire.events import RequestReceived, ResponseReceived
from proxy_core.wire.http1_encode import encode_request_head, encode_response_head
from proxy_core.wire.http1_head import parse_request_head, parse_response_head

REQUEST = (
    b"POST http://example.com/a?b HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\n"
    b"X-Odd:  spaced \r\nContent-Length: 3\r\nProxy-Connection: keep-alive\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 Fine\r\nServer: o\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\n"
    b"Content-Length: 5\r\n\r\n"
)


def request(raw: bytes = REQUEST) -> RequestReceived:
    return parse_request_head(raw, "http", 200, 32768)


def response(raw: bytes = RESPONSE) -> ResponseReceived:
    return parse_response_head(raw, b"GET", 200)


def request_with(received: RequestReceived, *added: Field) -> RequestHead:
    return received.head.gaining([*added])


def response_with(received: ResponseReceived, *added: Field) -> ResponseHead:
    return received.head.gaining([*added])


names = st.sampled_from([b"X-A", b"x-b", b"Cookie", b"Via", b"Accept"])
values = st.sampled_from([b"", b"1", b"a b", b"\xe9", b"x" * 300])
additions = st.lists(st.tuples(names, values), min_size=1, max_size=4)


@given(additions)
def test_a_request_that_gained_fields_goes_on_as_if_it_was_rebuilt(added: list[Field]) -> None:
    received = request()
    head = request_with(received, *added)
    clean = received.clean_of(head, received.length)
    assert clean is not None
    as_it_goes = parse_request_head(b"POST /a?b HTTP/1.1\r\n" + clean, "http", 200, 32768)
    rebuilt = parse_request_head(encode_request_head(head, 3), "http", 200, 32768)
    assert as_it_goes.head.headers == rebuilt.head.headers
    assert head.raw == REQUEST[:-2] + b"".join(b"%b: %b\r\n" % field for field in added) + b"\r\n"


@given(additions)
def test_a_response_that_gained_fields_goes_on_as_if_it_was_rebuilt(added: list[Field]) -> None:
    received = response()
    head = response_with(received, *added)
    clean = received.clean_of(head, 5)
    assert clean is not None
    as_it_goes = response(b"HTTP/1.1 200 Fine\r\n" + clean)
    rebuilt = response(encode_response_head(head, 5))
    assert as_it_goes.head.headers == rebuilt.head.headers


def test_what_nobody_edited_goes_on_as_it_came() -> None:
    received = request()
    assert received.clean_of(received.head, 3) is received.clean
    answer = response()
    assert answer.clean_of(answer.head, 5) is answer.clean


@pytest.mark.parametrize(
    "name", [b"Content-Length", b"transfer-encoding", b"Host", b"connection", b"Upgrade", b"TE"]
)
def test_a_head_that_gained_a_field_with_a_meaning_to_the_proxy_is_rebuilt(name: bytes) -> None:
    received, answer = request(), response()
    assert received.clean_of(request_with(received, (name, b"1")), 3) is None
    assert answer.clean_of(response_with(answer, (name, b"1")), 5) is None


def test_a_head_that_was_edited_otherwise_too_is_rebuilt() -> None:
    received, answer = request(), response()
    gained = request_with(received, (b"X-A", b"1"))
    for edited in (
        gained.replace(path=b"/other"),
        gained.replace(method=b"PUT"),
        gained.replace(authority=b"example.org"),
        gained.replace(headers=Headers([(b"X-A", b"1")])),
        gained.replace(headers=Headers([(b"X-A", b"1"), *received.head.headers])),
    ):
        assert received.clean_of(edited, 3) is None
    more = response_with(answer, (b"X-A", b"1"))
    for changed in (
        more.replace(status=201),
        more.replace(reason=b"Else"),
        more.replace(headers=Headers([(b"X-A", b"1")])),
    ):
        assert answer.clean_of(changed, 5) is None


def test_a_head_whose_body_is_framed_anew_is_rebuilt() -> None:
    received, answer = request(), response()
    assert received.clean_of(request_with(received, (b"X-A", b"1")), 4) is None
    assert answer.clean_of(response_with(answer, (b"X-A", b"1")), 4) is None


def test_a_head_that_had_to_be_rebuilt_anyway_still_has() -> None:
    received = request()
    received.clean = None
    assert received.clean_of(request_with(received, (b"X-A", b"1")), 3) is None
