"""Flows on their way through real handlers, without a core around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from proxy_core.model.message import ResponseHead
from proxy_core.plugin_host import codes
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import GuestFailure, GuestTrapped, HostCallFailed
from proxy_core.plugin_host.foreign.http_wasm import driver as drivers
from tests.plugin_host.foreign.http_wasm.modules import at, handler, text
from tests.plugin_host.foreign.http_wasm.room import OneRoom
from tests.plugin_host.guests import make_flow, respond_with

Open = Callable[..., OneRoom]
ENABLE = "(drop (call $enable_features (i32.const {})))"
LOG_CONTEXT = """
    (i32.store8 (i32.const 100) (i32.add (local.get 0) (i32.const 48)))
    (i32.store8 (i32.const 101) (i32.add (local.get 1) (i32.const 48)))
    (call $log (i32.const 0) (i32.const 100) (i32.const 2))"""


@pytest.fixture
async def open_room() -> AsyncIterator[Open]:
    rooms: list[OneRoom] = []

    def open_one(module: bytes, **permissions: bool) -> OneRoom:
        rooms.append(OneRoom(module, **permissions))
        return rooms[-1]

    yield open_one
    for room in rooms:
        await room.close()


def counting() -> bytes:
    """Gives each request the next number as its context, and logs context and error flag."""
    return handler(
        "log",
        more="(global $n (mut i32) (i32.const 0))",
        request="(global.set $n (i32.add (global.get $n) (i32.const 1)))",
        answer="(i64.or (i64.shl (i64.extend_i32_u (global.get $n)) (i64.const 32)) (i64.const 1))",
        response=LOG_CONTEXT,
    )


async def test_the_context_of_a_flow_comes_back_with_its_response(open_room: Open) -> None:
    room = open_room(counting())
    flows = [make_flow(), make_flow()]
    flows[1].id = type(flows[1].id)(18)
    for flow in flows:
        assert await room.request(flow) == codes.CONTINUE
    for flow in reversed(flows):
        await room.response(flow)
    assert room.texts == ["20", "10"]


async def test_a_response_without_a_request_is_not_the_handlers(open_room: Open) -> None:
    room = open_room(counting())
    flow = make_flow()
    await room.response(flow)
    await room.request(flow)
    await room.response(flow)
    await room.response(flow)
    assert room.texts == ["10"]


@pytest.mark.parametrize(("error", "told"), [("the origin is gone", "11"), (None, "10")])
async def test_a_flow_that_ends_without_the_origins_response_is_told_as_over(
    open_room: Open, error: str | None, told: str
) -> None:
    room = open_room(counting())
    flow = make_flow()
    await room.request(flow)
    flow.error = error
    await room.call(Hook.CAPTURE, flow)
    await room.call(Hook.CAPTURE, flow)
    assert room.texts == [told]


async def test_a_flow_that_had_its_response_is_not_told_again(open_room: Open) -> None:
    room = open_room(counting())
    flow = make_flow()
    await room.request(flow)
    await room.response(flow)
    await room.call(Hook.CAPTURE, flow)
    assert room.texts == ["10"]


async def test_what_is_written_when_a_flow_is_over_is_for_nothing(open_room: Open) -> None:
    room = open_room(
        handler(
            "enable_features",
            "set_header_value",
            "write_body",
            "set_status_code",
            start=ENABLE.format(3),
            more=text("x-new", "v"),
            response=f"""(call $set_status_code (i32.const 500))
                (call $set_header_value (i32.const 1) {at("x-new")} {at("v", "x-new")})
                (call $write_body (i32.const 1) {at("v", "x-new")})""",
        )
    )
    await asyncio.gather(*room.tasks)
    flow = make_flow()
    await room.request(flow)
    flow.error = "gone"
    flow.response = before = ResponseHead(502)
    await room.call(Hook.CAPTURE, flow)
    assert flow.response is before
    assert flow.whole is None


async def test_passages_are_bounded(open_room: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "MOST_PASSAGES", 2)
    room = open_room(counting())
    flows = [make_flow() for _ in range(3)]
    for number, flow in enumerate(flows):
        flow.id = type(flow.id)(number)
        await room.request(flow)
    for flow in flows:
        await room.response(flow)
    assert room.texts == ["20", "30"]


async def test_what_was_begun_and_is_kept_is_bounded_in_bytes(
    open_room: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "MOST_BYTES", 100)
    writes = "(call $write_body (i32.const 1) (i32.const 0) (i32.const 40))"
    room = open_room(handler("write_body", request=writes))
    flows = [make_flow() for _ in range(3)]
    for number, flow in enumerate(flows):
        flow.id = type(flow.id)(number)
        await room.request(flow)
    assert [room.driver.wants_body(Hook.RESPONSE, flow) for flow in flows] == [False, True, True]
    for flow in flows:
        await room.call(Hook.CAPTURE, flow)
    assert room.driver._bytes == 0


ANSWERING = handler(
    "set_status_code",
    "add_header_value",
    "write_body",
    more=text("x-by", "me", "no ", "luck"),
    request=f"""(call $set_status_code (i32.const 403))
        (call $add_header_value (i32.const 1) {at("x-by")} {at("me", "x-by")})
        (call $write_body (i32.const 1) {at("no ", "x-by", "me")})
        (call $write_body (i32.const 1) {at("luck", "x-by", "me", "no ")})""",
    answer="(i64.const 0x7fffffff00000000)",
)


async def test_a_handler_answers_by_itself(open_room: Open) -> None:
    room = open_room(ANSWERING)
    flow = make_flow()
    code, call = await room.call(Hook.REQUEST, flow)
    assert code == codes.RESPOND
    head = call.respond_head
    assert head is not None
    assert (head.status, head.reason) == (403, b"Forbidden")
    assert head.headers.fields == [(b"x-by", b"me"), (b"content-length", b"7")]
    assert call.respond_body == b"no luck"
    await room.call(Hook.CAPTURE, flow)
    assert room.texts == []  # handle_response is not called for it


async def test_an_answer_is_200_and_empty_by_default(open_room: Open) -> None:
    _, call = await open_room(handler(answer="(i64.const 0)")).call(Hook.REQUEST, make_flow())
    assert call.respond_head is not None
    assert call.respond_head.status == 200
    assert call.respond_head.headers.fields == [(b"content-length", b"0")]
    assert call.respond_body == b""


async def test_an_answer_without_body_by_its_status_has_none(open_room: Open) -> None:
    room = open_room(
        handler(
            "set_status_code",
            "write_body",
            more=text("x"),
            request=f"""(call $set_status_code (i32.const 204))
                (call $write_body (i32.const 1) {at("x")})""",
            answer="(i64.const 0)",
        )
    )
    _, call = await room.call(Hook.REQUEST, make_flow())
    assert call.respond_head is not None
    assert call.respond_head.headers.fields == []
    assert call.respond_body == b""
    assert room.texts == ["its answer's body is dropped: one with status 204 has none"]


async def test_anything_but_zero_goes_on(open_room: Open) -> None:
    room = open_room(handler(answer="(i64.const 0xfffffffe)"))
    assert await room.request(make_flow()) == codes.CONTINUE


def rewriting(features: int, kind: int, in_response: bool) -> bytes:
    """Reads a body whole and writes it twice in its place."""
    code = f"""(local.set $n (i32.wrap_i64
            (call $read_body (i32.const {kind}) (i32.const 1024) (i32.const 4096))))
        (call $write_body (i32.const {kind}) (i32.const 1024) (local.get $n))
        (call $write_body (i32.const {kind}) (i32.const 1024) (local.get $n))"""
    body = f"(local $n i32) {code}"
    return handler(
        "enable_features",
        "read_body",
        "write_body",
        start=ENABLE.format(features) if features else "",
        request="" if in_response else body,
        response=body if in_response else "",
    )


@pytest.mark.parametrize("features", [0, 1, 3])
async def test_a_requests_body_is_rewritten(open_room: Open, features: int) -> None:
    room = open_room(rewriting(features, 0, in_response=False))
    flow = make_flow(method=b"POST")
    await room.request(flow, b"abc")
    assert flow.whole is not None
    assert (flow.whole.data, flow.whole.edited) == (b"abcabc", True)


async def test_a_responses_body_is_rewritten(open_room: Open) -> None:
    room = open_room(rewriting(2, 1, in_response=True))
    await asyncio.gather(*room.tasks)
    flow = make_flow()
    assert not room.driver.wants_body(Hook.REQUEST, flow)
    await room.request(flow)
    await room.response(flow, b"abc")
    assert flow.whole is not None
    assert (flow.whole.data, flow.whole.edited) == (b"abcabc", True)


async def test_features_of_one_flow_are_its_own(open_room: Open) -> None:
    """The first request switches buffering on for itself."""
    module = handler(
        "enable_features",
        "read_body",
        more="(global $n (mut i32) (i32.const 0))",
        request=f"""(if (i32.eqz (global.get $n)) (then {ENABLE.format(2)}))
            (global.set $n (i32.const 1))""",
    )
    room = open_room(module)
    first, second = make_flow(), make_flow()
    second.id = type(second.id)(18)
    await room.request(first)
    await room.request(second)
    assert room.driver.wants_body(Hook.RESPONSE, first)
    assert not room.driver.wants_body(Hook.RESPONSE, second)


@pytest.mark.parametrize(
    ("features", "used", "request_wanted", "response_wanted"),
    [
        (0, (), False, False),
        (3, (), False, False),
        (3, ("write_body",), False, True),
        (0, ("read_body",), True, False),
        (1, ("read_body",), True, False),
        (2, ("read_body",), False, True),
        (3, ("read_body",), True, True),
        (4, (), True, True),
    ],
)
async def test_bodies_are_gathered_only_for_whom_it_matters(
    open_room: Open,
    features: int,
    used: tuple[str, ...],
    request_wanted: bool,
    response_wanted: bool,
) -> None:
    room = open_room(handler("enable_features", *used, start=ENABLE.format(features)))
    flow = make_flow()
    assert room.driver.wants_body(Hook.REQUEST, flow)  # nobody has looked into it yet
    await asyncio.gather(*room.tasks)
    assert room.driver.wants_body(Hook.REQUEST, flow) is request_wanted
    await room.request(flow)
    assert room.driver.wants_body(Hook.RESPONSE, flow) is response_wanted


async def test_bodies_are_not_gathered_without_permission(open_room: Open) -> None:
    module = handler("enable_features", "read_body", start=ENABLE.format(3))
    room = open_room(module, access_bodies=False)
    flow = make_flow()
    await asyncio.gather(*room.tasks)
    assert not room.driver.wants_body(Hook.REQUEST, flow)
    await room.request(flow)
    assert not room.driver.wants_body(Hook.RESPONSE, flow)


def beginning(*names: str, body: str = "early") -> bytes:
    """Writes to the response while it has the request, and lets it go on."""
    pieces = [*names, "mine", body]
    adds = "".join(
        f"(call $add_header_value (i32.const 1) {at(name, *pieces[:i])} {at('mine', *names)})"
        for i, name in enumerate(names)
    )
    write = f"(call $write_body (i32.const 1) {at(body, *names, 'mine')})" if body else ""
    return handler("add_header_value", "write_body", more=text(*pieces), request=f"{adds}{write}")


async def test_what_was_begun_joins_the_origins_response(open_room: Open) -> None:
    room = open_room(beginning("x-new", "content-type", "set-cookie"))
    flow = respond_with(make_flow(), 200, [(b"Content-Type", b"text/css"), (b"Set-Cookie", b"a=1")])
    await room.request(flow)
    await room.response(flow, b"theirs")
    assert flow.response is not None
    assert flow.response.headers.fields == [
        (b"Content-Type", b"text/css"),
        (b"Set-Cookie", b"a=1"),
        (b"x-new", b"mine"),
        (b"set-cookie", b"mine"),
    ]
    assert flow.whole is not None
    assert flow.whole.data == b"earlytheirs"


async def test_bytes_that_were_begun_do_not_join_an_encoded_body(open_room: Open) -> None:
    room = open_room(beginning("x-new"))
    flow = respond_with(make_flow(), 200, [(b"Content-Encoding", b"gzip")])
    await room.request(flow)
    await room.response(flow, b"zipped")
    assert flow.response is not None
    assert flow.response.headers.get(b"x-new") == b"mine"
    assert flow.whole is not None
    assert not flow.whole.edited
    assert "the origin's body is encoded" in room.texts[0]


async def test_what_was_begun_needs_permission_to_join(open_room: Open) -> None:
    room = open_room(beginning("x-new"), modify_responses=False)
    flow = make_flow()
    await room.request(flow)
    await room.response(flow, b"theirs")
    assert flow.edited_by == ()
    assert flow.whole is not None
    assert not flow.whole.edited
    assert "permissions.modify_responses" in room.texts[0]


TRAPPING = handler(
    "set_header_value",
    "write_body",
    more=text("x-new", "v"),
    request=f"""(call $set_header_value (i32.const 0) {at("x-new")} {at("v", "x-new")})
        (call $write_body (i32.const 0) {at("v", "x-new")}) unreachable""",
)


async def test_edits_before_a_trap_are_dropped(open_room: Open) -> None:
    room = open_room(TRAPPING)
    await asyncio.gather(*room.tasks)
    flow = make_flow()
    before = flow.request
    with pytest.raises(GuestTrapped):
        await room.request(flow)
    assert flow.request is before
    assert flow.whole is None
    assert room.driver.wants_body(Hook.RESPONSE, flow) is False


async def test_what_a_host_function_cannot_do_ends_the_call(open_room: Open) -> None:
    room = open_room(
        handler("get_uri", request="(drop (call $get_uri (i32.const 65535) (i32.const 100)))")
    )
    with pytest.raises(HostCallFailed, match="get_uri: 9 bytes at 65535 outside its memory"):
        await room.request(make_flow())


async def test_flows_of_an_instance_that_is_gone_are_nobodys(open_room: Open) -> None:
    module = handler(
        "log",
        "get_method",
        response=LOG_CONTEXT,
        # traps for POST
        request="""(drop (call $get_method (i32.const 200) (i32.const 10)))
            (if (i32.eq (i32.load8_u (i32.const 200)) (i32.const 80)) (then unreachable))""",
    )
    room = open_room(module)
    flow, bad = make_flow(), make_flow(method=b"POST")
    await room.request(flow)
    with pytest.raises(GuestFailure):
        await room.request(bad)
    assert room.built == 2
    await room.response(flow)
    assert room.texts == []


async def test_configuration_is_there_when_a_handler_starts(open_room: Open) -> None:
    room = open_room(
        handler(
            "get_config",
            "log",
            start="""(call $log (i32.const 1) (i32.const 64)
                (call $get_config (i32.const 64) (i32.const 100)))""",
        )
    )
    assert room.texts == ['{"a":1}']
