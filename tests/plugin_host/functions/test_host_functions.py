"""Each host function by itself: results, codes, and memory checked to the last byte."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version

import pytest

from proxy_core.model.connection import ServerConnection
from proxy_core.model.headers import Field
from proxy_core.model.ids import ConnectionId
from proxy_core.model.log_line import LogLevel
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.plugin_host.codes import (
    ABSENT,
    BAD_POINTER,
    NOT_IN_HOOK,
    NOT_PERMITTED,
    OK,
    OVER_LIMIT,
    FieldId,
    Hook,
)
from proxy_core.plugin_host.faults import GuestAborted
from proxy_core.plugin_host.functions.header_block import pack, unpack
from proxy_core.plugin_host.hook.commit import commit
from tests.plugin_host.caller import PAGE, Caller
from tests.plugin_host.guests import make_client, make_flow, respond_with

HIGH = 0xFFFFFFFF
FIELDS: tuple[Field, ...] = (
    (b"Accept", b"a"),
    (b"accept", b"b"),
    (b"Set-Cookie", b"x=1"),
    (b"Set-Cookie", b"y=2"),
)


def on_request(fields: tuple[Field, ...] = FIELDS, **permissions: bool) -> Caller:
    return Caller(Hook.REQUEST, make_flow(fields), **permissions)


def on_response(**permissions: bool) -> Caller:
    return Caller(Hook.RESPONSE, respond_with(make_flow(), 200, FIELDS), **permissions)


# host_log


@pytest.mark.parametrize("level", list(LogLevel))
def test_lines_are_logged_at_their_level(level: LogLevel) -> None:
    caller = on_request()
    assert caller.run("host_log", level, b"hello") == OK
    assert caller.lines == [(level, "hello")]


@pytest.mark.parametrize("level", [4, 99, HIGH])
def test_levels_beyond_error_are_errors(level: int) -> None:
    caller = on_request()
    caller.run("host_log", level, b"hello")
    assert caller.lines == [(LogLevel.ERROR, "hello")]


def test_text_that_is_not_utf8_is_kept_readable() -> None:
    caller = on_request()
    caller.run("host_log", 1, b"a\xffb\x1b[31m")
    assert caller.lines == [(LogLevel.INFO, "a\ufffdb\x1b[31m")]


def test_a_long_line_is_cut_and_says_so() -> None:
    caller = on_request()
    assert caller.run("host_log", 1, 0, PAGE) == OK
    ((_, text),) = caller.lines
    assert text == "\0" * 8192 + "... (57344 bytes more)"


def test_lines_over_the_rate_answer_over_limit() -> None:
    caller = on_request()
    answers = [caller.run("host_log", 1, b"x") for _ in range(1000)]
    assert answers[:100] == [OK] * 100
    assert OVER_LIMIT in answers  # the hundredth and first, unless the machine is slow


def test_a_bad_pointer_in_a_log_call_is_logged_itself() -> None:
    caller = on_request()
    assert caller.run("host_log", 1, PAGE - 1, 2) == BAD_POINTER
    assert caller.lines == [(LogLevel.WARN, "host_log: 2 bytes at 65535 outside its memory")]


# memory, abort, clock, random


def test_memory_is_told_in_pages() -> None:
    assert on_request().run("host_get_memory_size") == 1


def test_abort_raises_with_the_message() -> None:
    with pytest.raises(GuestAborted, match="aborted: no luck"):
        on_request().run("host_abort", b"no luck")
    with pytest.raises(GuestAborted, match="bad pointer"):
        on_request().run("host_abort", PAGE, 1)
    with pytest.raises(GuestAborted, match=r"^aborted$"):
        on_request().run("host_abort", 0, 0)


def test_the_clock_counts_nanoseconds_of_the_epoch() -> None:
    before = time.time_ns()
    assert before <= on_request().run("host_now_ns") <= time.time_ns()


def test_random_fills_what_it_is_given() -> None:
    caller = on_request()
    assert caller.run("host_random", 100, 64) == 64
    assert caller.buffer[100:164] != bytes(64)
    assert caller.buffer[164:200] == bytes(36)
    assert caller.run("host_random", 0, PAGE + 1) == OVER_LIMIT
    assert caller.run("host_random", 1, PAGE) == BAD_POINTER


# the edges of memory, for every function with pointers


@pytest.mark.parametrize(
    "arguments",
    [
        ("host_log", 1, PAGE, 1),
        ("host_log", 1, HIGH, 2),
        ("host_log", 1, 1, HIGH),
        ("host_get_header", HIGH, 1, 0, 0),
        ("host_get_headers", PAGE - 3, 4000),
        ("host_get_headers", HIGH, HIGH),
        ("host_set_header", PAGE, 1, 0, 1),
        ("host_set_header", 0, 1, PAGE, 1),
        ("host_add_header", HIGH, 1, 0, 1),
        ("host_add_header", 0, 1, HIGH, 1),
        ("host_remove_header", PAGE - 1, 2),
        ("host_get_field", 0, PAGE - 2, 3),
        ("host_get_field", 0, HIGH, 0),
        ("host_set_field", 0, PAGE, 1),
        ("host_respond", 200, PAGE, 1, 0, 0),
        ("host_respond", 200, 0, 0, PAGE, 1),
        ("host_annotate", PAGE, 7, 0, 0),
        ("host_annotate", 0, 0, HIGH, 1),
        ("host_random", PAGE - 1, 2),
    ],
)
def test_pointers_past_the_end_are_refused_and_nothing_is_written(
    arguments: tuple[str, *tuple[int, ...]],
) -> None:
    caller = on_request()
    before = bytes(caller.buffer)
    assert caller.run(*arguments) == BAD_POINTER
    assert caller.buffer == before
    commit(caller.call)
    flow = caller.call.flow
    assert flow is not None
    assert flow.edited_by == ()


def test_the_last_byte_of_memory_is_inside() -> None:
    caller = on_request()
    caller.buffer[PAGE - 6 : PAGE] = b"accept"
    assert caller.run("host_get_header", PAGE - 6, 6, PAGE - 10, 4) == 4
    assert caller.buffer[PAGE - 10 : PAGE - 6] == b"a, b"
    assert caller.run("host_log", 1, PAGE, 0) == OK
    assert caller.run("host_get_field", 0, PAGE - 3, 3) == 3
    assert caller.buffer[PAGE - 3 : PAGE] == b"GET"


def test_what_does_not_fit_is_not_written_but_measured() -> None:
    caller = on_request()
    assert caller.run("host_get_header", b"accept", 100, 3) == 4
    assert caller.buffer[100:103] == b"\0\0\0"
    assert caller.run("host_get_header", b"accept", 0, 0) == 4


# headers


def test_values_are_joined_as_their_name_allows() -> None:
    caller = on_request()
    assert caller.answer("host_get_header", b"ACCEPT") == b"a, b"
    assert caller.answer("host_get_header", b"set-cookie") == b"x=1\ny=2"
    assert caller.answer("host_get_header", b"absent") == ABSENT


def test_all_headers_come_in_wire_order() -> None:
    block = on_request().answer("host_get_headers")
    assert isinstance(block, bytes)
    assert unpack(block, 10) == list(FIELDS)


def test_reads_see_the_edits_of_the_same_call() -> None:
    caller = on_request()
    assert caller.run("host_set_header", b"Accept", b"c") == OK
    assert caller.answer("host_get_header", b"accept") == b"c"
    assert caller.run("host_add_header", b"Accept", b"d") == OK
    assert caller.answer("host_get_header", b"accept") == b"c, d"
    assert caller.run("host_remove_header", b"accept") == 2
    assert caller.answer("host_get_header", b"accept") == ABSENT


def test_nothing_changes_until_the_commit() -> None:
    caller = on_request()
    flow = caller.call.flow
    assert flow is not None
    first = flow.request
    caller.run("host_set_header", b"Accept", b"c")
    caller.run("host_annotate", b"tag", b"seen")
    assert flow.request is first
    assert flow.annotations is None
    commit(caller.call)
    assert flow.request.headers.get(b"accept") == b"c"
    assert flow.request_received is first
    assert flow.edited_by == ("plugin p",)
    assert flow.annotations == {"tag": "seen"}


def test_names_and_values_longer_than_a_head_are_over_the_limit() -> None:
    caller = on_request()
    assert caller.run("host_set_header", 0, 65000, 0, 65000) == OVER_LIMIT
    assert caller.run("host_add_header", 0, HIGH, 0, HIGH) == OVER_LIMIT
    assert caller.run("host_get_header", 0, HIGH, 0, 0) == OVER_LIMIT
    assert caller.run("host_remove_header", 0, HIGH) == OVER_LIMIT
    assert caller.run("host_set_field", 0, 0, HIGH) == OVER_LIMIT


@pytest.mark.parametrize("hook", [Hook.START, Hook.CONNECT])
def test_without_a_flow_there_are_no_headers(hook: Hook) -> None:
    caller = Caller(hook)
    assert caller.run("host_get_header", b"a", 0, 0) == NOT_IN_HOOK
    assert caller.run("host_get_headers", 0, 0) == NOT_IN_HOOK
    assert caller.run("host_set_header", b"a", b"b") == NOT_IN_HOOK
    assert caller.run("host_add_header", b"a", b"b") == NOT_IN_HOOK
    assert caller.run("host_remove_header", b"a") == NOT_IN_HOOK
    assert caller.run("host_annotate", b"tag", b"b") == NOT_IN_HOOK
    assert caller.run("host_respond", 200, 0, 0, 0, 0) == NOT_IN_HOOK


def test_captured_flows_are_read_and_annotated_and_not_decided_about() -> None:
    caller = Caller(Hook.CAPTURE, respond_with(make_flow(), 404, FIELDS))
    assert caller.answer("host_get_header", b"accept") == b"a, b"
    assert caller.answer("host_get_field", FieldId.STATUS) == b"404"
    assert caller.run("host_respond", 200, 0, 0, 0, 0) == NOT_IN_HOOK
    assert caller.run("host_delay", 1) == NOT_IN_HOOK
    assert caller.run("host_annotate", b"tag", b"b") == OK


def test_permissions_are_asked_at_each_call() -> None:
    request = on_request(modify_requests=False)
    assert request.run("host_set_header", b"a", b"b") == NOT_PERMITTED
    assert request.run("host_add_header", b"a", b"b") == NOT_PERMITTED
    assert request.run("host_remove_header", b"accept") == NOT_PERMITTED
    assert request.run("host_set_field", FieldId.METHOD, b"PUT") == NOT_PERMITTED
    assert request.run("host_respond", 200, 0, 0, 0, 0) == NOT_PERMITTED
    assert request.answer("host_get_header", b"accept") == b"a, b"
    response = on_response(modify_responses=False)
    assert response.run("host_set_header", b"a", b"b") == NOT_PERMITTED
    assert response.run("host_set_field", FieldId.STATUS, b"404") == NOT_PERMITTED
    assert response.run("host_respond", 200, 0, 0, 0, 0) == NOT_PERMITTED
    assert on_request(modify_responses=False).run("host_add_header", b"a", b"b") == OK
    assert on_response(modify_requests=False).run("host_add_header", b"a", b"b") == OK


# fields


def test_every_field_of_a_request_is_read() -> None:
    caller = on_request()
    read = {number: caller.answer("host_get_field", number) for number in range(19)}
    assert read == {
        0: b"GET",
        1: b"http://example.com/path?q=1",
        2: ABSENT,
        3: b"example.com",
        4: b"80",
        5: b"http",
        6: b"HTTP/1.1",
        7: b"17",
        8: b"192.0.2.7:5555",
        9: ABSENT,
        10: NOT_IN_HOOK,
        11: b'{"a":1}',
        12: NOT_IN_HOOK,
        13: NOT_IN_HOOK,
        14: ABSENT,
        15: version("int3rceptor").encode(),
        16: b"request",
        17: NOT_IN_HOOK,
        18: ABSENT,
    }


def test_a_response_knows_its_status_and_server() -> None:
    caller = on_response()
    flow = caller.call.flow
    assert flow is not None
    assert caller.answer("host_get_field", FieldId.SERVER_ADDRESS) == ABSENT
    flow.server = ServerConnection(ConnectionId(2), "example.com", 80, ("2001:db8::1", 80))
    assert caller.answer("host_get_field", FieldId.SERVER_ADDRESS) == b"[2001:db8::1]:80"
    assert caller.answer("host_get_field", FieldId.STATUS) == b"200"
    assert caller.answer("host_get_field", FieldId.REASON) == b"OK"
    assert caller.answer("host_get_field", FieldId.METHOD) == b"GET"


def test_a_connection_has_a_client_and_maybe_a_target() -> None:
    caller = Caller(Hook.CONNECT)
    caller.call.client = make_client()
    assert caller.answer("host_get_field", FieldId.CLIENT_ADDRESS) == b"192.0.2.7:5555"
    assert caller.answer("host_get_field", FieldId.HOST) == ABSENT
    assert caller.answer("host_get_field", FieldId.URL) == NOT_IN_HOOK
    caller.call.authority = b"example.com:8443"
    assert caller.answer("host_get_field", FieldId.HOST) == b"example.com"
    assert caller.answer("host_get_field", FieldId.PORT) == b"8443"


def test_while_loading_there_are_configuration_and_version_only() -> None:
    caller = Caller(Hook.START)
    read = {number: caller.answer("host_get_field", number) for number in range(16)}
    assert {number for number, text in read.items() if isinstance(text, bytes)} == {11, 15}
    assert {text for text in read.values() if isinstance(text, int)} == {NOT_IN_HOOK}


def test_a_rule_is_named_in_its_hook() -> None:
    caller = Caller(Hook.RULE_MATCH, make_flow())
    caller.call.rule_id = "rule-7"
    assert caller.answer("host_get_field", FieldId.RULE_ID) == b"rule-7"
    assert caller.answer("host_get_field", FieldId.WEBSOCKET_OPCODE) == NOT_IN_HOOK


def test_a_rule_about_a_message_shows_it_and_the_request_that_nobody_can_change_any_more() -> None:
    caller = Caller(Hook.RULE_MATCH, respond_with(make_flow(), 101), access_bodies=True)
    caller.call.rule_id = "modify-messages 1"
    caller.call.message = WebSocketMessage(False, 2, 0.0, b"hello")
    read = [caller.answer("host_get_field", number) for number in (10, 12, 13, 16, 2)]
    assert read == [b"modify-messages 1", b"server", b"2", b"request", b"101"]
    assert caller.answer("host_get_body", 0) == b"hello"
    assert caller.answer("host_get_header", b"host") == b"example.com"
    assert caller.run("host_set_header", b"x", b"1") == NOT_IN_HOOK
    assert caller.run("host_set_field", FieldId.METHOD, b"PUT") == NOT_IN_HOOK
    assert caller.run("host_respond", 200, b"", b"") == NOT_IN_HOOK
    assert caller.run("host_set_field", FieldId.MESSAGE, b"response") == OK
    assert caller.run("host_set_header", b"x", b"1") == NOT_IN_HOOK


def test_request_fields_are_set_and_read_back() -> None:
    caller = on_request()
    assert caller.run("host_set_field", FieldId.URL, b"https://other.test:444/x") == OK
    assert caller.run("host_set_field", FieldId.METHOD, b"PUT") == OK
    read = [caller.answer("host_get_field", number) for number in (0, 1, 3, 4, 5)]
    assert read == [b"PUT", b"https://other.test:444/x", b"other.test", b"444", b"https"]
    commit(caller.call)
    flow = caller.call.flow
    assert flow is not None
    assert flow.request.url == "https://other.test:444/x"


def test_response_fields_are_set_and_read_back() -> None:
    caller = on_response()
    assert caller.run("host_set_field", FieldId.STATUS, b"503") == OK
    assert caller.answer("host_get_field", FieldId.REASON) == b"Service Unavailable"
    commit(caller.call)
    flow = caller.call.flow
    assert flow is not None
    assert flow.response is not None
    assert flow.response_received is not None
    assert (flow.response.status, flow.response_received.status) == (503, 200)


@pytest.mark.parametrize(
    ("caller", "number", "code"),
    [
        (on_request, FieldId.STATUS, NOT_IN_HOOK),
        (on_request, FieldId.REASON, NOT_IN_HOOK),
        (on_response, FieldId.URL, NOT_IN_HOOK),
        (on_response, FieldId.METHOD, NOT_IN_HOOK),
        (on_request, FieldId.FLOW_ID, NOT_PERMITTED),
        (on_request, FieldId.CONFIGURATION, NOT_PERMITTED),
        (on_request, 99, NOT_PERMITTED),
        (on_request, FieldId.URL, NOT_PERMITTED),
        (on_request, FieldId.PORT, NOT_PERMITTED),
    ],
)
def test_fields_that_cannot_be_set_say_why(
    caller: Callable[[], Caller], number: int, code: int
) -> None:
    assert caller().run("host_set_field", number, b"not right") == code


# respond and annotate


def test_a_response_is_built_with_its_length() -> None:
    caller = on_request()
    block = pack([(b"content-type", b"text/plain")])
    assert caller.run("host_respond", 418, block, b"short and stout") == OK
    head = caller.call.respond_head
    assert head is not None
    assert (head.status, head.reason) == (418, b"I'm a Teapot")
    assert head.headers.fields == [(b"content-type", b"text/plain"), (b"content-length", b"15")]
    assert caller.call.respond_body == b"short and stout"


def test_a_response_without_headers_and_body_is_fine() -> None:
    caller = on_request()
    assert caller.run("host_respond", 200, 0, 0, 0, 0) == OK
    head = caller.call.respond_head
    assert head is not None
    assert head.headers.fields == [(b"content-length", b"0")]


def test_a_status_that_has_no_body_has_no_length() -> None:
    caller = on_request()
    assert caller.run("host_respond", 204, 0, 0, b"x") == NOT_PERMITTED
    assert caller.run("host_respond", 204, 0, 0, 0, 0) == OK
    head = caller.call.respond_head
    assert head is not None
    assert head.headers.fields == []


@pytest.mark.parametrize(
    ("status", "block", "code"),
    [
        (100, b"", NOT_PERMITTED),
        (199, b"", NOT_PERMITTED),
        (600, b"", NOT_PERMITTED),
        (HIGH, b"", NOT_PERMITTED),
        (200, b"nonsense", NOT_PERMITTED),
        (200, pack([(b"Content-Length", b"5")]), NOT_PERMITTED),
        (200, pack([(b"Transfer-Encoding", b"chunked")]), NOT_PERMITTED),
        (200, pack([(b"a b", b"")]), NOT_PERMITTED),
        (200, pack([(b"a", b"x\r\nb: c")]), NOT_PERMITTED),
        (200, pack([(b"a", b"x" * 40_000)] * 2)[:65536], NOT_PERMITTED),
    ],
)
def test_responses_that_would_break_the_protocol_are_refused(
    status: int, block: bytes, code: int
) -> None:
    caller = on_request()
    caller.room = 0
    assert caller.run("host_respond", status, block[: PAGE // 2], 0, 0) == code
    assert caller.call.respond_head is None


def test_a_response_over_the_limits_is_refused() -> None:
    caller = on_request()
    assert caller.run("host_respond", 200, 0, HIGH, 0, 0) == OVER_LIMIT
    assert caller.run("host_respond", 200, 0, 0, 0, HIGH) == OVER_LIMIT


@pytest.mark.parametrize("key", [b"comment", b"tag", b"colour"])
def test_flows_are_annotated(key: bytes) -> None:
    caller = on_request()
    assert caller.run("host_annotate", key, b"caf\xc3\xa9 \xff") == OK
    assert caller.call.annotations == {key.decode(): "caf\u00e9 \ufffd"}


def test_other_annotations_are_refused() -> None:
    caller = on_request()
    assert caller.run("host_annotate", b"color", b"red") == NOT_PERMITTED
    assert caller.run("host_annotate", b"tag", 0, 4097) == OVER_LIMIT
