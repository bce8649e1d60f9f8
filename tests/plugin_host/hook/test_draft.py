"""Edits of heads: what they may be, what follows from them, and that nothing leaks out early."""

from __future__ import annotations

import pytest

from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import HTTP_2, HTTP_11, RequestHead, ResponseHead
from proxy_core.plugin_host.codes import NOT_IN_HOOK, NOT_PERMITTED, OK, OVER_LIMIT
from proxy_core.plugin_host.hook.draft import RequestDraft, ResponseDraft

FIELDS: tuple[Field, ...] = (
    (b"Host", b"example.com"),
    (b"Accept", b"a"),
    (b"accept", b"b"),
    (b"X-Last", b"z"),
)


def request(
    method: bytes = b"GET", version: str = HTTP_11, fields: tuple[Field, ...] = FIELDS
) -> RequestDraft:
    head = RequestHead(method, "http", b"example.com", b"/p?q", Headers(fields), version)
    return RequestDraft(head)


def response(status: int = 200, version: str = HTTP_11) -> ResponseDraft:
    return ResponseDraft(ResponseHead(status, b"Old", Headers(FIELDS), version))


def built(draft: RequestDraft) -> RequestHead:
    head = draft.build()
    assert head is not None
    return head


def test_a_draft_that_was_only_read_builds_nothing() -> None:
    draft = request()
    assert draft.headers.get(b"accept") == b"a"
    assert draft.build() is None
    assert response().build() is None


def test_edits_that_change_nothing_build_nothing() -> None:
    draft = request()
    assert draft.set_header(b"X-Last", b"z") == OK
    assert draft.set_host(b"example.com") == OK
    assert draft.remove_header(b"absent") == 0
    assert draft.build() is None


def test_headers_are_set_added_and_removed_in_place() -> None:
    draft = request()
    assert draft.set_header(b"ACCEPT", b"c") == OK
    assert draft.add_header(b"X-New", b"1") == OK
    assert draft.add_header(b"X-New", b"2") == OK
    assert draft.remove_header(b"x-last") == 1
    assert built(draft).headers.fields == [
        (b"Host", b"example.com"),
        (b"Accept", b"c"),
        (b"X-New", b"1"),
        (b"X-New", b"2"),
    ]
    assert tuple(draft.original.headers.fields) == FIELDS


def test_removing_counts_every_line() -> None:
    assert request().remove_header(b"accept") == 2


def test_names_are_lower_case_where_the_message_is_http2() -> None:
    draft = request(version=HTTP_2)
    draft.add_header(b"X-New", b"1")
    assert built(draft).headers.get_all(b"x-new") == [b"1"]
    assert (b"x-new", b"1") in built(draft).headers.fields


@pytest.mark.parametrize(
    "name",
    [
        b"Connection",
        b"content-length",
        b"HOST",
        b"HTTP2-Settings",
        b"Keep-Alive",
        b"Proxy-Connection",
        b"TE",
        b"Trailer",
        b"Transfer-Encoding",
        b"Upgrade",
    ],
)
def test_framing_belongs_to_the_proxy(name: bytes) -> None:
    draft = request()
    assert draft.set_header(name, b"1") == NOT_PERMITTED
    assert draft.add_header(name, b"1") == NOT_PERMITTED
    assert draft.remove_header(name) == NOT_PERMITTED
    assert draft.build() is None


@pytest.mark.parametrize(
    "name", [b"", b"a b", b"a:", b":path", b"a\r\nb", b"a\0", b"a\tb", b"\xc3\xa9", b"(a)"]
)
def test_a_name_must_be_a_token(name: bytes) -> None:
    draft = request()
    assert draft.set_header(name, b"1") == NOT_PERMITTED
    assert draft.add_header(name, b"1") == NOT_PERMITTED
    assert draft.build() is None


@pytest.mark.parametrize("value", [b"a\r\nX: b", b"a\n", b"a\r", b"\0", b"a\x7f", b"\x1b[31m"])
def test_a_value_must_stay_on_its_line(value: bytes) -> None:
    draft = request()
    assert draft.add_header(b"X", value) == NOT_PERMITTED
    assert draft.build() is None


@pytest.mark.parametrize("value", [b"", b"a b\tc", b"caf\xc3\xa9", b"\xff"])
def test_a_value_may_be_any_text(value: bytes) -> None:
    assert request().add_header(b"X", value) == OK


def test_what_is_added_is_bounded_in_bytes() -> None:
    draft = request()
    assert draft.add_header(b"X", b"v" * 65536) == OVER_LIMIT
    assert [draft.add_header(b"X", b"v" * 30_000) for _ in range(3)] == [OK, OK, OVER_LIMIT]


def test_what_is_added_is_bounded_in_number() -> None:
    draft = request()
    codes = [draft.add_header(b"X", b"v") for _ in range(300)]
    assert codes.count(OK) == 200 - len(FIELDS)
    assert codes[-1] == OVER_LIMIT


@pytest.mark.parametrize("raw", [b"POST", b"QUERY", b"x-custom"])
def test_methods_change(raw: bytes) -> None:
    draft = request()
    assert draft.set_method(raw) == OK
    assert built(draft).raw.startswith(raw + b" /p?q HTTP/1.1\r\n")


@pytest.mark.parametrize("raw", [b"", b"GET /", b"G\r\n", b"CONNECT", b"connect", b"G" * 65])
def test_what_is_no_method_is_refused(raw: bytes) -> None:
    draft = request()
    assert draft.set_method(raw) == NOT_PERMITTED
    assert draft.build() is None


def test_head_stays_head_because_its_response_has_no_body() -> None:
    assert request().set_method(b"HEAD") == NOT_PERMITTED
    assert request(b"HEAD").set_method(b"GET") == NOT_PERMITTED
    assert request(b"HEAD").set_method(b"HEAD") == OK


@pytest.mark.parametrize(
    ("raw", "scheme", "authority", "path"),
    [
        (b"https://other.test/a?b=c", "https", b"other.test", b"/a?b=c"),
        (b"HTTP://other.test:8080", "http", b"other.test:8080", b"/"),
        (b"http://[2001:db8::1]:1/", "http", b"[2001:db8::1]:1", b"/"),
        (b"http://other.test?x", "http", b"other.test", b"/?x"),
        (b"http://1.2.3.4/%20\x22", "http", b"1.2.3.4", b"/%20\x22"),
    ],
)
def test_urls_change_target_and_host_header(
    raw: bytes, scheme: str, authority: bytes, path: bytes
) -> None:
    draft = request()
    assert draft.set_url(raw) == OK
    head = built(draft)
    assert (head.scheme, head.authority, head.path) == (scheme, authority, path)
    assert head.headers.get_all(b"host") == [authority]
    assert draft.url == f"{scheme}://{authority.decode()}{path.decode()}".encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"/path",
        b"ftp://a/",
        b"http:///a",
        b"http://user@a/",
        b"http://a/ b",
        b"http://a/\r\nX: y",
        b"http://a/#fragment",
        b"http://a:0/",
        b"http://a:65536/",
        b"http://a:x/",
        b"http://[::g]/",
        b"http://[::1%25eth0]/",
        b"http://a\0/",
        b"http://a/\xc3\xa9",
        b"http://a b/",
        b"http://a/\x7f",
    ],
)
def test_what_is_no_url_is_refused(raw: bytes) -> None:
    draft = request()
    assert draft.set_url(raw) == NOT_PERMITTED
    assert draft.build() is None


def test_a_long_url_is_over_the_limit() -> None:
    assert request().set_url(b"http://a/" + b"x" * 32768) == OVER_LIMIT


@pytest.mark.parametrize(
    ("raw", "authority"),
    [(b"other.test", b"other.test"), (b"::1", b"[::1]"), (b"[::1]", b"[::1]")],
)
def test_the_host_changes_and_the_port_stays(raw: bytes, authority: bytes) -> None:
    draft = request()
    draft.set_port(b"8080")
    assert draft.set_host(raw) == OK
    assert built(draft).authority == authority + b":8080"
    assert built(draft).headers.get(b"host") == authority + b":8080"


@pytest.mark.parametrize(
    "raw", [b"", b"a b", b"a/b", b"a:80", b"a\r\n", b"u@a", b"[a]", b"a" * 256, b"\xff"]
)
def test_what_is_no_host_is_refused(raw: bytes) -> None:
    draft = request()
    assert draft.set_host(raw) == NOT_PERMITTED
    assert draft.build() is None


@pytest.mark.parametrize("raw", [b"", b"0", b"65536", b"-1", b"8O", b"000080", b"\xb2"])
def test_what_is_no_port_is_refused(raw: bytes) -> None:
    assert request().set_port(raw) == NOT_PERMITTED


def test_the_scheme_changes_and_a_port_not_named_follows() -> None:
    draft = request()
    assert draft.set_scheme(b"https") == OK
    assert built(draft).port == 443
    assert draft.set_scheme(b"ws") == NOT_PERMITTED


def test_without_a_host_field_none_is_made() -> None:
    draft = request(version=HTTP_2, fields=())
    draft.set_host(b"other.test")
    assert built(draft).headers.fields == []


def test_connect_requests_keep_their_target() -> None:
    draft = request(b"CONNECT")
    assert draft.set_method(b"GET") == NOT_IN_HOOK
    assert draft.set_url(b"http://a/") == NOT_IN_HOOK
    assert draft.set_host(b"a") == NOT_IN_HOOK
    assert draft.set_port(b"1") == NOT_IN_HOOK
    assert draft.set_scheme(b"http") == NOT_IN_HOOK


def test_a_status_brings_its_reason() -> None:
    draft = response()
    assert draft.set_status(b"404") == OK
    head = draft.build()
    assert head is not None
    assert (head.status, head.reason) == (404, b"Not Found")
    assert draft.set_reason(b"Gone fishing") == OK
    head = draft.build()
    assert head is not None
    assert head.raw.startswith(b"HTTP/1.1 404 Gone fishing\r\n")


def test_the_same_status_keeps_the_reason() -> None:
    draft = response()
    assert draft.set_status(b"200") == OK
    assert draft.build() is None


def test_a_status_without_a_standard_reason_has_none() -> None:
    draft = response()
    assert draft.set_status(b"599") == OK
    assert draft.reason == b""


@pytest.mark.parametrize("raw", [b"", b"100", b"199", b"600", b"2000", b"20x", b"-200"])
def test_what_is_no_final_status_is_refused(raw: bytes) -> None:
    assert response().set_status(raw) == NOT_PERMITTED


@pytest.mark.parametrize(
    ("old", "new"), [(200, b"204"), (200, b"304"), (304, b"200"), (101, b"200")]
)
def test_a_status_that_changes_the_framing_is_refused(old: int, new: bytes) -> None:
    assert response(old).set_status(new) == NOT_PERMITTED


@pytest.mark.parametrize("raw", [b"a\r\nb", b"\0", b"x" * 513])
def test_a_reason_must_stay_on_its_line(raw: bytes) -> None:
    assert response().set_reason(raw) == NOT_PERMITTED


@pytest.mark.parametrize("path", [b"/", b"/a%26b?c=d", b"/?", b"/~x:@!$"])
def test_a_path_is_set_as_it_is_written(path: bytes) -> None:
    draft = request()
    assert draft.set_path(path) == OK
    assert built(draft).path == path
    assert built(draft).authority == b"example.com"


@pytest.mark.parametrize("path", [b"", b"a", b"/a b", b"/a#b", b"/\xff", b"http://h/", b"/\r\n"])
def test_what_is_no_path_is_not_set(path: bytes) -> None:
    draft = request()
    assert draft.set_path(path) == NOT_PERMITTED
    assert draft.build() is None


def test_a_path_has_a_limit_and_a_tunnel_has_none() -> None:
    assert request().set_path(b"/" * 100_000) == OVER_LIMIT
    assert request(b"CONNECT").set_path(b"/") == NOT_IN_HOOK


def test_a_head_that_only_gained_fields_keeps_the_bytes_it_came_as() -> None:
    raw = b"GET http://example.com/p HTTP/1.1\r\nhOST:example.com\r\n\r\n"
    head = RequestHead(b"GET", "http", b"example.com", b"/p", None, HTTP_11, raw)
    draft = RequestDraft(head)
    assert draft.add_header(b"X-A", b"1") == draft.add_header(b"X-B", b"2") == OK
    assert built(draft).raw == raw[:-2] + b"X-A: 1\r\nX-B: 2\r\n\r\n"
    assert built(draft).headers.fields[1:] == [(b"X-A", b"1"), (b"X-B", b"2")]
    assert head.raw == raw


@pytest.mark.parametrize("edit", ["set", "remove", "path", "authority"])
@pytest.mark.parametrize("first", [True, False])
def test_any_other_edit_renders_the_head_anew(edit: str, first: bool) -> None:
    draft = request()
    if first:
        draft.add_header(b"X-A", b"1")
    match edit:
        case "set":
            draft.set_header(b"Accept", b"c")
        case "remove":
            draft.remove_header(b"x-last")
        case "path":
            draft.set_path(b"/other")
        case "authority":
            draft.set_host(b"example.org")
    if not first:
        draft.add_header(b"X-A", b"1")
    head = built(draft)
    again = RequestHead(
        head.method, head.scheme, head.authority, head.path, Headers(draft.headers), head.version
    )
    assert head.raw == again.raw
    assert head.headers.get(b"x-a") == b"1"
