"""Header maps: what filters see, what they may write, and every status."""

from __future__ import annotations

import struct

import pytest

from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
from proxy_core.model.message import HTTP_2
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
    Map,
    StreamType,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import CallAnswer
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import pack_pairs, unpack_pairs
from proxy_core.plugin_host.hook.commit import commit
from proxy_core.plugin_host.hook.draft import RequestDraft
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE
from tests.plugin_host.foreign.proxy_wasm.fake_filter import FakeFilter
from tests.plugin_host.guests import make_flow, respond_with

GET = "proxy_get_header_map_value"
PAIRS = "proxy_get_header_map_pairs"
SET_PAIRS = "proxy_set_header_map_pairs"
SIZE = "proxy_get_header_map_size"
ADD = "proxy_add_header_map_value"
REPLACE = "proxy_replace_header_map_value"
REMOVE = "proxy_remove_header_map_value"

FIELDS: tuple[Field, ...] = (
    (b"Host", b"example.com"),
    (b"Accept", b"a"),
    (b"X-Twice", b"1"),
    (b"x-twice", b"2"),
    (b"Content-Length", b"5"),
)


def on_request(**permissions: bool) -> FakeFilter:
    return FakeFilter(Hook.REQUEST, make_flow(FIELDS), **permissions)


def on_response(**permissions: bool) -> FakeFilter:
    flow = respond_with(make_flow(FIELDS), 200, [(b"Server", b"s"), (b"Content-Length", b"3")])
    return FakeFilter(Hook.RESPONSE, flow, **permissions)


def committed(guest: FakeFilter) -> Flow:
    commit(guest.call)
    assert guest.call.flow is not None
    return guest.call.flow


def pairs_of(guest: FakeFilter, number: int) -> list[Field]:
    data = guest.ask(PAIRS, number)
    assert isinstance(data, bytes)
    pairs = unpack_pairs(data)
    assert pairs is not None
    return pairs


def test_a_request_has_pseudo_headers_and_names_in_lower_case() -> None:
    assert pairs_of(on_request(), Map.REQUEST_HEADERS) == [
        (b":authority", b"example.com"),
        (b":path", b"/path?q=1"),
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b"accept", b"a"),
        (b"x-twice", b"1"),
        (b"x-twice", b"2"),
        (b"content-length", b"5"),
    ]


def test_a_response_has_its_status_first() -> None:
    assert pairs_of(on_response(), Map.RESPONSE_HEADERS)[:2] == [
        (b":status", b"200"),
        (b"server", b"s"),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b":method", b"GET"),
        (b":path", b"/path?q=1"),
        (b":authority", b"example.com"),
        (b"host", b"example.com"),
        (b"HOST", b"example.com"),
        (b":scheme", b"http"),
        (b"ACCEPT", b"a"),
        (b"x-twice", b"1"),
        (b":status", NOT_FOUND),
        (b"absent", NOT_FOUND),
    ],
)
def test_one_value_is_found_by_its_name(name: bytes, value: bytes | int) -> None:
    assert on_request().ask(GET, Map.REQUEST_HEADERS, name) == value


def test_an_absent_value_is_empty_in_the_first_version() -> None:
    guest = on_request()
    guest.instance.version = (0, 1, 0)
    assert guest.ask(GET, Map.REQUEST_HEADERS, b"absent") == b""


def test_the_size_is_that_of_the_serialised_map() -> None:
    guest = on_request()
    whole = guest.ask(PAIRS, Map.REQUEST_HEADERS)
    assert isinstance(whole, bytes)
    assert guest.run(SIZE, Map.REQUEST_HEADERS, 8) == OK
    assert guest.u32(8) == len(whole)


def test_headers_are_written_by_the_rules_of_all_plugins() -> None:
    guest = on_request()
    assert guest.run(ADD, Map.REQUEST_HEADERS, b"x-new", b"1") == OK
    assert guest.run(REPLACE, Map.REQUEST_HEADERS, b"x-twice", b"3") == OK
    assert guest.run(REMOVE, Map.REQUEST_HEADERS, b"accept") == OK
    assert guest.run(REMOVE, Map.REQUEST_HEADERS, b"absent") == OK
    assert guest.ask(GET, Map.REQUEST_HEADERS, b"x-new") == b"1"
    assert committed(guest).request.headers.fields == [
        (b"Host", b"example.com"),
        (b"X-Twice", b"3"),
        (b"Content-Length", b"5"),
        (b"x-new", b"1"),
    ]


def test_nothing_is_written_before_the_call_ends_well() -> None:
    guest = on_request()
    guest.run(ADD, Map.REQUEST_HEADERS, b"x-new", b"1")
    assert guest.call.flow is not None
    assert b"x-new" not in guest.call.flow.request.headers


def test_pseudo_headers_can_be_replaced() -> None:
    guest = on_request()
    for name, value in (
        (b":method", b"PUT"),
        (b":path", b"/other?x"),
        (b":scheme", b"https"),
        (b":authority", b"other.example:8443"),
    ):
        assert guest.run(REPLACE, Map.REQUEST_HEADERS, name, value) == OK
    request = committed(guest).request
    assert request.url == "https://other.example:8443/other?x"
    assert request.method == b"PUT"
    assert request.headers.get(b"host") == b"other.example:8443"


def test_host_is_another_name_of_the_authority() -> None:
    guest = on_request()
    assert guest.run(REPLACE, Map.REQUEST_HEADERS, b"host", b"other.example") == OK
    assert committed(guest).request.authority == b"other.example"


def test_the_status_can_be_replaced() -> None:
    guest = on_response()
    assert guest.run(REPLACE, Map.RESPONSE_HEADERS, b":status", b"503") == OK
    response = committed(guest).response
    assert response is not None
    assert (response.status, response.reason) == (503, b"Service Unavailable")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"bad name", b"x"),
        (b"", b"x"),
        (b"x", b"a\r\nb: c"),
        (b":method", b"CONNECT"),
        (b":path", b"relative"),
        (b":path", b"/a b"),
        (b":authority", b"user@host"),
        (b":authority", b"a/b"),
        (b":scheme", b"ftp"),
        (b":status", b"200"),
        (b":invented", b"x"),
    ],
)
@pytest.mark.parametrize("writer", [ADD, REPLACE])
def test_what_may_not_be_written_is_a_bad_argument(writer: str, name: bytes, value: bytes) -> None:
    guest = on_request()
    assert guest.run(writer, Map.REQUEST_HEADERS, name, value) == BAD_ARGUMENT
    assert isinstance(guest.call.draft, RequestDraft)
    assert guest.call.draft.build() is None


@pytest.mark.parametrize("name", [b"content-length", b"Transfer-Encoding", b"connection", b"te"])
@pytest.mark.parametrize("writer", [ADD, REPLACE])
def test_what_the_proxy_owns_is_taken_as_written_and_follows_by_itself(
    writer: str, name: bytes
) -> None:
    guest = on_request()
    assert guest.run(writer, Map.REQUEST_HEADERS, name, b"7") == OK
    assert committed(guest).request.headers.fields == list(FIELDS)


@pytest.mark.parametrize("name", [b"content-length", b"connection", b"host", b"te"])
def test_removing_what_the_proxy_owns_changes_nothing(name: bytes) -> None:
    guest = on_request()
    assert guest.run(REMOVE, Map.REQUEST_HEADERS, name) == OK
    assert committed(guest).request.headers.fields == list(FIELDS)


def test_a_pseudo_header_cannot_be_removed() -> None:
    assert on_request().run(REMOVE, Map.REQUEST_HEADERS, b":path") == BAD_ARGUMENT


def test_all_fields_can_be_set_at_once() -> None:
    guest = on_request()
    pairs = [
        (b":authority", b"example.com"),
        (b":path", b"/new"),
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b"x-new", b"1"),
        (b"accept", b"b"),
        (b"connection", b"upgrade"),
    ]
    assert guest.run(SET_PAIRS, Map.REQUEST_HEADERS, pack_pairs(pairs)) == OK
    request = committed(guest).request
    assert (request.method, request.path) == (b"POST", b"/new")
    assert request.headers.fields == [
        (b"Host", b"example.com"),
        (b"x-new", b"1"),
        (b"Accept", b"b"),
        (b"Content-Length", b"5"),
    ]


def test_setting_what_is_there_already_edits_nothing() -> None:
    guest = on_request()
    data = guest.ask(PAIRS, Map.REQUEST_HEADERS)
    assert isinstance(data, bytes)
    assert guest.run(SET_PAIRS, Map.REQUEST_HEADERS, data) == OK
    assert isinstance(guest.call.draft, RequestDraft)
    assert guest.call.draft.build() is None


def test_setting_all_fields_is_all_or_nothing() -> None:
    guest = on_request()
    pairs = [(b":path", b"/new"), (b":scheme", b"ftp"), (b"x", b"1")]
    assert guest.run(SET_PAIRS, Map.REQUEST_HEADERS, pack_pairs(pairs)) == BAD_ARGUMENT
    pairs = [(b":path", b"/new"), (b"bad name", b"1")]
    assert guest.run(SET_PAIRS, Map.REQUEST_HEADERS, pack_pairs(pairs)) == BAD_ARGUMENT
    assert isinstance(guest.call.draft, RequestDraft)
    assert guest.call.draft.build() is None


@pytest.mark.parametrize("empty", [b"", b"\0", bytes(4)])
def test_an_empty_map_has_three_spellings(empty: bytes) -> None:
    guest = on_response()
    assert guest.run(SET_PAIRS, Map.RESPONSE_HEADERS, empty) == OK
    response = committed(guest).response
    assert response is not None
    assert response.headers.fields == [(b"Content-Length", b"3")]


@pytest.mark.parametrize(
    "block",
    [
        b"\1",
        struct.pack("<I", 1),
        struct.pack("<III", 1, 1, 1) + b"a\0b",
        struct.pack("<III", 1, 1, 1) + b"a\0b\0x",
        struct.pack("<III", 1, 1, 1) + b"axbx",
        struct.pack("<III", 1, HIGH, HIGH) + b"a\0b\0",
        struct.pack("<I", HIGH),
    ],
)
def test_a_malformed_map_is_a_bad_argument(block: bytes) -> None:
    assert on_request().run(SET_PAIRS, Map.REQUEST_HEADERS, block) == BAD_ARGUMENT


def test_without_permission_messages_can_only_be_read() -> None:
    for guest, number in (
        (on_request(modify_requests=False), Map.REQUEST_HEADERS),
        (on_response(modify_responses=False), Map.RESPONSE_HEADERS),
    ):
        assert isinstance(guest.ask(PAIRS, number), bytes)
        assert guest.run(ADD, number, b"x", b"1") == INTERNAL_FAILURE
        assert guest.run(REPLACE, number, b"x", b"1") == INTERNAL_FAILURE
        assert guest.run(REMOVE, number, b"x") == INTERNAL_FAILURE
        assert guest.run(SET_PAIRS, number, b"") == INTERNAL_FAILURE
        assert guest.denied == dict.fromkeys([ADD, REPLACE, REMOVE, SET_PAIRS], 1)


def test_the_request_can_be_read_and_not_written_behind_it() -> None:
    guest = on_response()
    assert guest.ask(GET, Map.REQUEST_HEADERS, b"host") == b"example.com"
    assert guest.run(ADD, Map.REQUEST_HEADERS, b"x", b"1") == BAD_ARGUMENT


@pytest.mark.parametrize(
    "number",
    [
        Map.RESPONSE_HEADERS,
        Map.REQUEST_TRAILERS,
        Map.RESPONSE_TRAILERS,
        Map.GRPC_INITIAL_METADATA,
        Map.GRPC_TRAILING_METADATA,
        Map.CALL_HEADERS,
        Map.CALL_TRAILERS,
        8,
        HIGH,
    ],
)
def test_a_map_that_is_not_at_hand_is_a_bad_argument(number: int) -> None:
    guest = on_request()
    assert guest.ask(PAIRS, number) == BAD_ARGUMENT
    assert guest.ask(GET, number, b"x") == BAD_ARGUMENT
    assert guest.run(SIZE, number, 8) == BAD_ARGUMENT
    assert guest.run(SET_PAIRS, number, b"") == BAD_ARGUMENT
    assert guest.run(ADD, number, b"x", b"1") == BAD_ARGUMENT
    assert guest.run(REMOVE, number, b"x") == BAD_ARGUMENT


def test_the_plugin_itself_has_no_messages() -> None:
    assert FakeFilter().ask(PAIRS, Map.REQUEST_HEADERS) == BAD_ARGUMENT


def test_when_a_flow_is_over_what_it_never_had_is_empty() -> None:
    guest = FakeFilter(Hook.CAPTURE, make_flow())
    assert guest.stream is not None
    guest.stream.over = True
    assert guest.ask(PAIRS, Map.RESPONSE_HEADERS) == b""
    assert guest.ask(GET, Map.RESPONSE_HEADERS, b":status") == NOT_FOUND
    assert guest.ask(GET, Map.REQUEST_HEADERS, b":method") == b"GET"


def test_trailers_are_edited_where_they_are_at_hand() -> None:
    guest = on_request()
    assert guest.stream is not None
    side = guest.stream.sides[StreamType.REQUEST]
    side.trailers = [(b"Digest", b"a")]
    assert pairs_of(guest, Map.REQUEST_TRAILERS) == [(b"digest", b"a")]
    assert guest.run(REPLACE, Map.REQUEST_TRAILERS, b"digest", b"b") == OK
    assert guest.run(ADD, Map.REQUEST_TRAILERS, b"x", b"1") == OK
    assert side.trailers == [(b"Digest", b"b"), (b"x", b"1")]
    assert guest.run(REMOVE, Map.REQUEST_TRAILERS, b"X") == OK
    assert guest.run(ADD, Map.REQUEST_TRAILERS, b"content-length", b"1") == BAD_ARGUMENT
    assert side.trailers == [(b"Digest", b"b")]
    assert guest.run(SET_PAIRS, Map.REQUEST_TRAILERS, pack_pairs([(b"y", b"2")])) == OK
    assert guest.ask(GET, Map.REQUEST_TRAILERS, b"y") == b"2"


def test_an_answer_to_a_call_has_headers_and_trailers() -> None:
    guest = FakeFilter()
    guest.instance.answer = CallAnswer(
        200, "", [(b":status", b"200"), (b"X", b"1")], b"", [(b"T", b"2")]
    )
    assert pairs_of(guest, Map.CALL_HEADERS) == [(b":status", b"200"), (b"x", b"1")]
    assert guest.ask(GET, Map.CALL_TRAILERS, b"T") == b"2"
    assert guest.run(ADD, Map.CALL_HEADERS, b"x", b"1") == BAD_ARGUMENT


def test_bad_pointers_are_told_from_bad_arguments() -> None:
    guest = on_request()
    number = Map.REQUEST_HEADERS
    assert guest.run(GET, number, PAGE, 1, 0, 4) == INVALID_MEMORY
    assert guest.run(GET, number, HIGH, HIGH, 0, 4) == INVALID_MEMORY
    assert guest.run(GET, number, b"accept", PAGE - 3, 4) == INVALID_MEMORY
    assert guest.run(GET, number, b"accept", 0, PAGE) == INVALID_MEMORY
    assert guest.run(PAIRS, number, HIGH, 0) == INVALID_MEMORY
    assert guest.run(SIZE, number, HIGH) == INVALID_MEMORY
    assert guest.run(SET_PAIRS, number, PAGE - 1, 2) == INVALID_MEMORY
    assert guest.run(ADD, number, b"x", PAGE, 1) == INVALID_MEMORY
    assert guest.run(ADD, number, PAGE, 1, b"x") == INVALID_MEMORY
    assert guest.run(REMOVE, number, PAGE, 1) == INVALID_MEMORY
    assert guest.entered == []


def test_an_allocator_that_gives_nothing_is_a_bad_pointer() -> None:
    guest = on_request()
    guest.allocated = PAGE
    assert guest.ask(GET, Map.REQUEST_HEADERS, b"accept") == INVALID_MEMORY
    guest.instance.allocator = None
    assert guest.ask(PAIRS, Map.REQUEST_HEADERS) == INVALID_MEMORY


def test_nothing_is_allocated_for_an_empty_value() -> None:
    flow = make_flow([(b"Host", b"h"), (b"empty", b"")])
    guest = FakeFilter(Hook.REQUEST, flow)
    guest.buffer[0:8] = b"\xff" * 8
    assert guest.ask(GET, Map.REQUEST_HEADERS, b"empty") == b""
    assert guest.bytes(0, 8) == bytes(8)
    assert guest.entered == []


def test_new_names_are_lower_case_in_http_2() -> None:
    guest = FakeFilter(Hook.REQUEST, make_flow([(b"accept", b"a")], version=HTTP_2))
    pairs = [(b":authority", b"example.com"), (b"X-New", b"1")]
    assert guest.run(SET_PAIRS, Map.REQUEST_HEADERS, pack_pairs(pairs)) == OK
    assert committed(guest).request.headers.fields == [(b"x-new", b"1")]
