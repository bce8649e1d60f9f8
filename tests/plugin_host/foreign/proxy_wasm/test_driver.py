"""Filters driven through whole flows: contexts, pauses, bodies, tunnels, and what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from proxy_core.errors import RefusedByHook
from proxy_core.exchange.fetch import Fetched
from proxy_core.exchange.hooks import AnsweredByHook
from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from proxy_core.model.ids import FlowId
from proxy_core.model.message import ResponseHead
from proxy_core.plugin_host import codes as abi
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import GuestFailure, ModuleRefused
from proxy_core.plugin_host.files.foreign_options import ProxyWasmOptions
from proxy_core.plugin_host.files.manifest import Permissions
from proxy_core.plugin_host.functions.header_block import pack
from proxy_core.plugin_host.runtime.beside import BesideEngine
from proxy_core.plugin_host.runtime.official import OfficialEngine
from proxy_core.plugin_host.runtime.raw import RawEngine
from tests.plugin_host.foreign.proxy_wasm.fake_room import Driven
from tests.plugin_host.foreign.proxy_wasm.filters import (
    CONTINUE,
    PAUSE,
    add,
    filter_of,
    on,
    say,
    text,
)
from tests.plugin_host.guests import make_flow, respond_with

Load = Callable[..., Driven]


@pytest.fixture(
    params=[RawEngine, BesideEngine, OfficialEngine], ids=["slices", "beside", "threads"]
)
async def load(request: pytest.FixtureRequest) -> AsyncIterator[Load]:
    """Make a driven filter; ended after the test."""
    engine = request.param()
    made: list[Driven] = []

    def make(data: bytes, **options: Any) -> Driven:
        made.append(Driven(engine, data, **options))
        return made[-1]

    yield make
    for driven in made:
        await driven.room.close()
    engine.close()


def a_flow(number: int = 1) -> Flow:
    flow = make_flow()
    flow.id = FlowId(number)
    return flow


# Life cycle.


async def test_callbacks_come_in_their_order(load: Load) -> None:
    names = b"create start configure request response done log delete "
    places: dict[str, tuple[int, int]] = {}
    for word in names.decode().split():
        places[word] = (100 + names.index(word.encode()), len(word))
    driven = load(
        filter_of(
            on("context_create", 2, say(*places["create"]), ""),
            on("vm_start", 2, say(*places["start"]) + "(i32.const 1)"),
            on("configure", 2, say(*places["configure"]) + "(i32.const 1)"),
            on("request_headers", 3, say(*places["request"]) + CONTINUE),
            on("response_headers", 3, say(*places["response"]) + CONTINUE),
            on("done", 1, say(*places["done"]) + "(i32.const 1)"),
            on("log", 1, say(*places["log"]), ""),
            on("delete", 1, say(*places["delete"]), ""),
            texts={100: names},
        )
    )
    flow = a_flow()
    await driven.request(flow)
    await driven.response(flow)
    await driven.capture(flow)
    lines = driven.room.lines
    assert lines[:3] == ["create", "start", "configure"]
    assert lines[3:] == ["create", "request", "response", "done", "log", "delete"]
    await driven.driver.close()
    assert driven.room.lines[-2:] == ["done", "delete"]


@pytest.mark.parametrize("name", ["vm_start", "configure"])
async def test_a_filter_that_does_not_want_to_start_is_refused(load: Load, name: str) -> None:
    driven = load(filter_of(on(name, 2, "(i32.const 0)"), on("request_headers", 3, CONTINUE)))
    with pytest.raises(ModuleRefused, match=f"proxy_on_{name} returned false"):
        driven.room.build()


async def test_initialize_and_main_come_first(load: Load) -> None:
    driven = load(
        filter_of(
            f'(func (export "_initialize") {say(100, 4)})',
            f'(func (export "main") (param i32 i32) (result i32) {say(104, 4)} (i32.const 0))',
            f'(func (export "_start") {say(108, 5)})',
            on("vm_start", 2, say(113, 2) + "(i32.const 1)"),
            texts={100: b"initmainstartvm"},
        )
    )
    driven.room.build().close()
    assert driven.room.lines == ["init", "main", "vm"]


async def test_start_is_for_modules_without_initialize(load: Load) -> None:
    driven = load(filter_of(f'(func (export "_start") {say(100, 5)})', texts={100: b"start"}))
    driven.room.build().close()
    assert driven.room.lines == ["start"]


READ_CONFIGURATIONS = [
    on(
        name,
        2,
        f"""(drop (call $get_buffer_bytes (i32.const {number}) (i32.const 0) (local.get 1)
        (global.get $address) (global.get $length))) (call $say) (i32.const 1)""",
    )
    for name, number in (("vm_start", 6), ("configure", 7))
]


async def test_configurations_are_what_the_manifest_says(load: Load) -> None:
    driven = load(
        filter_of(*READ_CONFIGURATIONS),
        config=b"plugin text",
        proxy_wasm=ProxyWasmOptions(vm_config=b"vm text"),
    )
    driven.room.build().close()
    assert driven.room.lines == ["vm text", "plugin text"]


async def test_a_context_that_is_not_done_is_kept_until_it_is(load: Load) -> None:
    driven = load(
        filter_of(
            on("request_headers", 3, CONTINUE),
            on("done", 1, "(i32.const 0)"),
            on("log", 1, say(100, 3), ""),
            on(
                "tick",
                1,
                "(drop (call $set_effective_context (i32.const 2))) (drop (call $done))"
                "(drop (call $set_tick_period_milliseconds (i32.const 0)))",
                "",
            ),
            on(
                "configure",
                2,
                """(drop (call $set_tick_period_milliseconds (i32.const 200)))
               (i32.const 1)""",
            ),
            texts={100: b"log"},
        )
    )
    flow = a_flow()
    await driven.request(flow)
    await driven.capture(flow)
    assert driven.room.lines == []
    await driven.room.until(lambda: driven.room.lines == ["log"])


# Messages.


HEADERS = filter_of(
    on("request_headers", 3, add(0, (100, 1), (110, 2)) + CONTINUE),
    on("response_headers", 3, add(2, (100, 1), (120, 3)) + CONTINUE),
    texts={100: b"x", 110: b"up", 120: b"end"},
)


async def test_headers_are_edited_both_ways(load: Load) -> None:
    driven, flow = load(HEADERS), a_flow()
    assert (await driven.request(flow))[0] == abi.CONTINUE
    assert flow.request.headers.get(b"x") == b"up"
    assert (await driven.response(flow))[0] == abi.CONTINUE
    assert flow.response is not None
    assert flow.response.headers.get(b"x") == b"end"


async def test_the_first_version_takes_two_arguments(load: Load) -> None:
    driven = load(
        filter_of(
            on("request_headers", 2, add(0, (100, 1), (110, 2)) + CONTINUE),
            texts={100: b"x", 110: b"up"},
            version="0_1_0",
        )
    )
    flow = a_flow()
    await driven.request(flow)
    assert flow.request.headers.get(b"x") == b"up"


SHOW_END = [
    on(name, 3, f"(if (local.get 2) (then {add(number, (100, 5), (110, 1))})) {CONTINUE}")
    for name, number in (("request_headers", 0), ("response_headers", 2))
]


@pytest.mark.parametrize(("body", "ended"), [(b"", True), (b"x", False)])
async def test_heads_say_whether_anything_follows(load: Load, body: bytes, ended: bool) -> None:
    driven = load(filter_of(*SHOW_END, texts={100: b"ended", 110: b"1"}))
    flow = a_flow()
    await driven.request(flow, WholeBody(body))
    assert (b"ended" in flow.request.headers) is ended
    await driven.response(flow, WholeBody(body))
    assert flow.response is not None
    assert (b"ended" in flow.response.headers) is ended


REPLACE_BODY = [
    on(
        f"{side}_body",
        3,
        f"""(if (i32.eqz (local.get 2)) (then (return {PAUSE})))
        (drop (call $set_buffer_bytes (i32.const {number}) (i32.const 0) (i32.const 0)
          {text(100, 4)})) {CONTINUE}""",
    )
    for side, number in (("request", 0), ("response", 1))
]


async def test_bodies_are_rewritten_whole(load: Load) -> None:
    driven, flow = load(filter_of(*REPLACE_BODY, texts={100: b"new:"})), a_flow()
    request, response = WholeBody(b"question"), WholeBody(b"answer")
    await driven.request(flow, request)
    await driven.response(flow, response)
    assert (request.data, response.data) == (b"new:question", b"new:answer")


async def test_bodies_are_rewritten_piece_by_piece(load: Load) -> None:
    driven, flow = load(filter_of(*REPLACE_BODY, texts={100: b"new:"})), a_flow()
    await driven.driver.hook(Hook.REQUEST, driven.room.call(Hook.REQUEST, flow))
    passing = driven.driver.body_filter(Hook.REQUEST, flow)
    assert passing is not None
    assert [await passing(b"ab", False), await passing(b"", False)] == [b"", b""]
    assert await passing(b"cd", True) == b"new:abcd"


async def test_a_body_that_was_whole_is_not_shown_again(load: Load) -> None:
    driven, flow = load(filter_of(*REPLACE_BODY, texts={100: b"new:"})), a_flow()
    await driven.request(flow, WholeBody(b"x"))
    assert driven.driver.body_filter(Hook.REQUEST, flow) is None


async def test_bodies_are_not_shown_without_permission(load: Load) -> None:
    driven = load(
        filter_of(*REPLACE_BODY, texts={100: b"new:"}), permissions=Permissions(access_bodies=False)
    )
    flow = a_flow()
    assert not driven.driver.wants_body(Hook.REQUEST, flow)
    await driven.request(flow)
    assert driven.driver.body_filter(Hook.REQUEST, flow) is None


async def test_a_response_is_gathered_where_its_length_is_announced(load: Load) -> None:
    driven = load(filter_of(*REPLACE_BODY, texts={100: b"new:"}))
    announced, chunked = a_flow(1), a_flow(2)
    for flow in (announced, chunked):
        assert driven.driver.wants_body(Hook.REQUEST, flow)
        await driven.request(flow)
    respond_with(announced, 200, [(b"Content-Length", b"5")])
    respond_with(chunked, 200, [(b"Transfer-Encoding", b"chunked")])
    assert driven.driver.wants_body(Hook.RESPONSE, announced)
    assert not driven.driver.wants_body(Hook.RESPONSE, chunked)


TRAILERS = filter_of(
    on("request_body", 3, f"(if (local.get 2) (then {add(1, (100, 1), (110, 5))})) {CONTINUE}"),
    on("request_trailers", 2, add(1, (100, 1), (115, 4)) + CONTINUE),
    texts={100: b"t", 110: b"addedseen"},
)


async def test_trailers_are_added_behind_a_body_and_edited_where_they_are(load: Load) -> None:
    driven = load(TRAILERS)
    without, having = WholeBody(b"x"), WholeBody(b"x", [(b"a", b"1")])
    await driven.request(a_flow(1), without)
    await driven.request(a_flow(2), having)
    assert without.trailers == [(b"t", b"added")]
    assert having.trailers == [(b"a", b"1"), (b"t", b"seen")]


RESPOND = f"""(drop (call $send_local_response (i32.const 418) {text(0, 0)} {text(100, 3)}
    {text(0, 0)} (i32.const -1)))"""


@pytest.mark.parametrize("name", ["request_headers", "request_body", "response_headers"])
async def test_a_filter_answers_itself(load: Load, name: str) -> None:
    driven = load(filter_of(on(name, 3, RESPOND + PAUSE), texts={100: b"tea"}))
    flow = a_flow()
    code, call = await driven.request(flow, WholeBody(b"x"))
    if name == "response_headers":
        code, call = await driven.response(flow)
    assert code == abi.RESPOND
    assert call.respond_head is not None
    assert (call.respond_head.status, call.respond_body) == (418, b"tea")


def replace_body(number: int, at: int, length: int) -> str:
    return f"""(drop (call $set_buffer_bytes (i32.const {number}) (i32.const 0) (i32.const -1)
        {text(at, length)}))"""


async def test_a_filter_is_shown_the_answer_that_it_made(load: Load) -> None:
    driven = load(
        filter_of(
            on("request_headers", 3, RESPOND + PAUSE),
            on("response_headers", 3, add(2, (110, 1), (110, 1)) + CONTINUE),
            on("response_body", 3, replace_body(1, 120, 6) + CONTINUE),
            texts={100: b"tea", 110: b"x", 120: b"coffee"},
        )
    )
    code, call = await driven.request(a_flow())
    assert (code, call.respond_body) == (abi.RESPOND, b"coffee")
    assert call.respond_head is not None
    assert call.respond_head.headers.get(b"x") == b"x"
    assert call.respond_head.headers.get(b"content-length") == b"6"


async def test_an_answer_stands_where_showing_it_to_the_filter_fails(load: Load) -> None:
    driven = load(
        filter_of(
            on("request_headers", 3, RESPOND + PAUSE),
            on("response_headers", 3, "unreachable"),
            texts={100: b"tea"},
        )
    )
    code, call = await driven.request(a_flow())
    assert (code, call.respond_body) == (abi.RESPOND, b"tea")
    assert len(driven.room.failures) == 1


async def test_a_filter_that_answers_its_answer_is_not_asked_again(load: Load) -> None:
    again = RESPOND.replace("(i32.const 418)", "(i32.const 429)")
    driven = load(
        filter_of(
            on("request_headers", 3, RESPOND + PAUSE),
            on("response_headers", 3, again + PAUSE),
            texts={100: b"tea"},
        )
    )
    code, call = await driven.request(a_flow())
    assert code == abi.RESPOND
    assert call.respond_head is not None
    assert call.respond_head.status == 429


async def test_a_filter_closes_a_stream(load: Load) -> None:
    closing = "(drop (call $close_stream (i32.const 0)))"
    driven = load(filter_of(on("request_headers", 3, closing + PAUSE)))
    assert (await driven.request(a_flow()))[0] == abi.BLOCK


async def test_an_answer_amid_a_streamed_body_ends_the_exchange(load: Load) -> None:
    driven = load(filter_of(on("request_body", 3, RESPOND + PAUSE), texts={100: b"tea"}))
    flow = a_flow()
    await driven.driver.hook(Hook.REQUEST, driven.room.call(Hook.REQUEST, flow))
    passing = driven.driver.body_filter(Hook.REQUEST, flow)
    assert passing is not None
    with pytest.raises(AnsweredByHook, match="plugin p") as caught:
        await passing(b"x", False)
    assert (caught.value.verdict.head.status, caught.value.verdict.body) == (418, b"tea")


# Pauses.


FETCH = f"""(drop (call $http_call {text(100, 4)} {text(200, 100)} {text(0, 0)} {text(0, 0)}
    (i32.const 1000) (global.get $number)))"""
ANSWERED = f"""(drop (call $set_effective_context (i32.const 2)))
    (drop (call $get_buffer_bytes (i32.const 4) (i32.const 0) (local.get 3)
      (global.get $address) (global.get $length)))
    (drop (call $add_header_map_value (i32.const 0) {text(110, 5)}
      (i32.load (global.get $address)) (i32.load (global.get $length))))
    (drop (call $continue_stream (i32.const 0)))"""
CALL_FIELDS = pack(
    [(b":method", b"GET"), (b":path", b"/token"), (b":authority", b"auth"), (b"x", b"1" * 20)]
)


def calling() -> bytes:
    assert len(CALL_FIELDS) == 100
    return filter_of(
        on(
            "request_headers",
            3,
            f"(if (i32.eq (local.get 0) (i32.const 2)) (then {FETCH} (return {PAUSE}))) {CONTINUE}",
        ),
        on("http_call_response", 5, ANSWERED, ""),
        texts={100: b"auth", 110: b"token", 200: CALL_FIELDS},
    )


async def test_a_flow_waits_for_an_http_call_while_others_go_on(load: Load) -> None:
    driven, flow = load(calling()), a_flow()
    driven.room.answers["http://auth/token"] = Fetched(ResponseHead(200), b"secret", ())
    driven.room.may_answer.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(driven.request(flow))
        await driven.room.until(lambda: bool(driven.room.asked))
        assert (await driven.request(a_flow(2)))[0] == abi.CONTINUE
        assert not first.done()
        driven.room.may_answer.set()
    assert first.result()[0] == abi.CONTINUE
    assert flow.request.headers.get(b"token") == b"secret"
    assert driven.room.asked == [(b"GET", "http://auth/token", b"")]


async def test_a_call_that_fails_is_told_too(load: Load) -> None:
    driven, flow = load(calling()), a_flow()
    assert (await driven.request(flow))[0] == abi.CONTINUE
    assert flow.request.headers.get(b"token") == b""
    assert "HTTP call to http://auth/token: nobody is there" in driven.room.lines


PAUSING = filter_of(on("request_headers", 3, add(0, (100, 1), (100, 1)) + PAUSE), texts={100: b"x"})


async def test_a_flow_that_nobody_resumes_goes_on_after_the_deadline(load: Load) -> None:
    driven, flow = load(PAUSING, deadline_ms=30), a_flow()
    assert (await driven.request(flow))[0] == abi.CONTINUE
    assert flow.request.headers.get(b"x") == b"x"
    assert "paused the flow, and nothing has let it go on for 0.03 s" in driven.room.lines[-1]


async def test_it_fails_where_the_plugin_fails_closed(load: Load) -> None:
    driven = load(PAUSING, deadline_ms=30, on_failure="closed")
    assert (await driven.request(a_flow()))[0] < 0


@pytest.mark.parametrize("name", ["request", "response"])
async def test_a_head_that_is_paused_for_its_body_is_edited_beside_it(
    load: Load, name: str
) -> None:
    number = 0 if name == "request" else 2
    driven = load(
        filter_of(
            on(f"{name}_headers", 3, PAUSE),
            on(f"{name}_body", 3, add(number, (100, 1), (100, 1)) + CONTINUE),
            texts={100: b"x"},
        ),
        deadline_ms=60_000,
    )
    flow = a_flow()
    await driven.request(flow, WholeBody(b"body"))
    await driven.response(flow, WholeBody(b"body"))
    head = flow.request if name == "request" else flow.response
    assert head is not None
    assert head.headers.get(b"x") == b"x"


async def test_a_head_that_is_paused_for_a_call_waits_before_its_body(load: Load) -> None:
    driven = load(
        filter_of(
            on("request_headers", 3, FETCH + PAUSE),
            on("request_body", 3, say(120, 4) + CONTINUE),
            on("http_call_response", 5, say(110, 6) + ANSWERED, ""),
            texts={100: b"auth", 110: b"called", 120: b"body", 200: CALL_FIELDS},
        )
    )
    driven.room.answers["http://auth/token"] = Fetched(ResponseHead(200), b"secret", ())
    assert (await driven.request(a_flow(), WholeBody(b"x")))[0] == abi.CONTINUE
    assert driven.room.lines == ["called", "body"]


async def test_pieces_of_a_body_that_are_taken_do_not_go_on(load: Load) -> None:
    take = "(if (result i32) (local.get 2) (then (i32.const 0)) (else (i32.const 3)))"
    driven, flow = load(filter_of(on("request_body", 3, take))), a_flow()
    await driven.driver.hook(Hook.REQUEST, driven.room.call(Hook.REQUEST, flow))
    passing = driven.driver.body_filter(Hook.REQUEST, flow)
    assert passing is not None
    assert [await passing(b"ab", False), await passing(b"cd", True)] == [b"", b"cd"]


async def test_going_on_before_pausing_counts(load: Load) -> None:
    resuming = "(drop (call $continue_stream (i32.const 0)))"
    driven = load(filter_of(on("request_headers", 3, resuming + PAUSE)), deadline_ms=60_000)
    assert (await driven.request(a_flow()))[0] == abi.CONTINUE


async def test_a_tick_lets_a_paused_flow_go_on(load: Load) -> None:
    driven = load(
        filter_of(
            on(
                "configure",
                2,
                """(drop (call $set_tick_period_milliseconds (i32.const 200)))
               (i32.const 1)""",
            ),
            on("request_headers", 3, PAUSE),
            on(
                "tick",
                1,
                """(drop (call $set_effective_context (i32.const 2)))
               (drop (call $continue_stream (i32.const 0)))""",
                "",
            ),
        )
    )
    assert (await driven.request(a_flow()))[0] == abi.CONTINUE


async def test_a_paused_flow_whose_client_goes_leaves_the_instance_alone(load: Load) -> None:
    driven = load(PAUSING)
    first = asyncio.get_running_loop().create_task(driven.request(a_flow(1)))
    await driven.room.until(lambda: FlowId(1) in driven.driver.streams)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await driven.capture(a_flow(1))
    assert driven.room.failures == []


# Traps.


TRAPPING = filter_of(
    on(
        "request_headers",
        3,
        f"(if (i32.eq (local.get 0) (i32.const 3)) (then unreachable)) {PAUSE}",
    )
)


@pytest.mark.parametrize(("on_failure", "expected"), [("open", 0), ("closed", -1)])
async def test_a_trap_lets_paused_flows_of_the_instance_go(
    load: Load, on_failure: str, expected: int
) -> None:
    driven = load(TRAPPING, on_failure=on_failure)
    first = asyncio.get_running_loop().create_task(driven.request(a_flow(1)))
    await driven.room.until(lambda: FlowId(1) in driven.driver.streams)
    with pytest.raises(GuestFailure, match="unreachable"):
        await driven.request(a_flow(2))
    assert (await first)[0] == expected


async def test_a_flow_whose_context_is_lost_is_left_alone(load: Load) -> None:
    driven = load(
        filter_of(
            on(
                "request_headers",
                3,
                f"(if (i32.eq (local.get 0) (i32.const 3)) (then unreachable)) {CONTINUE}",
            ),
            on("response_headers", 3, add(2, (100, 1), (100, 1)) + CONTINUE),
            texts={100: b"x"},
        )
    )
    first = a_flow(1)
    await driven.request(first)
    with pytest.raises(GuestFailure):
        await driven.request(a_flow(2))
    code, _ = await driven.response(first)
    await driven.capture(first)
    assert code == abi.CONTINUE
    assert first.response is not None
    assert b"x" not in first.response.headers
    third = a_flow(3)
    await driven.request(third)
    await driven.response(third)
    assert third.response is not None
    assert third.response.headers.get(b"x") == b"x"


async def test_a_trap_amid_a_body_lets_it_go_on_without_the_filter(load: Load) -> None:
    driven = load(
        filter_of(on("request_body", 3, f"(if (local.get 2) (then unreachable)) {PAUSE}"))
    )
    flow = a_flow()
    await driven.driver.hook(Hook.REQUEST, driven.room.call(Hook.REQUEST, flow))
    passing = driven.driver.body_filter(Hook.REQUEST, flow)
    assert passing is not None
    assert [await passing(b"ab", False), await passing(b"cd", True)] == [b"", b"abcd"]
    assert ["unreachable" in str(failure) for failure in driven.room.failures] == [True]


async def test_it_ends_the_exchange_where_the_plugin_fails_closed(load: Load) -> None:
    driven = load(filter_of(on("request_body", 3, "unreachable")), on_failure="closed")
    flow = a_flow()
    await driven.driver.hook(Hook.REQUEST, driven.room.call(Hook.REQUEST, flow))
    passing = driven.driver.body_filter(Hook.REQUEST, flow)
    assert passing is not None
    with pytest.raises(RefusedByHook, match="unreachable"):
        await passing(b"ab", False)


# In the background.


async def test_queues_tell_of_every_item(load: Load) -> None:
    enqueue = f"(drop (call $enqueue_shared_queue (i32.load (global.get $number)) {text(100, 3)}))"
    driven = load(
        filter_of(
            on(
                "vm_start",
                2,
                f"""(drop (call $register_shared_queue {text(110, 1)}
               (global.get $number))) (i32.const 1)""",
            ),
            on("request_headers", 3, enqueue + enqueue + CONTINUE),
            on(
                "queue_ready",
                2,
                """(drop (call $dequeue_shared_queue (local.get 1)
               (global.get $address) (global.get $length))) (call $say)""",
                "",
            ),
            texts={100: b"job", 110: b"q"},
        )
    )
    await driven.request(a_flow())
    await driven.room.until(lambda: driven.room.lines == ["job", "job"])


async def test_a_tick_that_traps_is_complained_of_and_ticks_again(load: Load) -> None:
    driven = load(
        filter_of(
            on(
                "configure",
                2,
                """(drop (call $set_tick_period_milliseconds (i32.const 10)))
               (i32.const 1)""",
            ),
            on("tick", 1, "unreachable", ""),
        )
    )
    await driven.room.until(lambda: len(driven.room.failures) == 1)
    assert (await driven.request(a_flow()))[0] == abi.CONTINUE


# Tunnels.


STREAM = filter_of(
    on("new_connection", 1, say(100, 3) + CONTINUE),
    on(
        "downstream_data",
        3,
        f"""(if (i32.lt_u (local.get 1) (i32.const 4)) (then
       (if (i32.eqz (local.get 2)) (then (return {PAUSE})))))
       (drop (call $set_buffer_bytes (i32.const 2) (i32.const 0) (i32.const 1) {text(110, 1)}))
       {CONTINUE}""",
    ),
    on(
        "upstream_data",
        3,
        f"""(drop (call $set_buffer_bytes (i32.const 3) (i32.const -1)
       (i32.const 0) {text(110, 1)})) {CONTINUE}""",
    ),
    on("downstream_connection_close", 2, say(120, 4), ""),
    on("upstream_connection_close", 2, say(124, 2), ""),
    on("log", 1, say(130, 3), ""),
    texts={100: b"new", 110: b"#", 120: b"downup", 130: b"log"},
)


async def test_bytes_of_a_tunnel_pass_both_ways(load: Load) -> None:
    driven, flow = load(STREAM), a_flow()
    through = driven.driver.tunnel_filter(flow)
    assert through is not None
    assert [await through(True, b"ab", False), await through(True, b"cd", False)] == [b"", b"#bcd"]
    assert await through(False, b"xy", False) == b"xy#"
    assert await through(True, b"e", True) == b"#"
    assert await through(False, b"", True) == b"#"
    await driven.capture(flow)
    assert driven.room.lines == ["new", "down", "up", "log"]


async def test_a_side_of_a_tunnel_that_did_not_end_by_itself_is_closed_with_the_flow(
    load: Load,
) -> None:
    tell = "(i32.store8 (i32.const 100) (i32.add (i32.const 48) (local.get 1)))" + say(100, 1)
    driven = load(
        filter_of(
            on("downstream_connection_close", 2, tell, ""),
            on("upstream_connection_close", 2, tell, ""),
        )
    )
    flow = a_flow()
    through = driven.driver.tunnel_filter(flow)
    assert through is not None
    await through(False, b"", True)
    await driven.capture(flow)
    assert driven.room.lines == ["2", "1"]  # by the server, and then here


async def test_a_stream_filter_is_shown_no_exchanges_and_an_http_filter_no_tunnels(
    load: Load,
) -> None:
    stream = load(STREAM)
    assert (await stream.request(a_flow()))[0] == abi.CONTINUE
    assert stream.driver.streams == {}
    assert load(HEADERS).driver.tunnel_filter(a_flow()) is None


@pytest.mark.parametrize("kind", ["stream", "background"])
async def test_the_manifest_says_what_a_module_with_every_callback_is(
    load: Load, kind: Any
) -> None:
    both = filter_of(on("request_headers", 3, "unreachable"), on("downstream_data", 3, CONTINUE))
    driven = load(both, proxy_wasm=ProxyWasmOptions(kind=kind))
    assert (await driven.request(a_flow()))[0] == abi.CONTINUE
    assert (driven.driver.tunnel_filter(a_flow()) is None) is (kind == "background")


async def test_a_filter_closes_a_tunnel(load: Load) -> None:
    closing = "(drop (call $close_stream (i32.const 2)))"
    driven = load(filter_of(on("downstream_data", 3, closing + PAUSE)))
    through = driven.driver.tunnel_filter(a_flow())
    assert through is not None
    with pytest.raises(RefusedByHook, match="plugin p"):
        await through(True, b"x", False)
