"""Bodies, messages and ticks through real plugins: who is asked, what goes on, what ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from proxy_core.errors import RefusedByHook
from proxy_core.exchange.hooks import AnsweredByHook, BodyFilter
from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import PluginState
from proxy_core.model.verdict import CONTINUE, Block, Hold, Verdict
from proxy_core.model.websocket import WebSocketMessage
from tests.plugin_host.guests import Host, guest, importing, make_flow, respond_with
from tests.waiting import until

GET = importing("host_get_body", 3)
SET = importing("host_set_body", 2)
DELAY = importing("host_delay", 1)
LOG = '(import "env" "host_log" (func $log (param i32 i32 i32)))'
KV_ADD = (
    '(import "env" "host_kv_add" (func $kv_add (param i32 i32 i64) (result i64)))'
    ' (data (i32.const 0) "ticks")'
)
WRITE = '(drop (call $set_body (i32.const 0) (i32.const 3))) (data (i32.const 0) "new")'


@pytest.fixture
def host(any_host: Host) -> Host:
    return any_host


def writing(text: str, hook: str, then: int = 0) -> bytes:
    """A module whose hook makes `text` the body."""
    body = f"(drop (call $set_body (i32.const 0) (i32.const {len(text)}))) i32.const {then}"
    return guest(body, hook, f'{SET} (data (i32.const 0) "{text}")')


def appending(text: str, hook: str) -> bytes:
    """A module whose hook puts `text` behind the body."""
    length = len(text)
    body = (
        "(local $n i32)"
        f"(local.set $n (call $get_body (i32.const 0) (i32.const {length}) (i32.const 1000)))"
        "(memory.copy (i32.add (i32.const "
        f"{length}) (local.get $n)) (i32.const 0) (i32.const {length}))"
        f"(drop (call $set_body (i32.const {length})"
        f" (i32.add (local.get $n) (i32.const {length})))) i32.const 0"
    )
    return guest(body, hook, f'{GET} {SET} (data (i32.const 0) "{text}")')


def asked(flow: Flow, hooks: Callable[[Flow], bool] | None) -> bool:
    return hooks is not None and hooks(flow)


# whole bodies


async def test_bodies_are_gathered_only_for_those_that_use_them(host: Host) -> None:
    await host.load("a", guest("i32.const 0"))
    assert (host.hooks.request_body, host.hooks.response_body) == (None, None)
    await host.load("b", writing("x", "on_response"))
    assert not asked(make_flow(), host.hooks.request_body)
    assert asked(make_flow(), host.hooks.response_body)


async def test_bodies_are_not_gathered_without_the_permission_or_in_quarantine(host: Host) -> None:
    module = writing("x", "on_request")
    await host.load("a", module, "[permissions]\naccess_bodies = false")
    assert host.hooks.request_body is None
    await host.load("b", guest("unreachable", imports=GET))
    assert asked(make_flow(), host.hooks.request_body)
    for _ in range(3):
        await host.request(make_flow())
    assert host.status("b").state is PluginState.QUARANTINED
    assert not asked(make_flow(), host.hooks.request_body)


async def test_each_plugin_reads_what_the_one_before_it_wrote(host: Host) -> None:
    await host.load("a", appending("+a", "on_request"))
    await host.load("b", appending("+b", "on_request"))
    flow = make_flow(method=b"POST")
    flow.whole = WholeBody(b"body")
    assert await host.request(flow) is CONTINUE
    assert flow.whole.data == b"body+a+b"
    assert [(change.by, change.body) for change in flow.changes] == [
        ("plugin a", b"body"),
        ("plugin b", b"body+a"),
    ]
    assert host.status("a").profile[0].bytes_changed == len("body+a")


async def test_a_body_is_as_it_was_after_a_hook_that_failed(host: Host) -> None:
    await host.load("a", writing("new", "on_request", then=-7))
    flow = make_flow(method=b"POST")
    flow.whole = WholeBody(b"body")
    await host.request(flow)
    assert flow.whole.data == b"body"
    assert flow.changes == ()


async def test_a_long_coded_body_is_decoded_while_the_loop_goes_on(host: Host) -> None:
    import gzip
    import random

    noise = random.Random(1).randbytes(200_000)
    body = (
        "(call $log (i32.const 1) (i32.const 0) (i32.const 0))"
        "(i32.ne (call $get_body (i32.const 0) (i32.const 0) (i32.const 10)) (i32.const 200000))"
    )
    await host.load("a", guest(body, "on_response", f"{GET} {LOG}"))
    flow = respond_with(make_flow(), 200, ((b"Content-Encoding", b"gzip"),))
    flow.whole = WholeBody(gzip.compress(noise))
    assert await host.response(flow) is CONTINUE


# filters


async def test_a_plugin_is_asked_only_about_flows_that_its_filter_lets_through(host: Host) -> None:
    await host.load("a", guest("i32.const 1"), 'filter = "~m POST"')
    assert await host.request(make_flow()) is CONTINUE
    assert await host.request(make_flow(method=b"POST")) == Block("plugin a", 403)
    assert host.status("a").calls == 1


async def test_a_filter_holds_for_bodies_and_pieces(host: Host) -> None:
    await host.load("a", writing("x", "on_request"), 'filter = "~m POST"')
    await host.load("b", writing("x", "on_request_chunk"), 'filter = "~m PUT"')
    get, post, put = (make_flow(method=method) for method in (b"GET", b"POST", b"PUT"))
    assert [asked(flow, host.hooks.request_body) for flow in (get, post, put)] == [0, 1, 0]
    stream = host.hooks.request_stream
    assert stream is not None
    assert [stream(flow) is not None for flow in (get, post, put)] == [False, False, True]


async def test_a_filter_on_bodies_asks_the_message_itself(host: Host) -> None:
    await host.load("a", guest("i32.const 1", "on_websocket_message"), 'filter = "~b secret"')
    assert await message(host, b"a secret") == Block("plugin a", 403)
    assert await message(host, b"nothing") is CONTINUE


async def test_connections_and_ticks_have_no_flow_to_filter(host: Host) -> None:
    await host.load("a", guest("i32.const 1", "on_connect"), 'filter = "~m POST"')
    assert await host.connect() == Block("plugin a", 403)


# pieces


def piece_filter(host: Host, flow: Flow, side: str = "request") -> BodyFilter:
    stream = host.hooks.request_stream if side == "request" else host.hooks.response_stream
    assert stream is not None
    found = stream(flow)
    assert found is not None
    return found


@pytest.mark.parametrize("side", ["request", "response"])
async def test_pieces_go_through_every_plugin_in_turn(host: Host, side: str) -> None:
    await host.load("b", appending("b", f"on_{side}_chunk"))
    await host.load("a", appending("a", f"on_{side}_chunk"))
    flow = respond_with(make_flow())
    through = piece_filter(host, flow, side)
    assert await through(b"1", False) == b"1ab"
    assert await through(b"2", False) == b"2ab"
    assert await through(b"", True) == b"ab"
    assert flow.edited_by == ("plugin a", "plugin b")
    assert [(change.by, change.in_pieces, change.of_response) for change in flow.changes] == [
        (name, True, side == "response") for name in flow.edited_by
    ]
    other = "response" if side == "request" else "request"
    stream = host.hooks.response_stream if other == "response" else host.hooks.request_stream
    assert stream is not None
    assert stream(flow) is None


async def test_a_piece_may_be_swallowed(host: Host) -> None:
    await host.load("a", writing("", "on_request_chunk"))
    assert await piece_filter(host, make_flow())(b"abc", False) == b""


async def test_a_plugin_ends_a_body_in_its_middle(host: Host) -> None:
    await host.load("a", guest("i32.const 1", "on_request_chunk"))
    with pytest.raises(RefusedByHook, match="blocked by plugin a") as refused:
        await piece_filter(host, make_flow())(b"abc", False)
    assert refused.value.status == 403


async def test_a_plugin_answers_a_request_in_the_middle_of_its_body(host: Host) -> None:
    respond = importing("host_respond", 5)
    body = (
        "(drop (call $respond (i32.const 413) (i32.const 0) (i32.const 0) (i32.const 0)"
        " (i32.const 0))) i32.const 3"
    )
    await host.load("a", guest(body, "on_request_chunk", respond))
    with pytest.raises(AnsweredByHook) as answered:
        await piece_filter(host, make_flow())(b"abc", False)
    assert answered.value.verdict.head.status == 413


@pytest.mark.parametrize("code", [2, 3, -1])
async def test_what_a_piece_hook_cannot_say_is_a_failure(host: Host, code: int) -> None:
    await host.load("a", writing("new", "on_response_chunk", then=code))
    flow = respond_with(make_flow())
    assert await piece_filter(host, flow, "response")(b"abc", False) == b"abc"
    (text,) = host.texts(LogLevel.ERROR)
    assert text.startswith("on_response_chunk ")
    assert flow.edited_by == ()


async def test_a_trap_leaves_the_piece_or_ends_the_flow_where_it_fails_closed(host: Host) -> None:
    await host.load("a", guest("unreachable", "on_request_chunk"))
    assert await piece_filter(host, make_flow())(b"abc", True) == b"abc"
    await host.manager.set_enabled("a", False)
    await host.load("b", guest("unreachable", "on_request_chunk"), 'on_failure = "closed"')
    for _ in range(4):  # in quarantine, too
        with pytest.raises(RefusedByHook, match="blocked by plugin b") as refused:
            await piece_filter(host, make_flow())(b"abc", True)
        assert refused.value.status == 502


# messages


async def message(
    host: Host, payload: bytes, opcode: int = 1, flow: Flow | None = None
) -> Verdict | bytes:
    """Show a message; what was decided, or the payload where it was changed."""
    shown = WebSocketMessage(True, opcode, 0.0, payload)
    hook = host.hooks.websocket_message
    assert hook is not None
    verdict = await hook(flow or respond_with(make_flow(), 101), shown)
    if shown.payload != payload:
        assert verdict is CONTINUE
        assert shown.by
        return shown.payload
    return verdict


async def test_messages_go_through_every_plugin_in_turn(host: Host) -> None:
    await host.load("a", appending("a", "on_websocket_message"))
    await host.load("b", appending("b", "on_websocket_message"))
    shown = WebSocketMessage(False, 2, 0.0, b"x")
    assert host.hooks.websocket_message is not None
    await host.hooks.websocket_message(respond_with(make_flow(), 101), shown)
    assert shown.payload == b"xab"
    assert shown.by == ("plugin a", "plugin b")


@pytest.mark.parametrize(("code", "verdict"), [(1, Block("plugin a")), (2, Hold("plugin a"))])
async def test_a_message_is_dropped_or_held(host: Host, code: int, verdict: Verdict) -> None:
    await host.load("a", guest(f"i32.const {code}", "on_websocket_message"))
    assert await message(host, b"x") == verdict


async def test_a_message_that_skips_the_rest_is_seen_by_one(host: Host) -> None:
    await host.load("a", guest("i32.const 4", "on_websocket_message"))
    await host.load("b", guest("i32.const 1", "on_websocket_message"))
    assert await message(host, b"x") is CONTINUE


async def test_a_message_passes_a_plugin_that_failed(host: Host) -> None:
    await host.load("a", guest("unreachable", "on_websocket_message"))
    assert await message(host, b"x") is CONTINUE
    await host.manager.set_enabled("a", False)
    await host.load("b", guest("unreachable", "on_websocket_message"), 'on_failure = "closed"')
    assert await message(host, b"x") == Block("plugin b", 502)


# rules


async def test_a_rule_that_fired_on_a_message_is_shown_with_it(host: Host) -> None:
    await host.load("a", appending("a", "on_rule_match"))
    await host.load("b", appending("b", "on_rule_match"), 'filter = "~b xa"')
    await host.load("c", appending("c", "on_rule_match"), 'filter = "~b none"')
    shown = WebSocketMessage(True, 2, 0.0, b"x")
    assert await host.rule_match(respond_with(make_flow(), 101), "r 1", shown) is CONTINUE
    assert shown.payload == b"xab"
    assert shown.by == ("plugin a", "plugin b")


@pytest.mark.parametrize(
    ("code", "verdict"), [(0, CONTINUE), (1, Block("plugin a")), (2, Hold("plugin a"))]
)
async def test_a_rule_that_fired_is_decided_about(host: Host, code: int, verdict: Verdict) -> None:
    await host.load("a", guest(f"i32.const {code}", "on_rule_match"))
    await host.load("b", guest("i32.const 0", "on_rule_match"))
    shown = WebSocketMessage(True, 1, 0.0, b"x")
    assert await host.rule_match(respond_with(make_flow(), 101), "r 1", shown) == verdict
    assert host.status("b").calls == (0 if code == 1 else 1)


async def test_a_rule_that_fired_loses_its_message_where_a_plugin_must_not_fail(
    host: Host,
) -> None:
    await host.load("a", guest("unreachable", "on_rule_match"))
    shown = WebSocketMessage(True, 1, 0.0, b"x")
    assert await host.rule_match(respond_with(make_flow(), 101), "r 1", shown) is CONTINUE
    await host.load("b", guest("unreachable", "on_rule_match"), 'on_failure = "closed"')
    verdict = await host.rule_match(respond_with(make_flow(), 101), "r 1", shown)
    assert verdict == Block("plugin b", 502)


# delays


async def test_a_flow_goes_on_later_and_the_instance_is_free_meanwhile(host: Host) -> None:
    await host.load("a", guest("(call $delay (i32.const 500))", imports=DELAY))
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        flows = [group.create_task(host.request(make_flow())) for _ in range(20)]
        await until(lambda: host.status("a").calls == 20)  # more than there may be instances
        assert not any(flow.done() for flow in flows)
    assert time.monotonic() - began > 0.4


async def test_a_delay_is_refused_beyond_a_minute_and_dropped_by_a_failure(host: Host) -> None:
    body = "(drop (call $delay (i32.const 60000))) (i32.add (call $delay (i32.const {})) {})"
    await host.load("a", guest(body.format(60001, "(i32.const 4)"), imports=DELAY))
    assert host.status("a").last_error is None
    began = time.monotonic()
    await host.manager.set_enabled("a", False)
    await host.load("b", guest(body.format(60001, "(i32.const -1)"), imports=DELAY))
    await host.request(make_flow())
    assert time.monotonic() - began < 30
    assert host.texts(LogLevel.ERROR) == ["on_request failed with -5; its edits are dropped"]


# ticks

TICK = guest(
    "(drop (call $kv_add (i32.const 0) (i32.const 5) (i64.const 1))) i32.const 0",
    "on_tick",
    KV_ADD,
)


def ticks(host: Host, name: str = "a") -> int:
    return host.status(name).calls


async def test_a_plugin_ticks_until_it_is_disabled(host: Host) -> None:
    await host.load("a", TICK, "tick_ms = 10")
    await until(lambda: ticks(host) > 3)
    await host.manager.set_enabled("a", False)
    before = ticks(host)
    await asyncio.sleep(0.1)
    assert ticks(host) == before
    await host.manager.set_enabled("a", True)
    await until(lambda: ticks(host) > before)


async def test_a_reload_ticks_at_its_own_pace(host: Host) -> None:
    await host.load("a", TICK, "tick_ms = 80000000")
    host.put("a", TICK, "tick_ms = 10")
    await host.manager.reload("a")
    await until(lambda: ticks(host) > 3)


async def test_a_tick_that_traps_puts_the_plugin_in_quarantine_and_ticks_again_behind_it(
    host: Host,
) -> None:
    await host.load("a", guest("unreachable", "on_tick"), "tick_ms = 10")
    await until(lambda: host.status("a").state is PluginState.QUARANTINED)
    assert host.status("a").traps == 3
    await until(lambda: host.status("a").traps == 4)


@pytest.mark.parametrize("code", [1, 2, 3, 4])
async def test_a_tick_decides_nothing(host: Host, code: int) -> None:
    await host.load("a", guest(f"i32.const {code}", "on_tick"), "tick_ms = 10")
    await until(lambda: ticks(host) > 3)
    assert host.texts(LogLevel.ERROR) == []


async def test_ticks_do_not_overlap_and_end_with_the_host(host: Host) -> None:
    spin = "(loop $l (br $l)) i32.const 0"
    manifest = "tick_ms = 10\n[limits]\nfuel = 1_000_000_000_000\ndeadline_ms = 600000"
    await host.load("a", guest(spin, "on_tick"), manifest)
    await asyncio.sleep(0.1)
    assert host.status("a").instances == 1
    await host.manager.stop()
