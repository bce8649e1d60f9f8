"""Hooks through real plugins: order, verdicts, edits as transactions."""

from __future__ import annotations

import asyncio

import pytest

from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import PluginState
from proxy_core.model.verdict import CONTINUE, Block, Hold, Respond
from proxy_core.plugin_host.belongings.health import Health
from proxy_core.plugin_host.hook.draft import RequestDraft
from tests.plugin_host.guests import (
    LOG,
    MEMORY,
    Host,
    guest,
    importing,
    make_flow,
    respond_with,
    wasm,
)
from tests.waiting import until

ADD = importing("host_add_header", 4)
HOOKS = ["on_request", "on_response", "on_connect", "on_capture", "on_rule_match"]


def adding(name: str, value: str, then: str = "i32.const 0", hook: str = "on_request") -> bytes:
    """A module whose hook adds one header and then does `then`."""
    return guest(
        f"(drop (call $add_header (i32.const 0) (i32.const {len(name)})"
        f" (i32.const 100) (i32.const {len(value)}))) {then}",
        hook,
        f'{ADD} (data (i32.const 0) "{name}") (data (i32.const 100) "{value}")',
    )


def everywhere(body: str) -> bytes:
    """A module that does the same in all five hooks."""
    functions = "".join(f'(func (export "{hook}") (result i32) {body})' for hook in HOOKS)
    return wasm(f"(module {LOG} {MEMORY} {functions})")


@pytest.fixture
def host(any_host: Host) -> Host:
    return any_host


async def test_hooks_that_nobody_wants_are_none(host: Host) -> None:
    await host.load("a", guest("i32.const 0", "on_request"))
    hooks = host.hooks
    assert hooks.request is not None
    assert (hooks.response, hooks.connect, hooks.capture, hooks.rule_match) == (None,) * 4


async def test_a_plugin_that_agrees_changes_nothing(host: Host) -> None:
    await host.load("a", everywhere("i32.const 0"))
    flow = make_flow()
    request = flow.request
    assert await host.connect() is CONTINUE
    assert await host.request(flow) is CONTINUE
    assert await host.rule_match(flow) is CONTINUE
    respond_with(flow)
    assert await host.response(flow) is CONTINUE
    await host.capture(flow)
    assert flow.request is request
    assert flow.edited_by == ()
    assert host.status("a").calls == 5


async def test_plugins_run_by_priority_then_name_and_see_each_others_edits(host: Host) -> None:
    await host.load("zeta", adding("X", "zeta"), "priority = 1")
    await host.load("beta", adding("X", "beta"))
    await host.load("alpha", adding("X", "alpha"))
    await host.load("last", adding("X", "last"), "priority = 500")
    flow = make_flow(())
    first = flow.request
    await host.request(flow)
    assert flow.request.headers.get_all(b"x") == [b"zeta", b"alpha", b"beta", b"last"]
    assert flow.edited_by == ("plugin zeta", "plugin alpha", "plugin beta", "plugin last")
    assert flow.request_received is first
    assert [status.name for status in host.manager.statuses()] == ["zeta", "alpha", "beta", "last"]


async def test_responses_are_edited_in_their_turn(host: Host) -> None:
    await host.load("a", adding("X", "1", hook="on_response"))
    flow = respond_with(make_flow())
    first, request = flow.response, flow.request
    await host.response(flow)
    assert flow.response is not None
    assert flow.response.headers.get(b"x") == b"1"
    assert flow.response_received is first
    assert flow.request is request


async def test_block_ends_the_round_and_keeps_its_edits(host: Host) -> None:
    await host.load("a", adding("X", "1", "i32.const 1"), "priority = 1")
    await host.load("b", adding("X", "2"))
    flow = make_flow(())
    assert await host.request(flow) == Block("plugin a", 403)
    assert flow.request.headers.get_all(b"x") == [b"1"]


async def test_hold_is_remembered_while_the_round_goes_on(host: Host) -> None:
    await host.load("a", guest("i32.const 2"))
    await host.load("b", adding("X", "1", "i32.const 2"))
    flow = make_flow(())
    assert await host.request(flow) == Hold("plugin a")
    assert flow.request.headers.get(b"x") == b"1"


async def test_block_outweighs_hold(host: Host) -> None:
    await host.load("a", guest("i32.const 2"))
    await host.load("b", guest("i32.const 1"))
    assert await host.request(make_flow()) == Block("plugin b", 403)


async def test_respond_answers_with_what_was_built(host: Host) -> None:
    await host.load(
        "a",
        guest(
            "(drop (call $respond (i32.const 451) (i32.const 0) (i32.const 0)"
            " (i32.const 0) (i32.const 4))) i32.const 3",
            imports=importing("host_respond", 5) + '(data (i32.const 0) "gone")',
        ),
    )
    verdict = await host.request(make_flow())
    assert isinstance(verdict, Respond)
    assert verdict.by == "plugin a"
    assert verdict.head.status == 451
    assert verdict.head.headers.get(b"content-length") == b"4"
    assert verdict.body == b"gone"


async def test_all_but_the_plugin_that_answered_see_its_answer(host: Host) -> None:
    for name in ("a", "b", "c"):
        await host.load(name, adding(name, "1", hook="on_response"))
    flow = respond_with(make_flow(()))
    flow.answered_by = "plugin b"
    assert await host.response(flow) is CONTINUE
    assert flow.response is not None
    assert [name for name, _ in flow.response.headers] == [b"a", b"c"]


async def test_skip_rest_ends_the_round_with_its_edits(host: Host) -> None:
    await host.load("a", adding("X", "1", "i32.const 4"))
    await host.load("b", adding("X", "2"))
    flow = make_flow(())
    assert await host.request(flow) is CONTINUE
    assert flow.request.headers.get_all(b"x") == [b"1"]


async def test_skip_rest_keeps_an_earlier_hold(host: Host) -> None:
    await host.load("a", guest("i32.const 2"))
    await host.load("b", guest("i32.const 4"))
    await host.load("c", guest("i32.const 1"))
    assert await host.request(make_flow()) == Hold("plugin a")


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ("i32.const -7", "on_request failed with -7"),
        ("i32.const 5", "on_request returned 5, which means nothing"),
        ("i32.const 3", "on_request returned 3 (respond) without host_respond"),
        ("unreachable", "on_request trapped"),
        ("(loop (br 0)) i32.const 0", "on_request used up its fuel"),
    ],
)
async def test_edits_of_a_call_that_fails_are_dropped(host: Host, then: str, why: str) -> None:
    await host.load("a", adding("X", "1", then))
    await host.load("b", adding("Y", "2"))
    flow = make_flow(())
    assert await host.request(flow) is CONTINUE
    assert flow.request.headers.fields == [(b"Y", b"2")]
    assert flow.edited_by == ("plugin b",)
    (line,) = [line for line in host.manager.logs.snapshot("a") if line.level is LogLevel.ERROR]
    assert line.text.startswith(why)
    assert line.flow_id == flow.id
    assert host.status("a").last_error == line.text


async def test_a_plugin_that_fails_closed_turns_the_flow_into_502(host: Host) -> None:
    await host.load("a", guest("i32.const -1"), 'on_failure = "closed"')
    assert await host.request(make_flow()) == Block("plugin a", 502)


async def test_a_trap_loses_the_instance_and_its_globals_but_not_the_next_call(host: Host) -> None:
    count = "(global.set $n (i32.add (global.get $n) (i32.const 1)))"
    body = f"{count} (if (i32.eq (global.get $n) (i32.const 3)) (then unreachable))"
    log = (
        "(i32.store8 (i32.const 0) (i32.add (i32.const 48) (global.get $n)))"
        "(call $log (i32.const 1) (i32.const 0) (i32.const 1))"
    )
    await host.load(
        "a",
        guest(f"{body} {log} i32.const 0", imports=f"{LOG} (global $n (mut i32) (i32.const 0))"),
    )
    for _ in range(4):
        assert await host.request(make_flow()) is CONTINUE
    assert host.texts(LogLevel.INFO) == ["1", "2", "1"]
    assert host.texts(LogLevel.WARN) == ["its instance was thrown away, and its memory with it"]
    status = host.status("a")
    assert (status.calls, status.traps, status.state) == (4, 1, PluginState.FAILING)


async def test_repeated_traps_bring_quarantine(host: Host) -> None:
    await host.load("a", guest("unreachable"))
    for _ in range(5):
        assert await host.request(make_flow()) is CONTINUE
    status = host.status("a")
    assert (status.calls, status.traps, status.state) == (3, 3, PluginState.QUARANTINED)
    assert "in quarantine for 1 s after repeated traps" in host.texts(LogLevel.ERROR)


async def test_calls_in_the_queue_are_turned_away_by_quarantine(host: Host) -> None:
    await host.load("a", guest("unreachable"), "single_instance = true")
    verdicts = await asyncio.gather(*(host.request(make_flow()) for _ in range(50)))
    assert verdicts == [CONTINUE] * 50
    assert host.status("a").traps == 3
    quarantines = [text for text in host.texts(LogLevel.ERROR) if "in quarantine" in text]
    assert quarantines == ["in quarantine for 1 s after repeated traps"]


async def test_every_step_out_of_quarantine_is_told(host: Host) -> None:
    trap_three_times = (
        "(i32.store (i32.const 0) (i32.wrap_i64 (call $kv_add (i32.const 4) (i32.const 1)"
        " (i64.const 1)))) (if (i32.le_u (i32.load (i32.const 0)) (i32.const 3))"
        " (then unreachable)) i32.const 0"
    )
    imports = '(import "env" "host_kv_add" (func $kv_add (param i32 i32 i64) (result i64)))'
    await host.load("a", guest(trap_three_times, imports=imports))
    (plugin,) = host.manager._plugins.values()
    now = 1000.0
    plugin.standing.health = Health(lambda: now)
    for later in (0, 0, 0, 0.5, 1.1, 61):
        now += later
        await host.request(make_flow())
    assert host.status("a").calls == 5
    assert host.texts(LogLevel.INFO) == [
        "its quarantine is over, and it is called again",
        "no trap for a minute; those before are forgotten",
    ]
    assert host.status("a").state is PluginState.READY


async def test_in_quarantine_a_plugin_that_fails_closed_still_blocks(host: Host) -> None:
    await host.load("a", guest("unreachable"), 'on_failure = "closed"')
    for _ in range(5):
        assert await host.request(make_flow()) == Block("plugin a", 502)
    assert host.status("a").calls == 3


async def test_a_plugin_that_recovers_is_told_of(host: Host) -> None:
    await host.load("a", guest("i32.const 0"))
    news = host.bus.plugins.subscribe(10)
    (plugin,) = host.manager._plugins.values()
    plugin.standing.health._clock = lambda: clock
    clock = 0.0
    plugin._trapped(next(iter(plugin.hooks)), Exception("trapped"), None, plugin.generation)
    await host.request(make_flow())
    clock = 61.0
    await host.request(make_flow())
    await host.request(make_flow())
    assert [status.state for status in news.drain()] == [PluginState.FAILING, PluginState.READY]


async def test_connections_are_blocked_but_not_held(host: Host) -> None:
    await host.load("a", guest("i32.const 2", "on_connect"))
    await host.load("b", guest("i32.const 1", "on_connect"))
    assert await host.connect(b"example.com:443") == Block("plugin b", 403)
    assert host.texts(LogLevel.ERROR) == [
        "on_connect returned 2 (hold), but only a flow and a message can be held; its edits are "
        "dropped"
    ]


@pytest.mark.parametrize("code", [1, 2, 3])
async def test_a_captured_flow_is_past_deciding(host: Host, code: int) -> None:
    await host.load("a", guest(f"i32.const {code}", "on_capture"))
    await host.load("b", guest("i32.const 0", "on_capture"))
    await host.capture(respond_with(make_flow()))
    assert host.status("b").calls == 1
    assert host.texts() == []


async def test_a_rule_that_matched_may_block_and_edit_what_is_at_hand(host: Host) -> None:
    await host.load("a", adding("X", "1", "i32.const 1", "on_rule_match"))
    flow = make_flow(())
    assert await host.rule_match(flow, "rule-9") == Block("plugin a", 403)
    assert flow.request.headers.get(b"x") == b"1"
    respond_with(flow)
    await host.rule_match(flow)
    assert flow.response is not None
    assert flow.response.headers.get(b"x") == b"1"


async def test_log_lines_name_their_flow(host: Host) -> None:
    body = "(call $log (i32.const 2) (i32.const 0) (i32.const 2)) i32.const 0"
    await host.load("a", guest(body, imports=f'{LOG} (data (i32.const 0) "hi")'))
    lines = host.bus.logs.subscribe(10)
    flow = make_flow()
    await host.request(flow)
    (line,) = lines.drain()
    assert (line.plugin, line.level, line.flow_id, line.text) == ("a", LogLevel.WARN, 17, "hi")


@pytest.mark.parametrize("manifest", ["", "single_instance = true"])
async def test_an_instance_is_entered_by_one_call_at_a_time(host: Host, manifest: str) -> None:
    # 100,000 turns of the loop are several slices: the calls would overlap if they could.
    body = (
        "(local $n i32) (global.set $inside (i32.add (global.get $inside) (i32.const 1)))"
        "(if (i32.ne (global.get $inside) (i32.const 1)) (then unreachable))"
        "(local.set $n (i32.const 100000))"
        "(loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
        "(global.set $inside (i32.sub (global.get $inside) (i32.const 1))) i32.const 0"
    )
    module = guest(body, imports="(global $inside (mut i32) (i32.const 0))")
    await host.load("a", module, manifest)
    verdicts = await asyncio.gather(*(host.request(make_flow()) for _ in range(20)))
    assert verdicts == [CONTINUE] * 20
    status = host.status("a")
    assert (status.calls, status.traps) == (20, 0)


async def test_waiting_for_a_busy_instance_ends_with_the_deadline(host: Host) -> None:
    limits = "single_instance = true\n[limits]\nfuel = 100_000_000_000\ndeadline_ms = 50"
    await host.load("a", guest("(loop (br 0)) i32.const 0"), limits)
    await asyncio.gather(*(host.request(make_flow()) for _ in range(3)))
    assert sum("did not return within 50 ms" in text for text in host.texts()) >= 1
    assert sum("was busy with other calls for 50 ms" in text for text in host.texts()) >= 1
    assert host.status("a").state is not PluginState.QUARANTINED


async def test_a_cancelled_call_frees_the_instance_for_the_next(host: Host) -> None:
    limits = "single_instance = true\n[limits]\nfuel = 100_000_000_000"
    spin_once = (
        "(if (i32.eqz (i32.load (i32.const 0))) (then"
        " (i32.store (i32.const 0) (i32.const 1)) (loop (br 0)))) i32.const 0"
    )
    await host.load("a", guest(spin_once), limits)
    async with asyncio.TaskGroup() as group:
        flows = [group.create_task(_request(host)) for _ in range(3)]
        for _ in range(3):
            await asyncio.sleep(0)
        flows[1].cancel()  # waits in the queue
        await asyncio.sleep(0)
        flows[0].cancel()  # runs
        for _ in range(3):
            await asyncio.sleep(0)
        flows[2].cancel()  # has a fresh instance made, or runs in it
    assert [flow.cancelled() for flow in flows] == [True] * 3
    generation = next(iter(host.manager._plugins.values())).generation
    assert generation is not None
    await until(lambda: not generation._building)
    assert generation.count == len(generation.idle)


async def _request(host: Host) -> None:
    await host.request(make_flow())


async def test_a_fault_of_ours_is_told_and_harms_no_flow(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    await host.load("a", adding("X", "1"))
    monkeypatch.setattr(RequestDraft, "add_header", lambda *_: [][0])
    assert await host.request(make_flow()) is CONTINUE
    assert any("met an internal error: IndexError" in text for text in host.texts())
