from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int3rceptor_tui.plugin_tools import har, har_format
from int3rceptor_tui.plugin_tools.har import parse_har, read_har
from int3rceptor_tui.plugin_tools.har_format import HarError
from proxy_core.model.message import HTTP_2, HTTP_10
from tests.tui.plugin_tools.conftest import archive, entry


def one(url: str = "http://example.com/", **changes: Any) -> har.Recorded:
    (recorded,) = parse_har(archive([entry(url, **changes)]), "x.har").exchanges
    return recorded


def test_an_entry_becomes_a_flow() -> None:
    recorded = one(
        "https://example.com:8443/a?b=c#part",
        request={
            "method": "POST",
            "headers": [{"name": "X", "value": " 1 "}, {"name": "x", "value": "2"}],
            "postData": {"mimeType": "text/plain", "text": "sent"},
        },
        response={"content": {"text": base64.b64encode(b"\0\1").decode(), "encoding": "base64"}},
        serverIPAddress="[2001:db8::1]",
        connection="77",
    )
    flow = recorded.finished()
    assert (flow.id, flow.started, recorded.connection) == (1, 1715680800.0, "77")
    assert (flow.request.method, flow.request.url) == (b"POST", "https://example.com:8443/a?b=c")
    assert flow.request.headers.fields == [(b"X", b"1"), (b"x", b"2")]
    assert flow.request_body.kept == b"sent"
    response = flow.response
    assert response is not None
    assert (response.status, response.reason) == (200, b"OK")
    assert flow.response_body.kept == b"\0\1"
    assert flow.server is not None
    assert flow.server.peer == ("2001:db8::1", 8443)


@pytest.mark.parametrize(
    ("content_type", "text", "wire"),
    [
        ("text/html; charset=ISO-8859-1", "grün", b"gr\xfcn"),
        ("text/html; charset=iso-8859-1", "5 €", b"5 \x80"),
        ('text/plain; charset="Shift_JIS"', "日本", b"\x93\xfa\x96{"),
        ("text/html; charset=iso-8859-1", "日本", "日本".encode()),
        ("text/html; charset=hex", "grün", "grün".encode()),
        ("text/html; charset=nobody-knows", "grün", "grün".encode()),
        ("text/html; charset=utf-8", "gr\udcfcn\ud800", b"gr?n?"),
        ("text/html", "grün", "grün".encode()),
    ],
)
def test_bodies_are_bytes_of_the_charset_that_they_name(
    content_type: str, text: str, wire: bytes
) -> None:
    named = [{"name": "Content-Type", "value": content_type}]
    recorded = one(
        "http://example.com/",
        request={"method": "POST", "postData": {"mimeType": content_type, "text": text}},
        response={"headers": named, "content": {"text": text}},
    )
    flow = recorded.finished()
    assert (flow.request_body.kept, flow.response_body.kept) == (wire, wire)


def test_http2_as_browsers_write_it() -> None:
    headers = [
        {"name": ":authority", "value": "example.com"},
        {"name": "User-Agent", "value": "b"},
        {"name": "set-cookie", "value": "a=1\nb=2"},
    ]
    request = one(request={"httpVersion": "h2", "headers": headers}).request
    assert request.version == HTTP_2
    assert request.headers.fields == [
        (b"user-agent", b"b"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    ]
    assert one(request={"httpVersion": "http/1.0"}).request.version == HTTP_10


def test_letters_beyond_ascii_are_escaped_as_browsers_send_them() -> None:
    assert one("http://example.com/\u00fc b").request.path == b"/%C3%BC%20b"


def test_websockets_count_as_their_handshakes() -> None:
    assert one("wss://example.com/chat").request.scheme == "https"


def test_a_response_that_never_came_is_none() -> None:
    assert one(response={"status": 0, "statusText": ""}).response is None


def test_what_no_proxy_carries_is_left_out_and_counted() -> None:
    entries = [
        entry("data:text/plain,hello"),
        entry("blob:https://example.com/1"),
        entry("http://example.com/", request={"method": "CONNECT"}),
        entry("http://example.com/"),
    ]
    read = parse_har(archive(entries), "x.har")
    assert [recorded.number for recorded in read.exchanges] == [4]
    assert [(one.number, one.expected) for one in read.left_out] == [
        (1, True),
        (2, True),
        (3, True),
    ]


def test_a_byte_order_mark_is_no_matter() -> None:
    assert parse_har(b"\xef\xbb\xbf" + archive([]), "x.har").exchanges == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a HAR 1.2 archive"),
        (b"[1]", "no list log.entries"),
        (b'{"log": {}}', "no list log.entries"),
        (b'{"log": {"entries": {}}}', "no list log.entries"),
        (archive([entry()])[:-9], "is it whole?"),
        (b'{"log": ' + b"9" * 5000 + b"}", "not a HAR 1.2 archive"),
        (b"\xff\xfe", "not a HAR 1.2 archive"),
        (
            archive([7, entry(response={"status": "two"})]),
            "entry 1 cannot be run: Expected `object`",
        ),
        (archive([entry(response={"status": "two"})]), "$.response.status"),
        (archive([entry("http:///x"), entry("http:///y")]), "cannot be run: URL 'http:///x'"),
        (archive([entry("http:///x"), entry("http:///y")]), "; nor can 1 other"),
        (archive([entry(request={"method": "A B"})]), "cannot be run: method 'A B'"),
        (archive([entry(response={"status": 1000})]), "status 1000"),
        (archive([entry(response={"statusText": "a\r\nb"})]), "status text"),
        (archive([entry(request={"headers": [{"name": "a b", "value": ""}]})]), "header name"),
        (
            archive([entry(request={"headers": [{"name": "a", "value": "\0"}]})]),
            "control character",
        ),
        (
            archive([entry(request={"headers": [{"name": "a", "value": "b"}] * 10_000})]),
            "10000 headers; at most",
        ),
        (
            archive([entry(response={"content": {"text": "!", "encoding": "base64"}})]),
            "not base64",
        ),
        (b"[" * 100_000, "not a HAR 1.2 archive"),
    ],
)
def test_what_is_wrong_with_an_archive_is_said(data: bytes, reason: str) -> None:
    with pytest.raises(HarError) as caught:
        parse_har(data, "x.har")
    assert reason in str(caught.value)


def test_archives_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(har_format, "ENTRIES", 2)
    with pytest.raises(HarError, match="3 entries; at most 2"):
        parse_har(archive([entry()] * 3), "x.har")
    monkeypatch.setattr(har, "HAR_BYTES", 10)
    (tmp_path / "x.har").write_bytes(archive([]))
    with pytest.raises(HarError, match="larger than 10 bytes"):
        read_har(tmp_path / "x.har")


@pytest.mark.parametrize(
    "time", ["yesterday", "", None, 7, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
def test_a_time_that_no_clock_shows_is_the_beginning(time: object) -> None:
    assert one(startedDateTime=time).started == 0.0


def test_what_cannot_be_run_is_left_out_and_said() -> None:
    entries = [
        entry(),
        entry(response={"status": 999}),
        entry("http:///x"),
        "nonsense",
        entry("data:,x"),
    ]
    read = parse_har(archive(entries), "x.har")
    assert [recorded.number for recorded in read.exchanges] == [1]
    assert [(one.number, one.expected) for one in read.left_out] == [
        (2, False),
        (3, False),
        (4, False),
        (5, True),
    ]
    assert "status 999 is none" in read.left_out[0].why


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(key=st.sampled_from(["request", "response"]), value=_JSON, name=st.text(max_size=12))
def test_any_archive_gives_flows_or_a_har_error(key: str, value: Any, name: str) -> None:
    names = ["method", "url", "headers", "status", "statusText", "content", "postData", name]
    for field in names:
        raw = entry()
        raw[key][field] = value
        try:
            data = json.dumps({"log": {"entries": [raw]}}).encode()
        except UnicodeEncodeError:
            continue
        try:
            for recorded in parse_har(data, "x.har").exchanges:
                recorded.finished()
        except HarError:
            pass
