"""`host_get_body` and `host_set_body` in every hook: what is at hand, and what becomes of it."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest

from proxy_core.model.edits import CHANGE_BYTES, WholeBody
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
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
from proxy_core.plugin_host.hook.body_draft import BODY_BYTES, BodyDraft
from proxy_core.plugin_host.hook.commit import commit, ready
from tests.plugin_host.caller import PAGE, Caller
from tests.plugin_host.guests import make_flow, respond_with

GZIP: Field = (b"Content-Encoding", b"gzip")


def with_body(
    data: bytes = b"the body",
    hook: Hook = Hook.RESPONSE,
    fields: tuple[Field, ...] = (),
    *,
    status: int = 200,
    method: bytes = b"POST",
    **permissions: Any,
) -> Caller:
    """A call of a hook whose message has `data` for its whole body."""
    flow = make_flow(fields if hook is Hook.REQUEST else (), method=method)
    if hook is not Hook.REQUEST:
        respond_with(flow, status, fields)
    flow.whole = WholeBody(data)
    return Caller(hook, flow, **permissions)


def flow_of(caller: Caller) -> Flow:
    flow = caller.call.flow
    assert flow is not None
    return flow


def end(caller: Caller) -> Flow:
    """Let the hook end well."""
    asyncio.run(ready(caller.call))
    commit(caller.call)
    return flow_of(caller)


def gone_on(flow: Flow) -> bytes:
    assert flow.whole is not None
    return flow.whole.data


@pytest.mark.parametrize("hook", [Hook.REQUEST, Hook.RESPONSE])
def test_a_whole_body_is_read_from_any_place(hook: Hook) -> None:
    caller = with_body(b"0123456789", hook)
    assert caller.answer("host_get_body", 0) == b"0123456789"
    assert caller.run("host_get_body", 4, 0, 3) == 10
    assert bytes(caller.buffer[:4]) == b"456\0"
    assert caller.run("host_get_body", 10, 0, 3) == 10
    assert caller.run("host_get_body", 2**32 - 1, 0, 3) == 10
    assert bytes(caller.buffer[:4]) == b"456\0"


def test_a_body_is_read_up_to_the_last_byte_of_memory_and_no_further() -> None:
    caller = with_body(b"abc")
    assert caller.run("host_get_body", 0, PAGE - 3, 3) == 3
    assert bytes(caller.buffer[-3:]) == b"abc"
    for at, room in ((PAGE - 2, 3), (2**32 - 1, 2), (PAGE, 1)):
        assert caller.run("host_get_body", 0, at, room) == BAD_POINTER
        assert caller.run("host_set_body", at, room) == BAD_POINTER
    assert end(caller).edited_by == ()


@pytest.mark.parametrize("hook", [Hook.REQUEST, Hook.RESPONSE])
@pytest.mark.parametrize(
    ("coding", "pack"),
    [(b"gzip", gzip.compress), (b"deflate", zlib.compress), (b"identity", bytes)],
)
def test_codings_are_undone_for_reading_and_done_again(
    hook: Hook, coding: bytes, pack: Any
) -> None:
    text = b"long enough to be worth it " * 4000
    caller = with_body(pack(text), hook, ((b"content-encoding", coding),))
    answer = caller.run("host_get_body", len(text) - 5, 0, 100)
    assert answer == len(text)
    assert bytes(caller.buffer[:6]) == b"h it \0"
    assert caller.run("host_set_body", b"other" * 100) == OK
    flow = end(caller)
    again = BodyDraft(gone_on(flow), coding.decode())
    again.decode()
    assert again.read(0, 1000) == (memoryview(b"other" * 100), 500)


def test_a_long_body_is_coded_again_whatever_its_length() -> None:
    caller = with_body(gzip.compress(b"a"), fields=(GZIP,))
    body = caller.call.body
    assert body is not None
    body.write(bytes(100_000))
    assert gzip.decompress(gone_on(end(caller))) == bytes(100_000)


def test_a_coding_that_cannot_be_done_again_is_dropped_from_the_head() -> None:
    caller = with_body(b"?", fields=((b"Content-Encoding", b"compress"), (b"A", b"b")))
    assert caller.run("host_get_body", 0, 0, 10) == ABSENT
    assert caller.run("host_set_body", b"plain") == OK
    assert caller.answer("host_get_body", 0) == b"plain"
    flow = end(caller)
    assert gone_on(flow) == b"plain"
    assert flow.response is not None
    assert flow.response.headers.fields == [(b"A", b"b")]


def test_a_coding_that_the_plugin_changes_is_the_one_that_counts() -> None:
    caller = with_body(gzip.compress(b"old"), fields=(GZIP,))
    assert caller.run("host_set_body", b"new") == OK
    assert caller.run("host_remove_header", b"content-encoding") == 1
    assert gone_on(end(caller)) == b"new"


def test_broken_coding_is_absent_and_a_bomb_over_the_limit() -> None:
    broken = with_body(gzip.compress(b"abcdefgh" * 50)[:-9], fields=(GZIP,))
    assert broken.run("host_get_body", 0, 0, 10) == ABSENT
    bomb = with_body(gzip.compress(bytes(BODY_BYTES + 1)), fields=(GZIP,))
    assert bomb.run("host_get_body", 0, 0, 10) == OVER_LIMIT


def test_a_body_that_was_not_gathered_is_not_at_hand() -> None:
    caller = with_body()
    flow_of(caller).whole = None
    assert caller.run("host_get_body", 0, 0, 10) == NOT_IN_HOOK
    assert caller.run("host_set_body", b"x") == NOT_IN_HOOK


@pytest.mark.parametrize("hook", [Hook.CONNECT, Hook.START, Hook.TICK])
def test_there_is_no_body_without_a_flow(hook: Hook) -> None:
    caller = Caller(hook)
    assert caller.run("host_get_body", 0, 0, 10) == NOT_IN_HOOK
    assert caller.run("host_set_body", b"x") == NOT_IN_HOOK
    assert caller.run("host_set_field", FieldId.MESSAGE, b"request") == NOT_IN_HOOK


def test_permissions_are_asked() -> None:
    blind = with_body(access_bodies=False)
    assert blind.run("host_get_body", 0, 0, 10) == NOT_PERMITTED
    assert blind.run("host_set_body", b"x") == NOT_PERMITTED
    reader = with_body(modify_responses=False)
    assert reader.answer("host_get_body", 0) == b"the body"
    assert reader.run("host_set_body", b"x") == NOT_PERMITTED
    assert with_body(hook=Hook.REQUEST, modify_responses=False).run("host_set_body", b"x") == OK
    assert with_body(hook=Hook.REQUEST, modify_requests=False).run("host_set_body", b"x") < 0


@pytest.mark.parametrize(
    ("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304), (b"POST", 101)]
)
def test_responses_that_have_no_body_get_none(method: bytes, status: int) -> None:
    caller = with_body(b"", method=method, status=status)
    assert caller.run("host_set_body", b"x") == NOT_PERMITTED
    assert caller.run("host_set_body", b"") == OK
    assert gone_on(end(caller)) == b""


def test_a_trace_request_gets_no_body() -> None:
    caller = with_body(b"", Hook.REQUEST, method=b"TRACE")
    assert caller.run("host_set_body", b"x") == NOT_PERMITTED


def test_too_much_is_refused_and_the_same_bytes_are_no_edit() -> None:
    caller = with_body(b"same")
    assert caller.run("host_set_body", 0, BODY_BYTES + 1) == OVER_LIMIT
    assert caller.run("host_set_body", b"same") == OK
    flow = end(caller)
    assert (flow.edited_by, flow.changes) == ((), ())


def test_a_change_is_kept_with_its_author_and_what_was_there_before() -> None:
    old = bytes(range(256)) * 2000
    caller = with_body(old)
    before = flow_of(caller).response
    assert caller.run("host_set_body", b"new") == OK
    flow = end(caller)
    (change,) = flow.changes
    assert (change.by, change.of_response) == ("plugin p", True)
    assert change.before is before
    assert change.body == old[:CHANGE_BYTES]
    assert flow.edited_by == ("plugin p",)
    assert flow.response is before  # only the body is another
    assert flow.weight > len(change.body)


def test_head_and_body_together_are_one_change() -> None:
    caller = with_body(hook=Hook.REQUEST)
    before = flow_of(caller).request
    caller.run("host_set_body", b"new")
    caller.run("host_set_header", b"x", b"1")
    flow = end(caller)
    (change,) = flow.changes
    assert (change.before, change.body) == (before, b"the body")
    assert flow.request_received is before
    assert flow.request.headers.get(b"x") == b"1"


def test_the_captured_request_is_read_in_on_response_and_not_written() -> None:
    caller = with_body(b"whole")
    flow_of(caller).request_body.feed(b"asked")
    assert caller.answer("host_get_field", FieldId.MESSAGE) == b"response"
    assert caller.run("host_set_field", FieldId.MESSAGE, b"request") == OK
    assert caller.answer("host_get_field", FieldId.MESSAGE) == b"request"
    assert caller.answer("host_get_body", 0) == b"asked"
    assert caller.answer("host_get_header", b"host") == ABSENT
    assert caller.run("host_set_body", b"x") == NOT_IN_HOOK
    assert caller.run("host_set_header", b"a", b"b") == NOT_IN_HOOK
    assert caller.run("host_set_field", FieldId.MESSAGE, b"response") == OK
    assert caller.answer("host_get_body", 0) == b"whole"
    assert caller.run("host_set_field", FieldId.MESSAGE, b"reply") == NOT_PERMITTED


def test_edits_wait_while_the_hook_looks_at_the_other_message() -> None:
    caller = with_body(b"whole")
    caller.run("host_set_header", b"a", b"b")
    caller.run("host_set_body", b"new")
    caller.run("host_set_field", FieldId.MESSAGE, b"request")
    assert caller.answer("host_get_header", b"a") == ABSENT
    flow = end(caller)
    assert gone_on(flow) == b"new"
    assert flow.response is not None
    assert flow.response.headers.get(b"a") == b"b"


def test_a_response_that_has_not_come_cannot_be_turned_to() -> None:
    caller = with_body(hook=Hook.REQUEST)
    assert caller.run("host_set_field", FieldId.MESSAGE, b"response") == ABSENT
    assert caller.run("host_set_field", FieldId.MESSAGE, b"request") == OK
    assert caller.run("host_set_body", b"x") == OK


# messages and pieces


def message_call(payload: bytes, opcode: int, from_client: bool, **permissions: Any) -> Caller:
    caller = Caller(
        Hook.WEBSOCKET_MESSAGE,
        respond_with(make_flow(((b"Origin", b"o"),)), 101),
        **permissions,
    )
    caller.call.message = WebSocketMessage(from_client, opcode, 0.0, payload)
    return caller


def test_a_message_is_read_and_replaced() -> None:
    caller = message_call(b"hello", 1, True)
    assert caller.answer("host_get_field", FieldId.WEBSOCKET_DIRECTION) == b"client"
    assert caller.answer("host_get_field", FieldId.WEBSOCKET_OPCODE) == b"1"
    assert caller.answer("host_get_body", 0) == b"hello"
    assert caller.answer("host_get_header", b"origin") == b"o"
    assert caller.run("host_set_header", b"a", b"b") == NOT_IN_HOOK
    assert caller.run("host_set_body", b"\xff") == NOT_PERMITTED
    assert caller.run("host_set_body", "grüße".encode()) == OK
    end(caller)
    message = caller.call.message
    assert message is not None
    assert message.payload == "grüße".encode()
    assert message.by == ("plugin p",)


def test_binary_messages_take_any_bytes_and_directions_have_their_permissions() -> None:
    assert message_call(b"", 2, False).run("host_set_body", b"\xff") == OK
    server = message_call(b"", 2, False, modify_responses=False)
    assert server.answer("host_get_field", FieldId.WEBSOCKET_DIRECTION) == b"server"
    assert server.run("host_set_body", b"x") == NOT_PERMITTED
    client = message_call(b"", 2, True, modify_responses=False)
    assert client.run("host_set_body", b"x") == OK
    assert message_call(b"", 2, True, modify_requests=False).run("host_set_body", b"x") < 0


@pytest.mark.parametrize("hook", [Hook.REQUEST_CHUNK, Hook.RESPONSE_CHUNK])
def test_a_piece_is_as_on_the_wire(hook: Hook) -> None:
    packed = gzip.compress(b"x")
    caller = with_body(b"", hook, (GZIP,))
    flow_of(caller).whole = None
    caller.call.piece, caller.call.ended = packed, True
    assert caller.answer("host_get_body", 0) == packed
    assert caller.answer("host_get_field", FieldId.BODY_END) == b"1"
    assert caller.run("host_set_header", b"a", b"b") == NOT_IN_HOOK
    assert caller.run("host_set_body", b"other") == OK
    flow = end(caller)
    assert caller.call.piece == b"other"
    assert flow.edited_by == ("plugin p",)


def test_pieces_have_their_sides_permission() -> None:
    request = with_body(b"", Hook.REQUEST_CHUNK, modify_requests=False)
    response = with_body(b"", Hook.RESPONSE_CHUNK, modify_responses=False)
    for caller in (request, response):
        caller.call.piece = b"x"
        assert caller.run("host_set_body", b"y") == NOT_PERMITTED
