"""WebSockets between HTTP/2, which asks by CONNECT, and HTTP/1, which asks by GET (RFC 8441)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.wire.events import RequestReceived, ResponseReceived
from proxy_core.wire.extended_connect import (
    accepts,
    as_answer,
    as_switch,
    as_upgrade,
    connect_fields,
)
from proxy_core.wire.http1_encode import encode_request_head
from proxy_core.wire.http2_fields import read_request

CONNECT: list[Field] = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"https"),
    (b":authority", b"h"),
    (b":path", b"/chat?x"),
    (b"sec-websocket-version", b"13"),
]


def asked(*more: Field) -> RequestReceived:
    return as_upgrade(read_request([*CONNECT, *more], False, 32768))


def test_connect_becomes_the_get_that_http_1_knows() -> None:
    received = asked((b"sec-websocket-protocol", b"chat"), (b"origin", b"https://h"))
    assert (received.head.method, received.upgrade, received.length) == (b"GET", b"websocket", 0)
    wire = encode_request_head(received.head, 0, received.upgrade)
    assert wire.startswith(b"GET /chat?x HTTP/1.1\r\nHost: h\r\n")
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in wire
    assert b"\r\nsec-websocket-protocol: chat\r\n" in wire
    key = received.head.headers.get(b"sec-websocket-key") or b""
    assert len(base64.b64decode(key, validate=True)) == 16


def test_every_request_has_a_key_of_its_own_whatever_the_client_sends() -> None:
    first, second = asked((b"sec-websocket-key", b"mine")), asked()
    keys = [received.head.headers.get_all(b"sec-websocket-key") for received in (first, second)]
    assert [len(key) for key in keys] == [1, 1]
    assert len({*keys[0], *keys[1], b"mine"}) == 3


def test_connect_for_another_protocol_stays_one() -> None:
    received = read_request([*CONNECT[:1], (b":protocol", b"connect-udp"), *CONNECT[2:]], False, 99)
    assert as_upgrade(received) is received


def test_proof_of_the_rfc_is_accepted_and_no_other() -> None:
    fields = [(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")]
    request = RequestHead(b"GET", "http", b"h", b"/", Headers(fields))
    for proof, good in ((b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", True), (b"x", False), (b"", False)):
        answer = ResponseHead(101, b"", Headers([(b"Sec-WebSocket-Accept", proof)]))
        assert accepts(request, answer) is good
    assert not accepts(request, ResponseHead(101, b"", Headers()))


@pytest.mark.parametrize(
    ("status", "told"), [(101, 200), (200, 502), (204, 502), (299, 502), (302, 302), (403, 403)]
)
def test_only_a_switch_opens_it_for_an_http_2_client(status: int, told: int) -> None:
    fields = [(b"Sec-WebSocket-Accept", b"x"), (b"Sec-WebSocket-Protocol", b"chat")]
    answer = as_answer(ResponseHead(status, b"Reason", Headers(fields)))
    assert answer.status == told
    assert (b"sec-websocket-accept" in answer.headers) is (status != 101)
    assert answer.headers.get(b"sec-websocket-protocol") == b"chat"


@pytest.mark.parametrize(
    ("status", "opens"), [(200, True), (204, True), (302, False), (404, False)]
)
def test_answer_of_an_http_2_origin_becomes_a_switch_with_its_proof(
    status: int, opens: bool
) -> None:
    received = asked()
    answer = as_switch(received.head, ResponseReceived(ResponseHead(status), 0))
    assert answer.head.status == (101 if opens else status)
    assert answer.upgrade == (b"websocket" if opens else None)
    assert accepts(received.head, answer.head) is opens


ordinary = st.tuples(
    st.sampled_from([b"origin", b"cookie", b"x-a", b"sec-websocket-protocol", b"x-b"]),
    st.text("abc;= ,", max_size=8).map(lambda text: text.strip().encode()),
)


@given(st.lists(ordinary, max_size=5, unique_by=lambda field: field[0]))
def test_connect_survives_the_way_through_http_1(fields: list[Field]) -> None:
    received = asked(*fields)
    assert connect_fields(received.head) == [*CONNECT, *fields]


anything = st.binary(max_size=10) | st.sampled_from(
    [b"websocket", b"CONNECT", b"/", b"h", b"https"]
)


@given(
    st.dictionaries(
        st.sampled_from([b":method", b":protocol", b":scheme", b":authority", b":path"]), anything
    ),
    st.lists(st.tuples(anything, anything), max_size=2),
)
def test_any_connect_makes_a_sound_get_or_is_refused(
    changed: dict[bytes, bytes], more: list[Field]
) -> None:
    pseudo = [(name, changed.get(name, value)) for name, value in CONNECT]
    try:
        received = as_upgrade(read_request([*pseudo, *more], False, 32768))
    except RemoteProtocolError:
        return
    if received.upgrade == b"websocket":
        head = encode_request_head(received.head, 0, received.upgrade)
        start, _, lines = head.partition(b"\r\n")
        assert start.count(b" ") == 2
        assert b"\0" not in head
        assert all(b": " in line for line in lines.removesuffix(b"\r\n\r\n").split(b"\r\n"))
        assert head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n")
