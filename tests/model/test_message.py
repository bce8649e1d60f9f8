"""Authorities, and heads that are read back from their bytes."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.errors import RemoteProtocolError
from proxy_core.model.headers import Headers
from proxy_core.model.message import (
    HTTP_2,
    PREVIEW,
    Body,
    RequestHead,
    ResponseHead,
    join_authority,
    parse_fields,
    split_authority,
)
from proxy_core.wire.http1_head import check_authority


@pytest.mark.parametrize(
    ("authority", "scheme", "host", "port"),
    [
        (b"example.com", "http", "example.com", 80),
        (b"example.com", "https", "example.com", 443),
        (b"example.com:8080", "https", "example.com", 8080),
        (b"example.com:", "http", "example.com", 80),
        (b"192.0.2.1:1", "http", "192.0.2.1", 1),
        (b"[::1]", "https", "::1", 443),
        (b"[2001:db8::1]:8443", "https", "2001:db8::1", 8443),
        ("bücher.example:81".encode(), "http", "bücher.example", 81),
        # What the wire refuses comes back whole.
        (b"[::1", "http", "[::1", 80),
        (b"a:b", "http", "a:b", 80),
        (b"", "http", "", 80),
    ],
)
def test_authority_is_split(authority: bytes, scheme: str, host: str, port: int) -> None:
    assert split_authority(authority, scheme) == (host, port)


GOOD = [
    b"h",
    b"h:1",
    b"h:65535",
    b"h:",
    b"[::1]:",
    b"a.b-c_d~e",
    b"%41",
    b"1.2.3.4:80",
    b"[::1]",
    b"[::ffff:1.2.3.4]:1",
]
BAD = [
    b"",
    b":",
    b":80",
    b"h:65536",
    b"h:123456",
    b"h:-1",
    b"h:a",
    b"h:1:2",
    b"h/",
    b"h?",
    b"h#",
    b"u@h",
    b"h h",
    b"h\t",
    b"h\r\n",
    b"h\0",
    b"[::1",
    b"::1",
    b"[h]",
    b"[::1]x",
    b'"h"',
    b"<h>",
    b"h\\x",
]


@pytest.mark.parametrize("authority", GOOD)
def test_sound_authority_is_accepted(authority: bytes) -> None:
    check_authority(authority)


@pytest.mark.parametrize("authority", BAD)
def test_unsound_authority_is_refused(authority: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not a host and port"):
        check_authority(authority)


labels = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=40)
hosts = labels | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str)


@given(hosts, st.integers(0, 65535), st.sampled_from(["http", "https"]))
def test_authority_that_was_joined_splits_again(host: str, port: int, scheme: str) -> None:
    authority = join_authority(host, port, scheme)
    assert split_authority(authority, scheme) == (host, port)
    check_authority(authority)


@given(
    st.binary(max_size=40)
    | st.lists(st.sampled_from([b"[", b"]", b":", b"::", b"1", b"a", b".", b"%"]), max_size=8).map(
        b"".join
    )
)
def test_any_authority_is_refused_or_names_a_host_and_a_port(authority: bytes) -> None:
    host, port = split_authority(authority, "http")
    assert isinstance(host, str)
    try:
        check_authority(authority)
    except RemoteProtocolError:
        return
    assert host
    assert 0 <= port <= 65535
    assert not set(host) & set(" \r\n\t\0/@?#")


names = st.text("abcXYZ09-_", min_size=1, max_size=10).map(str.encode)
values = st.binary(max_size=20).map(
    lambda raw: raw.translate(None, bytes(range(32)) + b"\x7f").strip()
)


@given(st.lists(st.tuples(names, values), max_size=6))
def test_fields_of_a_compact_head_are_those_it_had(fields: list[tuple[bytes, bytes]]) -> None:
    head = RequestHead(b"GET", "http", b"h", b"/", Headers(fields))
    head.compact()
    assert head.headers.fields == fields
    assert parse_fields(head.raw) == fields


def test_body_that_comes_in_shreds_takes_little_more_than_its_size() -> None:
    shreds = [b"%03d" % (number % 1000) for number in range(100_000)]
    tracemalloc.start()
    try:
        body = Body(1024 * 1024)
        for shred in shreds:
            body.feed(bytes(bytearray(shred)))  # a piece of its own, as the wire gives it
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 2 * body.size
    assert body.kept == b"".join(shreds)
    assert not body.truncated


def test_body_that_sheds_keeps_its_beginning_and_goes_on_counting() -> None:
    body = Body(1024 * 1024)
    body.feed(b"a" * 100_000)
    body.feed(b"b")
    assert (body.kept_size, body.truncated) == (100_001, False)
    body.shed()
    body.feed(b"c" * 10)
    body.shed()
    assert (body.size, body.kept_size, body.truncated) == (100_011, PREVIEW, True)
    assert body.kept == b"a" * PREVIEW
    small = Body(1024 * 1024)
    small.feed(b"abc")
    small.shed()
    assert (small.kept, small.truncated) == (b"abc", False)
    small.feed(b"d")
    assert (small.kept, small.size, small.truncated) == (b"abc", 4, True)


@pytest.mark.parametrize(
    "head",
    [
        RequestHead(b"GET", "http", b"a.test", b"/", Headers([(b"Host", b"a.test")])),
        RequestHead(b"GET", "https", b"a.test", b"/", Headers([(b"a", b"b")]), HTTP_2),
        ResponseHead(200, b"OK", Headers([(b"Server", b"x")])),
        ResponseHead(200, raw=b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"),
    ],
    ids=["request", "request in HTTP/2", "response", "response as it came"],
)
def test_a_head_that_gained_fields_is_as_one_that_was_parsed(
    head: RequestHead | ResponseHead,
) -> None:
    fields = head.headers.fields
    once = head.gaining([(b"X", b"1")])
    twice = once.gaining([(b"Y", b"2"), (b"y", b"")], b"Y: 2\r\ny: \r\n")
    raw = head.raw[:-2] + b"X: 1\r\nY: 2\r\ny: \r\n\r\n"
    for _ in range(2):
        assert twice.raw == raw
        assert twice.raw_size == len(raw)
        assert twice.headers.fields == [*fields, (b"X", b"1"), (b"Y", b"2"), (b"y", b"")]
        assert twice.fields == twice.headers.fields
        twice.compact()
    assert head.headers.fields == fields
    assert twice.gained_over(head) == (
        [(b"X", b"1"), (b"Y", b"2"), (b"y", b"")],
        b"X: 1\r\nY: 2\r\ny: \r\n",
    )
    assert twice.gained_over(once) == ([(b"Y", b"2"), (b"y", b"")], b"Y: 2\r\ny: \r\n")
    assert once.gained_over(twice) is None
    assert head.gained_over(head) is None
    assert twice.replace(headers=Headers()).gained_over(head) is None
