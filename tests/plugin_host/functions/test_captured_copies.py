"""What `on_capture` reads, rewrites and has forgotten of a flow that is over."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest

from proxy_core.model.edits import Change
from proxy_core.model.flow import FlowKind
from proxy_core.model.headers import Field
from proxy_core.model.websocket import WebSocketEnd, WebSocketLog, WebSocketMessage
from proxy_core.plugin_host.codes import (
    ABSENT,
    NOT_IN_HOOK,
    NOT_PERMITTED,
    OK,
    FieldId,
    Hook,
)
from proxy_core.plugin_host.files.manifest import Permissions
from tests.plugin_host.caller import Caller
from tests.plugin_host.functions.test_body_functions import GZIP, end, flow_of, with_body
from tests.plugin_host.guests import make_flow, respond_with


def captured(data: bytes, fields: tuple[Field, ...] = ()) -> Caller:
    """A call of `on_capture` for a flow with `data` for both bodies."""
    flow = respond_with(make_flow(fields, method=b"POST"), 200, fields)
    flow.request_body.feed(data)
    flow.response_body.feed(data)
    return Caller(Hook.CAPTURE, flow)


@pytest.mark.parametrize("side", ["request", "response"])
def test_captured_copies_are_edited_and_nothing_is_kept_of_what_they_were(side: str) -> None:
    caller = captured(b"card 4111", ((b"Authorization", b"secret"),))
    flow = flow_of(caller)
    flow.request_received, flow.response_received = flow.request, flow.response
    caller.run("host_set_field", FieldId.MESSAGE, side.encode())
    assert caller.answer("host_get_header", b"authorization") == b"secret"
    assert caller.answer("host_get_body", 0) == b"card 4111"
    assert caller.run("host_set_header", b"authorization", b"***") == OK
    assert caller.run("host_set_body", b"card *") == OK
    end(caller)
    request = side == "request"
    head = flow.request if request else flow.response
    body = flow.request_body if request else flow.response_body
    other = flow.response_body if request else flow.request_body
    assert head is not None
    assert head.headers.fields == [(b"Authorization", b"***")]
    assert (body.kept, body.size, body.truncated) == (b"card *", 9, False)
    assert other.kept == b"card 4111"
    assert (flow.request_received is None, flow.response_received is None) == (request, not request)
    assert flow.changes == ()
    assert flow.edited_by == ()
    assert flow.notes == ("the captured copy was changed by plugin p",)


def test_both_copies_may_be_edited_in_one_call() -> None:
    caller = captured(b"x")
    for side in (b"request", b"response"):
        caller.run("host_set_field", FieldId.MESSAGE, side)
        caller.run("host_set_body", side)
        caller.run("host_add_header", b"seen", side)
    flow = end(caller)
    assert (flow.request_body.kept, flow.response_body.kept) == (b"request", b"response")
    assert flow.request.headers.get(b"seen") == b"request"
    assert flow.response is not None
    assert flow.response.headers.get(b"seen") == b"response"


def test_earlier_changes_of_an_edited_copy_are_forgotten_and_the_others_kept() -> None:
    caller = with_body(b"secret")
    caller.run("host_set_body", b"edited")
    flow = end(caller)
    flow.whole = None
    later = Caller(Hook.CAPTURE, flow)
    later.run("host_set_field", FieldId.MESSAGE, b"request")
    later.run("host_set_header", b"a", b"b")
    assert len(end(later).changes) == 1
    later = Caller(Hook.CAPTURE, flow)
    later.run("host_set_header", b"a", b"b")
    assert end(later).changes == ()


def before_and_after(**fields: bytes) -> Caller:
    """A call of `on_capture` for a flow of which another plugin has taken out a secret."""
    caller = captured(b"body", tuple((name.encode(), value) for name, value in fields.items()))
    flow = flow_of(caller)
    flow.request_received = make_flow([(b"authorization", b"secret")]).request
    flow.changes = (Change("plugin q", flow.request_received, b"secret"),)
    return caller


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("host_remove_header", (b"authorization",)),
        ("host_set_header", (b"a", b"b")),
        ("host_set_field", (FieldId.METHOD, b"POST")),
        ("host_set_body", (b"body",)),
    ],
)
def test_a_write_that_changes_nothing_has_the_message_forget_what_it_was(
    function: str, arguments: tuple[int | bytes, ...]
) -> None:
    caller = before_and_after(a=b"b")
    caller.run("host_set_field", FieldId.MESSAGE, b"request")
    assert caller.run(function, *arguments) == OK
    flow = end(caller)
    assert (flow.request_received, flow.changes) == (None, ())
    assert flow.notes == ("the captured copy was changed by plugin p",)


def test_reading_and_what_is_not_permitted_have_nothing_forgotten() -> None:
    caller = before_and_after()
    caller.call.manifest = replace(
        caller.call.manifest, permissions=Permissions(modify_requests=False)
    )
    caller.run("host_set_field", FieldId.MESSAGE, b"request")
    assert caller.run("host_remove_header", b"authorization") == NOT_PERMITTED
    assert caller.run("host_set_body", b"x") == NOT_PERMITTED
    assert caller.run("host_get_body", 0, 0, 0) == 4
    flow = end(caller)
    assert flow.request_received is not None
    assert len(flow.changes) == 1
    assert flow.notes == ()


def test_a_write_where_nothing_was_kept_before_leaves_no_note() -> None:
    caller = captured(b"x")
    assert caller.run("host_remove_header", b"authorization") == 0
    assert caller.run("host_set_body", b"x") == OK
    assert end(caller).notes == ()


def captured_messages(*messages: tuple[bool, int, bytes]) -> Caller:
    """A call of `on_capture` for a WebSocket that is over: (from the client, opcode, payload)."""
    flow = respond_with(make_flow(), 101)
    flow.web_socket = WebSocketLog(10_000)
    for from_client, opcode, payload in messages:
        size = 2 * len(payload)  # of which half was kept
        flow.web_socket.add(WebSocketMessage(from_client, opcode, 0.0, payload, size))
    return Caller(Hook.CAPTURE, flow)


def test_captured_messages_are_read_and_rewritten_one_after_the_other() -> None:
    caller = captured_messages((True, 1, b"card 4111"), (False, 2, b"\xff"), (True, 8, b"\3\xe8"))
    log = flow_of(caller).web_socket
    assert log is not None
    read: list[tuple[bytes | int, ...]] = []
    while caller.run("host_set_field", FieldId.MESSAGE, b"message %d" % len(read)) == OK:
        facts = [caller.answer("host_get_field", number) for number in (12, 13, 16)]
        read.append((*facts, caller.answer("host_get_body", 0)))
    assert read == [
        (b"client", b"1", b"message 0", b"card 4111"),
        (b"server", b"2", b"message 1", b"\xff"),
        (b"client", b"8", b"message 2", b"\3\xe8"),
    ]
    before = log.bytes
    caller.run("host_set_field", FieldId.MESSAGE, b"message 0")
    assert caller.run("host_get_header", b"host", 0, 0) == NOT_IN_HOOK
    assert caller.run("host_set_header", b"a", b"b") == NOT_IN_HOOK
    assert caller.run("host_set_body", b"card") == OK
    caller.run("host_set_field", FieldId.MESSAGE, b"message 1")
    assert caller.run("host_set_body", b"") == OK
    caller.run("host_set_field", FieldId.MESSAGE, b"request")
    assert caller.run("host_set_header", b"a", b"b") == OK
    caller.run("host_set_field", FieldId.MESSAGE, b"message 0")
    assert caller.answer("host_get_body", 0) == b"card"
    assert log.snapshot()[0].payload == b"card 4111"
    flow = end(caller)
    assert [(m.payload, m.size) for m in log.snapshot()] == [
        (b"card", 18),
        (b"", 2),
        (b"\3\xe8", 4),
    ]
    assert log.bytes == before - len(" 4111") - 1
    assert flow.request.headers.get(b"a") == b"b"
    assert flow.notes == ("the captured copy was changed by plugin p",)


def test_a_direction_of_captured_messages_has_its_permission() -> None:
    caller = captured_messages((True, 1, b"a"), (False, 1, b"b"))
    caller.call.manifest = replace(
        caller.call.manifest, permissions=Permissions(modify_responses=False)
    )
    for number, answer in ((0, OK), (1, NOT_PERMITTED)):
        caller.run("host_set_field", FieldId.MESSAGE, b"message %d" % number)
        assert caller.run("host_set_body", b"x") == answer


@pytest.mark.parametrize(
    ("place", "answer"),
    [
        (b"message 1", ABSENT),
        (b"message 99999", ABSENT),
        (b"message 999999999", ABSENT),
        (b"message 1000000000", NOT_PERMITTED),
        (b"message -1", NOT_PERMITTED),
        (b"message ", NOT_PERMITTED),
        (b"message \xb2", NOT_PERMITTED),
        (b"message", NOT_PERMITTED),
    ],
)
def test_a_message_that_was_not_captured_is_not_there(place: bytes, answer: int) -> None:
    caller = captured_messages((True, 1, b"a"))
    assert caller.run("host_set_field", FieldId.MESSAGE, place) == answer
    assert caller.answer("host_get_field", FieldId.MESSAGE) == b"response"
    caller = with_body(hook=Hook.RESPONSE)
    assert caller.run("host_set_field", FieldId.MESSAGE, b"message 0") == NOT_PERMITTED


@pytest.mark.parametrize("by", ["client", "server", "proxy"])
def test_the_reason_that_ended_a_websocket_follows_the_copy_of_its_close_frame(by: str) -> None:
    caller = captured_messages((True, 8, b"\3\xe8secret"), (False, 8, b"\3\xe8"))
    log = flow_of(caller).web_socket
    assert log is not None
    log.end = WebSocketEnd(by, 1000, "secret")
    caller.run("host_set_field", FieldId.MESSAGE, b"message 0")
    caller.run("host_set_body", b"\3\xe8***")
    end(caller)
    assert log.end == WebSocketEnd(by, 1000, "***" if by == "client" else "secret")


@pytest.mark.parametrize("side", ["request", "response"])
def test_captured_trailers_are_read_and_rewritten(side: str) -> None:
    caller = captured(b"body", ((b"a", b"b"),))
    flow = flow_of(caller)
    flow.request_received, flow.response_received = flow.request, flow.response
    sent = [(b"Token", b"secret"), (b"Grpc-Status", b"0")]
    flow.request_body.trailers, flow.response_body.trailers = sent, sent
    place = f"{side} trailers".encode()
    assert caller.run("host_set_field", FieldId.MESSAGE, place) == OK
    assert caller.answer("host_get_field", FieldId.MESSAGE) == place
    assert caller.answer("host_get_header", b"token") == b"secret"
    assert caller.answer("host_get_header", b"a") == ABSENT
    assert caller.run("host_get_body", 0, 0, 0) == NOT_IN_HOOK
    assert caller.run("host_set_body", b"x") == NOT_IN_HOOK
    assert caller.run("host_set_field", FieldId.METHOD, b"PUT") == NOT_IN_HOOK
    assert caller.run("host_set_field", FieldId.STATUS, b"204") == NOT_IN_HOOK
    assert caller.run("host_set_header", b"token", b"***") == OK
    caller.run("host_set_field", FieldId.MESSAGE, side.encode())
    assert caller.answer("host_get_header", b"token") == ABSENT
    caller.run("host_set_field", FieldId.MESSAGE, place)
    assert caller.answer("host_get_header", b"token") == b"***"
    end(caller)
    bodies = {"request": flow.request_body, "response": flow.response_body}
    received = {"request": flow.request_received, "response": flow.response_received}
    assert bodies.pop(side).trailers == [(b"Token", b"***"), (b"Grpc-Status", b"0")]
    assert received.pop(side) is None
    assert [body.trailers for body in bodies.values()] == [sent]
    assert list(received.values()) != [None]
    assert flow.request.headers.fields == [(b"a", b"b")]
    assert flow.notes == ("the captured copy was changed by plugin p",)


def test_trailers_that_did_not_come_are_not_there_and_others_have_their_permission() -> None:
    caller = captured(b"body")
    flow = flow_of(caller)
    for place in (b"request trailers", b"response trailers"):
        assert caller.run("host_set_field", FieldId.MESSAGE, place) == ABSENT
    assert caller.run("host_set_field", FieldId.MESSAGE, b"response  trailers") == NOT_PERMITTED
    flow.request_body.trailers = flow.response_body.trailers = [(b"a", b"b")]
    caller.call.manifest = replace(
        caller.call.manifest, permissions=Permissions(modify_responses=False)
    )
    for place, answer in ((b"request trailers", 1), (b"response trailers", NOT_PERMITTED)):
        assert caller.run("host_set_field", FieldId.MESSAGE, place) == OK
        assert caller.run("host_remove_header", b"a") == answer
    assert end(caller).request_body.trailers == []
    before = Caller(Hook.RESPONSE, flow)
    assert before.run("host_set_field", FieldId.MESSAGE, b"request trailers") == NOT_PERMITTED


def test_both_directions_of_a_tunnel_are_read_and_rewritten() -> None:
    flow = make_flow(method=b"CONNECT")
    flow.kind = FlowKind.TUNNEL
    flow.request_body.feed(b"from the client")
    flow.response_body.feed(b"from the server")
    caller = Caller(Hook.CAPTURE, flow)
    assert caller.answer("host_get_body", 0) == b"from the client"
    assert caller.run("host_set_body", b"c") == OK
    assert caller.run("host_set_field", FieldId.MESSAGE, b"response") == OK
    assert caller.run("host_get_header", b"host", 0, 0) == NOT_IN_HOOK
    assert caller.run("host_remove_header", b"host") == NOT_IN_HOOK
    assert caller.answer("host_get_body", 0) == b"from the server"
    assert caller.run("host_set_body", b"s") == OK
    end(caller)
    assert (flow.request_body.kept, flow.response_body.kept) == (b"c", b"s")


def test_a_coded_copy_that_was_cut_is_read_as_far_as_it_goes() -> None:
    text = b"".join(b"%d" % n for n in range(2000))
    packed = gzip.compress(text)
    flow = respond_with(make_flow(), 200, (GZIP,))
    flow.response_body.feed(packed[:900])
    flow.response_body.feed(packed[900:])  # more than the 1000 bytes that these flows keep
    assert flow.response_body.truncated
    caller = Caller(Hook.CAPTURE, flow)
    beginning = caller.answer("host_get_body", 0)
    assert isinstance(beginning, bytes)
    assert text.startswith(beginning)
    assert len(beginning) > 900
    caller.run("host_set_body", b"cut")
    end(caller)
    assert gzip.decompress(flow.response_body.kept) == b"cut"
    assert flow.response_body.truncated
