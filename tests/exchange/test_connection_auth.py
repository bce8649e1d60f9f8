from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.exchange.connection_auth import (
    asks_connection_to_authenticate,
    authenticates_connection,
)
from proxy_core.model.headers import Headers
from proxy_core.model.message import RequestHead, ResponseHead


def request(*fields: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead(b"GET", "http", b"h", b"/", Headers([(b"Host", b"h"), *fields]))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"Authorization", b"NTLM TlRMTVNTUAAB", True),
        (b"authorization", b"negotiate YII=", True),
        (b"AUTHORIZATION", b"Negotiate", True),
        (b"Proxy-Authorization", b"NTLM TlRM", True),
        (b"Authorization", b"Basic bnRsbQ==", False),
        (b"Authorization", b"Bearer ntlmish", False),
        (b"X-Authorizati", b"NTLM x", False),
        (b"Cookie", b"NTLM x", False),
    ],
)
def test_credentials_of_a_connection_are_recognised(
    name: bytes, value: bytes, expected: bool
) -> None:
    assert authenticates_connection(request((name, value))) is expected


@pytest.mark.parametrize(
    ("status", "name", "value", "expected"),
    [
        (401, b"WWW-Authenticate", b"NTLM", True),
        (401, b"www-authenticate", b"Negotiate oYG2", True),
        (401, b"WWW-Authenticate", b'Basic realm="a", ntlm', True),
        (407, b"Proxy-Authenticate", b"Negotiate", True),
        (401, b"WWW-Authenticate", b'Basic realm="a"', False),
        (200, b"WWW-Authenticate", b"NTLM", False),
        (401, b"Server", b"NTLM", False),
    ],
)
def test_demands_for_them_are_recognised(
    status: int, name: bytes, value: bytes, expected: bool
) -> None:
    head = ResponseHead(status, b"", Headers([(name, value)]))
    assert asks_connection_to_authenticate(head) is expected


@given(
    st.binary(max_size=30)
    | st.lists(st.sampled_from([b"NTLM", b"negotiate", b" ", b",", b"x", b"="]), max_size=6).map(
        b"".join
    )
)
def test_any_value_is_judged_and_no_other_token_is_taken_for_a_scheme(value: bytes) -> None:
    words = value.replace(b",", b" ").lower().split()
    named = b"ntlm" in words or b"negotiate" in words
    assert authenticates_connection(request((b"Authorization", value))) is named
