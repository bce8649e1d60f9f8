"""Going on, closing, answering, choosing a context, and being done."""

from __future__ import annotations

import pytest

from proxy_core.model.headers import Field
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
    ROOT,
    UNIMPLEMENTED,
    StreamType,
)
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import pack_pairs
from proxy_core.plugin_host.functions.host_functions import RESPONSE_BYTES
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE
from tests.plugin_host.foreign.proxy_wasm.fake_filter import FakeFilter
from tests.plugin_host.guests import make_flow, respond_with

RESPOND = "proxy_send_local_response"


def on_request(**permissions: bool) -> FakeFilter:
    return FakeFilter(Hook.REQUEST, make_flow(), **permissions)


def answer(guest: FakeFilter, status: int, body: bytes, fields: list[Field] | bytes) -> int:
    packed = fields if isinstance(fields, bytes) else pack_pairs(fields)
    return guest.run(RESPOND, status, b"details", body, packed, HIGH)


def test_an_answer_is_made_of_what_the_filter_gave() -> None:
    guest = on_request()
    fields = [(b"X", b"1"), (b"Content-Length", b"99"), (b":status", b"1"), (b"te", b"x")]
    assert answer(guest, 418, b"tea", fields) == OK
    head = guest.call.respond_head
    assert head is not None
    assert head.status == 418
    assert head.headers.fields == [
        (b"X", b"1"),
        (b"content-type", b"text/plain"),
        (b"content-length", b"3"),
    ]
    assert guest.call.respond_body == b"tea"
    assert guest.stream is not None
    assert guest.stream.local_response
    assert guest.instance.touched == {guest.stream}


def test_an_answer_keeps_its_own_content_type() -> None:
    guest = on_request()
    assert answer(guest, 200, b"{}", [(b"Content-Type", b"application/json")]) == OK
    head = guest.call.respond_head
    assert head is not None
    assert head.headers.get_all(b"content-type") == [b"application/json"]


def test_an_answer_whose_status_allows_no_body_has_none() -> None:
    guest = on_request()
    assert answer(guest, 204, b"tea", []) == OK
    head = guest.call.respond_head
    assert head is not None
    assert (head.headers.fields, guest.call.respond_body) == ([], b"")


@pytest.mark.parametrize(
    ("status", "body", "fields"),
    [
        (199, b"", []),
        (600, b"", []),
        (HIGH, b"", []),
        (200, b"", [(b"bad name", b"x")]),
        (200, b"", [(b"x", b"a\rb")]),
        (200, b"", b"\1\2"),
    ],
)
def test_an_answer_that_is_none_is_a_bad_argument(
    status: int, body: bytes, fields: list[Field] | bytes
) -> None:
    guest = on_request()
    assert answer(guest, status, body, fields) == BAD_ARGUMENT
    assert guest.call.respond_head is None


def test_an_answer_needs_the_permission_of_its_side() -> None:
    assert answer(on_request(modify_requests=False), 200, b"", []) == INTERNAL_FAILURE
    assert answer(on_request(modify_responses=False), 200, b"", []) == OK
    flow = respond_with(make_flow())
    behind = FakeFilter(Hook.RESPONSE, flow, modify_responses=False)
    assert answer(behind, 200, b"", []) == INTERNAL_FAILURE


def test_there_is_nobody_to_answer_outside_of_a_flow() -> None:
    assert answer(FakeFilter(), 200, b"", []) == BAD_ARGUMENT
    guest = on_request()
    assert guest.stream is not None
    guest.stream.over = True
    assert answer(guest, 200, b"", []) == BAD_ARGUMENT


@pytest.mark.parametrize("place", [1, 3, 5])
def test_bad_pointers_of_an_answer(place: int) -> None:
    arguments = [200, 64, 0, 64, 0, 64, 0, HIGH]
    for pointer in ((PAGE, 1), (HIGH, HIGH), (0, RESPONSE_BYTES + 1)):
        arguments[place : place + 2] = pointer
        assert on_request().run(RESPOND, *arguments) == INVALID_MEMORY


@pytest.mark.parametrize("kind", list(StreamType))
def test_each_direction_is_let_go_on_by_itself(kind: StreamType) -> None:
    guest = on_request()
    assert guest.run("proxy_continue_stream", kind) == OK
    assert guest.stream is not None
    assert [side.resumed for side in guest.stream.sides.values()] == [
        each is kind for each in StreamType
    ]
    assert guest.instance.touched == {guest.stream}


def test_the_first_version_named_the_directions() -> None:
    guest = on_request()
    assert guest.run("proxy_continue_request") == OK
    assert guest.run("proxy_continue_response") == OK
    assert guest.stream is not None
    assert guest.stream.sides[StreamType.REQUEST].resumed
    assert guest.stream.sides[StreamType.RESPONSE].resumed


def test_a_stream_can_be_closed() -> None:
    guest = on_request()
    assert guest.run("proxy_close_stream", StreamType.RESPONSE) == OK
    assert guest.stream is not None
    assert guest.stream.closed


@pytest.mark.parametrize("name", ["proxy_continue_stream", "proxy_close_stream"])
def test_directions_and_contexts_are_checked(name: str) -> None:
    assert on_request().run(name, 4) == BAD_ARGUMENT
    assert on_request().run(name, HIGH) == BAD_ARGUMENT
    assert FakeFilter().run(name, 0) == UNIMPLEMENTED


def test_another_context_can_be_chosen() -> None:
    guest = on_request()
    other = guest.add_stream(make_flow([(b"Host", b"other.example")]))
    name = "proxy_set_effective_context"
    assert guest.run(name, other.id) == OK
    assert guest.instance.stream is other
    assert guest.ask("proxy_get_header_map_value", 0, b":authority") == b"example.com"
    assert guest.run(name, 99) == BAD_ARGUMENT
    assert guest.run(name, 0) == BAD_ARGUMENT
    assert guest.instance.stream is other
    assert guest.run(name, ROOT) == OK
    assert guest.ask("proxy_get_header_map_value", 0, b":authority") == BAD_ARGUMENT
    guest.instance.begin(guest.stream)
    assert guest.ask("proxy_get_header_map_value", 0, b":authority") == b"example.com"


def test_done_is_for_who_said_not_yet() -> None:
    guest = on_request()
    assert guest.run("proxy_done") == NOT_FOUND
    assert guest.stream is not None
    guest.stream.done = True
    assert guest.run("proxy_done") == OK
    assert guest.stream.finished
    assert guest.run("proxy_done") == NOT_FOUND
    assert FakeFilter().run("proxy_done") == NOT_FOUND
