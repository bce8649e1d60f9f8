"""HTTP/2 fields to heads and back: nothing that HTTP/1 would read differently gets through."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import HTTP_11, RequestHead, ResponseHead
from proxy_core.wire.events import CHUNKED, RequestReceived
from proxy_core.wire.http1_chunked import encode_last_chunk
from proxy_core.wire.http1_encode import encode_request_head, encode_response_head
from proxy_core.wire.http1_fields import field_kind
from proxy_core.wire.http2_fields import (
    lower_case,
    read_request,
    read_response,
    read_trailers,
    request_fields,
    response_fields,
    wants_trailers,
)
from tests.wire.http1_reading import read_requests, read_responses

LINE: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"example.com"),
    (b":path", b"/a?b"),
]


def read(fields: list[Field], ended: bool = True) -> RequestReceived:
    return read_request(fields, ended, 32768)


def line(**replaced: bytes | None) -> list[Field]:
    """The pseudo-header fields, some replaced, added or (None) left out."""
    pseudo = dict(LINE) | {b":" + n.encode(): v for n, v in replaced.items() if v is not None}
    return [(n, v) for n, v in pseudo.items() if replaced.get(n[1:].decode(), v) is not None]


def _is_ordinary(name: bytes) -> bool:
    return not field_kind(name) and name != b"cookie"


def test_a_request_is_read() -> None:
    received = read([*LINE, (b"accept", b"*/*"), (b"x", b"")])
    head = received.head
    assert (head.method, head.scheme, head.authority, head.path) == (
        b"GET",
        "https",
        b"example.com",
        b"/a?b",
    )
    assert head.version == "HTTP/2"
    assert head.headers.fields == [(b"accept", b"*/*"), (b"x", b"")]
    assert head.raw.startswith(b":method: GET\r\n:scheme: https\r\n")
    assert received.length == 0


@pytest.mark.parametrize(
    ("fields", "ended", "length"),
    [
        ([], True, 0),
        ([], False, CHUNKED),
        ([(b"content-length", b"7")], False, 7),
        ([(b"content-length", b"0")], False, 0),
    ],
)
def test_the_length_of_a_body_is_read(fields: list[Field], ended: bool, length: int) -> None:
    assert read([*line(method=b"POST"), *fields], ended).length == length


def test_a_host_field_stands_in_for_authority_and_never_beside_it() -> None:
    alone = read([*line(authority=None), (b"host", b"other:8443")]).head
    assert (alone.authority, alone.headers.fields) == (b"other:8443", [])
    beside = read([*LINE, (b"host", b"other")]).head
    assert (beside.authority, beside.headers.fields) == (b"example.com", [])


def test_an_empty_port_is_left_out() -> None:
    assert read(line(authority=b"h:")).head.authority == b"h"


def test_cookie_crumbs_are_joined_where_the_first_one_was() -> None:
    crumbs = [(b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")]
    assert read([*LINE, *crumbs]).head.headers.fields == [(b"cookie", b"a=1; b=2"), (b"x", b"y")]


def test_connect_names_an_authority_alone() -> None:
    head = read([(b":method", b"CONNECT"), (b":authority", b"h:443")]).head
    assert (head.method, head.authority, head.path) == (b"CONNECT", b"h:443", b"")


REFUSED: dict[str, list[Field]] = {
    "no method": line(method=None),
    "no scheme": line(scheme=None),
    "no path": line(path=None),
    "an empty path": line(path=b""),
    "a path without a slash": line(path=b"a"),
    "an absolute URL as path": line(path=b"http://h/"),
    "an asterisk for GET": line(path=b"*"),
    "a space in the path": line(path=b"/a HTTP/1.1"),
    "CR LF in the path": line(path=b"/a HTTP/1.1\r\nX: y"),
    "LF in the path": line(path=b"/a\nb"),
    "NUL in the path": line(path=b"/\0"),
    "a tab in the path": line(path=b"/a\tb"),
    "a fragment": line(path=b"/a#b"),
    "a path beyond ASCII": line(path=b"/\xc3\xa4"),
    "a space in the method": line(method=b"GET /x HTTP/1.1"),
    "CR LF in the method": line(method=b"GET\r\nX: y\r\n\r\n"),
    "an empty method": line(method=b""),
    "another scheme": line(scheme=b"ftp"),
    "CR LF in the scheme": line(scheme=b"https\r\n"),
    "CR LF in the authority": line(authority=b"h\r\nX: y"),
    "a space in the authority": line(authority=b"h x"),
    "a path in the authority": line(authority=b"h/x"),
    "user information in the authority": line(authority=b"u@h"),
    "a port beyond range": line(authority=b"h:70000"),
    "a pseudo-header twice": [*LINE, (b":path", b"/b")],
    "a pseudo-header after a field": [*LINE[:3], (b"a", b"b"), LINE[3]],
    "a pseudo-header of responses": [*LINE, (b":status", b"200")],
    "an unknown pseudo-header": [*LINE, (b":x", b"y")],
    "a protocol without CONNECT": line(protocol=b"websocket"),
    "CONNECT with a path": line(method=b"CONNECT"),
    "CONNECT without an authority": [(b":method", b"CONNECT")],
    "upper case": [*LINE, (b"Accept", b"x")],
    "an empty name": [*LINE, (b"", b"x")],
    "a colon in a name": [*LINE, (b"a:b", b"x")],
    "a space in a name": [*LINE, (b"a b", b"x")],
    "CR LF in a name": [*LINE, (b"a\r\nb", b"x")],
    "NUL in a name": [*LINE, (b"a\0", b"x")],
    "a name beyond ASCII": [*LINE, (b"\xc3\xa4", b"x")],
    "CR in a value": [*LINE, (b"a", b"b\rc")],
    "LF in a value": [*LINE, (b"a", b"b\nc")],
    "CR LF hiding a field": [*LINE, (b"a", b"b\r\nTransfer-Encoding: chunked")],
    "NUL in a value": [*LINE, (b"a", b"b\0")],
    "an escape in a value": [*LINE, (b"a", b"\x1b[0m")],
    "space before a value": [*LINE, (b"a", b" b")],
    "a tab after a value": [*LINE, (b"a", b"b\t")],
    "connection": [*LINE, (b"connection", b"close")],
    "keep-alive": [*LINE, (b"keep-alive", b"5")],
    "proxy-connection": [*LINE, (b"proxy-connection", b"close")],
    "transfer-encoding": [*LINE, (b"transfer-encoding", b"chunked")],
    "upgrade": [*LINE, (b"upgrade", b"websocket")],
    "TE with a coding": [*LINE, (b"te", b"gzip")],
    "TE with a coding beside trailers": [*LINE, (b"te", b"trailers, deflate")],
    "TE with a weight": [*LINE, (b"te", b"trailers;q=0.5")],
    "TE without anything": [*LINE, (b"te", b"")],
    "Host twice": [*LINE, (b"host", b"a"), (b"host", b"a")],
    "Host with a space beside an authority": [*LINE, (b"host", b"a b")],
    "Host with user information beside an authority": [*LINE, (b"host", b"a@b")],
    "an address in brackets that is none": line(authority=b"[::1::]"),
    "Host with a line end": [*line(authority=None), (b"host", b"a\r\nb: c")],
    "two lengths": [*line(method=b"POST"), (b"content-length", b"1"), (b"content-length", b"2")],
    "a signed length": [*line(method=b"POST"), (b"content-length", b"+1")],
    "a list of lengths": [*line(method=b"POST"), (b"content-length", b"1, 1")],
    "the same length twice": [*line(method=b"POST"), *[(b"content-length", b"1")] * 2],
    "an empty length": [*line(method=b"POST"), (b"content-length", b"")],
}


@pytest.mark.parametrize("name", REFUSED)
def test_request_is_refused(name: str) -> None:
    with pytest.raises(RemoteProtocolError):
        read(REFUSED[name], ended=False)


def test_a_target_beyond_the_limit_has_its_own_status() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_request(line(path=b"/" + b"a" * 10), True, 10)
    assert caught.value.status == 414


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b":status", b"20")],
        [(b":status", b"2000")],
        [(b":status", b"099")],
        [(b":status", b"101")],
        [(b":status", b"200\r\n")],
        [(b":status", b"200"), (b":status", b"200")],
        [(b":status", b"200"), (b":path", b"/")],
        [(b":status", b"200"), (b"transfer-encoding", b"chunked")],
        [(b":status", b"200"), (b"te", b"gzip")],
        [(b":status", b"200"), (b"a", b"b\r\nset-cookie: x")],
        [(b":status", b"200"), (b"content-length", b"1"), (b"content-length", b"2")],
        [(b":status", b"200"), (b"content-length", b"-1")],
        [(b"a", b"b"), (b":status", b"200")],
    ],
)
def test_response_is_refused(fields: list[Field]) -> None:
    with pytest.raises(RemoteProtocolError):
        read_response(fields, False, b"GET")


@pytest.mark.parametrize("status", [200, 599, 600, 999])
def test_status_of_no_known_meaning_is_read(status: int) -> None:
    fields = [(b":status", b"%d" % status)]
    assert read_response(fields, True, b"GET").head.status == status


@pytest.mark.parametrize("lengths", [[b"x"], [b"-1"], [b""], [b"1", b"2"], [b"1", b"1"]])
@pytest.mark.parametrize(
    ("status", "method"), [(200, b"GET"), (200, b"HEAD"), (304, b"GET"), (204, b"GET")]
)
def test_length_of_an_answer_is_sound_where_it_only_tells_too(
    lengths: list[bytes], status: int, method: bytes
) -> None:
    fields = [(b":status", b"%d" % status), *((b"content-length", value) for value in lengths)]
    with pytest.raises(RemoteProtocolError, match="content-length is no one number"):
        read_response(fields, True, method)


@pytest.mark.parametrize(
    ("status", "method", "ended", "fields", "length"),
    [
        (200, b"GET", False, [], CHUNKED),
        (200, b"GET", True, [], 0),
        (200, b"GET", False, [(b"content-length", b"3")], 3),
        (200, b"HEAD", False, [(b"content-length", b"3")], 0),
        (204, b"GET", False, [], 0),
        (304, b"GET", False, [(b"content-length", b"3")], 0),
        (103, b"GET", False, [], 0),
    ],
)
def test_a_response_is_read(
    status: int, method: bytes, ended: bool, fields: list[Field], length: int
) -> None:
    received = read_response([(b":status", b"%d" % status), *fields], ended, method)
    assert (received.head.status, received.length) == (status, length)
    assert received.informational is (status < 200)


def test_trailers_bring_neither_pseudo_headers_nor_framing() -> None:
    assert read_trailers([(b"x-sum", b"1")]) == [(b"x-sum", b"1")]
    for bad in (b":path", b"transfer-encoding", b"X", b"a b"):
        with pytest.raises(RemoteProtocolError):
            read_trailers([(bad, b"x")])
    with pytest.raises(RemoteProtocolError):
        read_trailers([(b"a", b"b\r\nc: d")])
    # As over HTTP/1: what only a head may say is not passed on to where it might be believed.
    assert read_trailers([(b"content-length", b"9"), (b"host", b"h"), (b"x", b"y")]) == [
        (b"x", b"y")
    ]


def test_fields_to_send_are_spelled_for_http_2_and_end_to_end() -> None:
    given_fields = [
        (b"Host", b"h"),
        (b"Connection", b"close, X-Private"),
        (b"X-Private", b"1"),
        (b"X-Public", b"2"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Keep-Alive", b"5"),
        (b"Upgrade", b"h2c"),
        (b"TE", b"gzip"),
        (b"Proxy-Authorization", b"x"),
        (b"Content-Length", b"3"),
    ]
    head = RequestHead(b"POST", "https", b"h", b"/", Headers(given_fields), HTTP_11)
    assert request_fields(head, 3, trailers_ok=True) == [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"h"),
        (b":path", b"/"),
        (b"x-public", b"2"),
        (b"content-length", b"3"),
        (b"te", b"trailers"),
    ]
    assert (b"content-length", b"3") not in request_fields(head, CHUNKED, trailers_ok=False)
    answer = ResponseHead(200, b"Fine", Headers([(b"X-Y", b"z"), (b"Connection", b"close")]))
    assert response_fields(answer, CHUNKED) == [(b":status", b"200"), (b"x-y", b"z")]
    assert lower_case([(b"X-Sum", b"1")]) == [(b"x-sum", b"1")]


@pytest.mark.parametrize(("status", "kept"), [(103, False), (204, False), (200, True), (304, True)])
def test_answers_that_have_no_length_are_sent_without(status: int, kept: bool) -> None:
    head = ResponseHead(status, b"", Headers([(b"Content-Length", b"9")]))
    assert ((b"content-length", b"9") in response_fields(head, 0)) is kept


def test_a_tunnel_is_asked_for_without_scheme_and_path() -> None:
    head = RequestHead(b"CONNECT", "https", b"h:443", b"", Headers([(b"Host", b"h:443")]))
    assert request_fields(head, 0, trailers_ok=False) == [
        (b":method", b"CONNECT"),
        (b":authority", b"h:443"),
    ]


@pytest.mark.parametrize("name", [b"Authorization", b"Cookie", b"Content-Type"])
def test_connection_cannot_take_away_what_a_message_needs(name: bytes) -> None:
    head = RequestHead(b"GET", "https", b"h", b"/", Headers([(b"Connection", name), (name, b"x")]))
    assert (name.lower(), b"x") in request_fields(head, 0, trailers_ok=False)


def test_te_welcomes_trailers_only_by_name() -> None:
    assert wants_trailers([(b"TE", b"trailers, deflate;q=0.5")])
    assert not wants_trailers([(b"TE", b"gzip"), (b"trailer", b"trailers")])


anything = st.binary(max_size=12) | st.sampled_from(
    [b"GET", b"/", b"http", b"https", b"h", b"h:1", b":path", b"host", b"content-length", b"5"]
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(anything, anything), max_size=4),
    st.dictionaries(st.sampled_from(["method", "scheme", "authority", "path"]), anything),
)
def test_whatever_is_accepted_makes_one_sound_http_1_request(
    fields: list[Field], replaced: dict[str, bytes]
) -> None:
    try:
        received = read([*line(**replaced), *fields])
    except RemoteProtocolError:
        return
    if received.head.method == b"CONNECT" or not received.head.authority:
        return
    encoded = encode_request_head(received.head, 0)
    reading = read_requests([encoded])
    assert reading.refusal is None, encoded
    (message,) = reading.messages
    assert message.complete
    assert message.start == (received.head.method, received.head.path, b"HTTP/1.1")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(anything, anything), max_size=4),
    anything | st.sampled_from([b"200", b"204", b"304", b"103"]),
    st.sampled_from([b"GET", b"HEAD"]),
)
def test_whatever_answer_is_accepted_makes_one_sound_http_1_answer(
    fields: list[Field], status: bytes, method: bytes
) -> None:
    try:
        received = read_response([(b":status", status), *fields], True, method)
    except RemoteProtocolError:
        return
    encoded = encode_response_head(received.head, 0, to_head=method == b"HEAD")
    reading = read_responses([encoded, b""], method)
    assert reading.refusal is None, encoded
    (message,) = reading.messages
    assert message.complete
    assert message.start[1] == status


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(anything, anything), max_size=4))
def test_whatever_trailers_are_accepted_are_trailers_in_http_1(fields: list[Field]) -> None:
    try:
        trailers = read_trailers(fields)
    except RemoteProtocolError:
        return
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    reading = read_requests([head + encode_last_chunk(trailers)])
    assert reading.refusal is None
    (message,) = reading.messages
    assert message.complete
    assert message.trailers == trailers


names = st.text("abcxyz0123456789-_", min_size=1, max_size=10).map(str.encode).filter(_is_ordinary)
values = st.binary(max_size=16).map(
    lambda raw: raw.translate(None, bytes(range(32)) + b"\x7f").strip(b" ")
)
ordinary = st.lists(st.tuples(names, values), max_size=5)


@given(
    st.sampled_from([b"GET", b"POST", b"PROPFIND"]),
    st.sampled_from([b"/", b"/a?b=c", b"//x"]),
    ordinary,
    st.none() | st.integers(0, 10**9),
)
def test_requests_round_trip(
    method: bytes, path: bytes, fields: list[Field], length: int | None
) -> None:
    told = fields if length is None else [*fields, (b"content-length", b"%d" % length)]
    head = RequestHead(method, "https", b"h:8443", path, Headers(told), HTTP_11)
    received = read(request_fields(head, CHUNKED if length is None else length, True), ended=False)
    again = received.head
    assert (again.method, again.scheme, again.authority, again.path) == (
        method,
        "https",
        b"h:8443",
        path,
    )
    assert again.headers.fields == [*told, (b"te", b"trailers")]
    assert received.length == (CHUNKED if length is None else length)


@given(st.integers(200, 599).filter(lambda status: status not in (204, 304)), ordinary)
def test_answers_and_trailers_round_trip(status: int, fields: list[Field]) -> None:
    head = ResponseHead(status, b"", Headers(fields), HTTP_11)
    received = read_response(response_fields(head, CHUNKED), False, b"GET")
    assert (received.head.status, received.head.headers.fields) == (status, fields)
    assert read_trailers(lower_case(fields)) == fields
