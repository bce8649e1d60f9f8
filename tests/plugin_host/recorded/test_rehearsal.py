"""Two versions over the same flows: what counts as a difference, and what is left untouched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.model.ids import FlowId
from proxy_core.model.message import Body
from proxy_core.model.plugin_status import Comparison
from proxy_core.model.websocket import WebSocketLog, WebSocketMessage
from proxy_core.plugin_host import PluginManager
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import GuestTrapped
from proxy_core.plugin_host.files.discovery import Source
from proxy_core.plugin_host.files.manifest import GuestLimits, parse
from proxy_core.plugin_host.generation import Blueprint, Generation
from proxy_core.plugin_host.guest import Engine
from proxy_core.plugin_host.logs import LogRing, PluginLog, StartLog
from proxy_core.plugin_host.plugin import Plugin
from proxy_core.plugin_host.recorded import rehearsal
from proxy_core.plugin_host.recorded.rehearsal import LOOKED_AT, MOST_FLOWS, compare
from proxy_core.plugin_host.recorded.rerun import Rerun
from proxy_core.plugin_host.runtime import open_engine
from proxy_core.plugin_host.runtime.official import OfficialEngine
from tests.plugin_host.foreign.http_wasm.modules import at, handler, text
from tests.plugin_host.guests import Host, Newcomers, guest, importing, living, past_flow
from tests.waiting import until

PASS = guest("i32.const 0")
DATA = '(data (i32.const 0) "x-new") (data (i32.const 8) "1")'
SET = importing("host_set_header", 4)

DELAY = importing("host_delay", 1)
BODY = importing("host_set_body", 2) + DATA
WRITE = "(drop (call $set_body (i32.const 0) (i32.const 5))) i32.const 0"


def setting(hook: str = "on_request", condition: str = "(i32.const 1)") -> bytes:
    """A module that sets a header where a condition holds."""
    header = "(i32.const 0) (i32.const 5) (i32.const 8) (i32.const 1)"
    body = f"(if {condition} (then (drop (call $set_header {header})))) i32.const 0"
    return guest(body, hook, f"{SET} {DATA}")


class Stage:
    """What is needed to compare two modules."""

    def __init__(self, engine: Engine, workers: ThreadPoolExecutor) -> None:
        self._engine = engine
        self._workers = workers
        self.log = LogRing(100)
        self.plugin = Plugin("a", Source(Path("a.wasm")), PluginLog("a", self.log, 100))
        self.flows = [past_flow(number) for number in range(1, 4)]
        for flow in self.flows:
            flow.request_body = Body(100)
            flow.request_body.feed(b"the question")

        self.limits = GuestLimits(deadline_ms=2000)

    def draw(self, module: bytes, wanted: str = "") -> Blueprint:
        manifest = parse(f'name = "a"\nwasm = "a.wasm"\nfilter = "{wanted}"\n')
        manifest = replace(manifest, limits=self.limits)
        return Blueprint.draw(self._engine, manifest, module, self.plugin.belongings)

    async def compare(self, old: bytes, new: bytes, wanted: str = "") -> Comparison | None:
        """Compare two modules over `flows`, the old one being at work as generation 7."""
        blueprint = self.draw(old, wanted)
        guest = await asyncio.to_thread(blueprint.build, StartLog(100))
        at_work = Generation(7, blueprint, guest, self.plugin.log, self._workers)
        self.plugin.generation = at_work
        try:
            new_blueprint = self.draw(new, wanted)
            return await compare(self.plugin, at_work, new_blueprint, self.flows, self._workers)
        finally:
            at_work.close()

    async def differing(self, old: bytes, new: bytes) -> list[int]:
        compared = await self.compare(old, new)
        assert compared is not None
        assert (compared.generation, compared.flows) == (7, len(self.flows))
        return list(compared.differing)


@pytest.fixture(params=["best", "threads"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    engine = open_engine()[0] if request.param == "best" else OfficialEngine()
    with ThreadPoolExecutor(2) as workers:
        yield Stage(engine, workers)
    engine.close()


# What is a difference.


@pytest.mark.parametrize(
    "new",
    [
        setting(),
        setting("on_response"),
        guest("i32.const 1"),
        guest("i32.const 1", "on_response"),
        guest("i32.const 1", "on_connect"),
        guest("i32.const 2"),
        guest("unreachable"),
        guest("unreachable", "on_capture"),
        guest(
            "(drop (call $respond (i32.const 204) (i32.const 0) (i32.const 0) (i32.const 0) "
            "(i32.const 0))) i32.const 3",
            imports=importing("host_respond", 5),
        ),
        guest("(drop (call $delay (i32.const 50000))) i32.const 0", imports=DELAY),
        guest(WRITE, imports=BODY),
        guest(WRITE, "on_response", BODY),
        guest(WRITE, "on_request_chunk", BODY),
        guest(WRITE, "on_response_chunk", BODY),
        guest(WRITE, "on_capture", BODY),
        guest(
            "(drop (call $annotate (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 3))) "
            "i32.const 0",
            "on_capture",
            importing("host_annotate", 4) + '(data (i32.const 0) "tag")',
        ),
    ],
    ids=[
        *("request", "response", "block", "block_response", "refuse", "hold", "trap"),
        *("trap_later", "respond", "delay", "request_body", "response_body", "request_chunk"),
        *("response_chunk", "copy", "annotate"),
    ],
)
async def test_another_edit_verdict_or_failure_is_a_difference(stage: Stage, new: bytes) -> None:
    assert await stage.differing(PASS, new) == [1, 2, 3]
    assert await stage.differing(new, PASS) == [1, 2, 3]
    assert await stage.differing(new, new) == []


async def test_log_lines_and_costs_are_no_difference(stage: Stage) -> None:
    log = "(drop (call $log (i32.const 1) (i32.const 0) (i32.const 0)))"
    other = guest(f"{log} i32.const 0", imports=importing("host_log", 3))
    assert await stage.differing(PASS, other) == []


@pytest.mark.parametrize(
    "hook",
    [
        "on_request",
        "on_response",
        "on_connect",
        "on_capture",
        "on_request_chunk",
        "on_response_chunk",
        "on_websocket_message",
    ],
)
async def test_a_hook_that_does_nothing_is_no_difference(stage: Stage, hook: str) -> None:
    for flow in stage.flows:
        flow.web_socket = WebSocketLog(1000)
        flow.web_socket.add(WebSocketMessage(True, 1, 0.0, b"hello", 5))
    nothing = guest("i32.const 0", hook)
    reads = guest(
        "(drop (call $get_body (i32.const 0) (i32.const 0) (i32.const 0))) i32.const 0",
        *(hook, importing("host_get_body", 3)),
    )
    assert await stage.differing(PASS, nothing) == []
    assert await stage.differing(nothing, reads) == []
    assert await stage.differing(reads, PASS) == []


async def test_only_the_flows_on_which_they_differ_count(stage: Stage) -> None:
    # The url is `http://example.com/N`.
    read = "(drop (call $get_field (i32.const 1) (i32.const 16) (i32.const 64)))"
    fits = f"(block (result i32) {read} (i32.eq (i32.load8_u (i32.const 35)) (i32.const 50)))"
    field = importing("host_get_field", 3)
    body = (
        f"(if {fits} (then (drop (call $set_header "
        "(i32.const 0) (i32.const 5) (i32.const 8) (i32.const 1))))) i32.const 0"
    )
    new = guest(body, imports=f"{SET} {field} {DATA}")
    assert await stage.differing(PASS, new) == [2]


async def test_clock_and_chance_are_the_same_for_both(stage: Stage) -> None:
    """A guest that blocks by the parity of a random byte and of the clock."""
    number = "(drop (call $random (i32.const 0) (i32.const 1)))"
    odd = "(i32.and (i32.load8_u (i32.const 0)) (i32.const 1))"
    clock = "(i32.wrap_i64 (i64.and (call $now_ns) (i64.const 1)))"
    module = guest(
        f"{number} (i32.xor {odd} {clock})",
        imports=importing("host_random", 2) + importing("host_now_ns", 0, "i64"),
    )
    stage.flows = [past_flow(number) for number in range(1, 21)]
    assert await stage.differing(module, module) == []


async def test_what_took_too_long_is_a_difference(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Rerun.run

    async def wait_forever_once(self: Rerun) -> None:
        monkeypatch.setattr(Rerun, "run", run)
        await asyncio.Event().wait()

    monkeypatch.setattr(Rerun, "run", wait_forever_once)
    assert await stage.differing(PASS, PASS) == [1]


async def test_guests_that_never_return_are_given_up(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "SECONDS", 0.1)
    monkeypatch.setattr(rehearsal, "DEADLINE_MS", 300)
    stage.limits = GuestLimits(fuel=10**12)
    spin = guest("(loop (br 0)) i32.const 0")
    assert await stage.compare(spin, spin) == Comparison(7, 1)


async def test_what_is_not_come_to_in_time_is_left_out(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "SECONDS", -1.0)
    assert await stage.compare(PASS, guest("i32.const 1")) == Comparison(7, 0)


# Which flows.


async def test_the_newest_flows_that_are_over_are_taken(stage: Stage) -> None:
    stage.flows = [past_flow(number) for number in range(1, MOST_FLOWS + 6)]
    stage.flows[-1].state = FlowState.ACTIVE
    stage.flows[-2].kind = FlowKind.TUNNEL
    stage.flows[-3].state = FlowState.FAILED
    compared = await stage.compare(PASS, guest("i32.const 1"))
    assert compared == Comparison(7, MOST_FLOWS, tuple(map(FlowId, range(4, MOST_FLOWS + 4))))


async def test_flows_that_the_filter_keeps_away_are_not_taken(stage: Stage) -> None:
    compared = await stage.compare(PASS, guest("i32.const 1"), "~u /[13]$")
    assert compared == Comparison(7, 2, (FlowId(1), FlowId(3)))


async def test_flows_without_a_body_are_not_for_chunk_hooks(stage: Stage) -> None:
    stage.flows[0].request_body = Body(100)
    old, new = guest("i32.const 0", "on_request_chunk"), guest("i32.const 1", "on_request_chunk")
    assert await stage.compare(old, new) == Comparison(7, 2, (FlowId(2), FlowId(3)))


async def test_messages_of_web_sockets_are_shown_but_for_those_that_nobody_sent(
    stage: Stage,
) -> None:
    old, new = (guest(f"i32.const {code}", "on_websocket_message") for code in (0, 1))
    assert await stage.compare(old, new) is None
    logs = [WebSocketLog(1000) for _ in stage.flows]
    for flow, log in zip(stage.flows, logs, strict=True):
        flow.kind, flow.web_socket = FlowKind.WEBSOCKET, log
    first, second, third = logs
    first.add(WebSocketMessage(True, 1, 0.0, b"hello", 5))
    second.add(WebSocketMessage(False, 2, 0.0, b"not sent", 8, injected=True))
    second.add(WebSocketMessage(False, 9, 0.0, b"ping", 4))
    assert await stage.compare(old, new) == Comparison(7, 3, (FlowId(1),))
    edit = guest(WRITE, "on_websocket_message", BODY)
    third.add(WebSocketMessage(False, 2, 0.0, b"bytes", 5))
    assert await stage.compare(old, edit) == Comparison(7, 3, (FlowId(1), FlowId(3)))


async def test_what_never_ends_is_not_shown_whole(stage: Stage) -> None:
    stage.flows = [past_flow(1, fields=[(b"Content-Type", b"text/event-stream")])]
    length = "(call $get_body (i32.const 0) (i32.const 16) (i32.const 16))"
    new = guest(f"(i32.gt_s {length} (i32.const 0))", "on_response", importing("host_get_body", 3))
    assert await stage.differing(PASS, new) == []
    stage.flows.append(past_flow(2))
    assert await stage.differing(PASS, new) == [2]


async def test_flows_without_an_origins_answer_are_not_for_response_hooks(stage: Stage) -> None:
    stage.flows[0].response = None
    stage.flows[1].server = None
    old, new = guest("i32.const 0", "on_response"), guest("i32.const 1", "on_response")
    assert await stage.compare(old, new) == Comparison(7, 1, (stage.flows[2].id,))


async def test_where_no_flow_is_nothing_is_compared(stage: Stage) -> None:
    stage.flows = []
    assert await stage.compare(PASS, PASS) is None
    for flow in (past_flow(number) for number in range(1, LOOKED_AT + 2)):
        flow.kind = FlowKind.TUNNEL
        stage.flows.append(flow)
    stage.flows[0].kind = FlowKind.HTTP  # too long ago to be looked for
    assert await stage.compare(PASS, PASS) is None


# What they see, and what is left as it is.


async def test_they_see_messages_as_they_came(stage: Stage) -> None:
    flow = stage.flows[0]
    flow.request_received = flow.request
    headers = flow.request.headers.copy()
    headers.add(b"x-new", b"1")
    flow.request = flow.request.replace(headers=headers)
    del stage.flows[1:]
    # It sets what is on the way to the origin already, but was not on the way here.
    assert await stage.differing(PASS, setting()) == [1]


async def test_flows_figures_log_and_state_stay_as_they_are(stage: Stage) -> None:
    add = (
        "(drop (call $add (i32.const 0) (i32.const 1) (i64.const 1))) "
        "(drop (call $metric (i32.const 0) (i32.const 1) (i64.const 1))) "
        "(drop (call $log (i32.const 3) (i32.const 0) (i32.const 1))) i32.const 0"
    )
    imports = (
        '(import "env" "host_kv_add" (func $add (param i32 i32 i64) (result i64)))'
        '(import "env" "host_metric_add" (func $metric (param i32 i32 i64) (result i32)))'
        + importing("host_log", 3)
    )
    belongings = stage.plugin.belongings
    belongings.state.set(b"k", b"v", 1000)
    flow = stage.flows[0]
    before = {name: getattr(flow, name) for name in Flow.__slots__}
    weight = flow.weight
    assert await stage.differing(guest(add, imports=imports), setting()) == [1, 2, 3]
    assert {name: getattr(flow, name) for name in Flow.__slots__} == before
    assert flow.weight == weight
    assert flow.request._headers is None
    assert belongings.state.take() == {b"k": b"v"}
    assert belongings.metrics.snapshot() == ()
    assert belongings.profile.records[Hook.REQUEST.index].calls == 0
    assert len(stage.log) == 0


async def test_state_is_copied_for_both(stage: Stage) -> None:
    """A guest that blocks once it has counted beyond what is kept, and one that never counts."""
    count = "(i32.wrap_i64 (call $add (i32.const 0) (i32.const 1) (i64.const 1)))"
    imports = '(import "env" "host_kv_add" (func $add (param i32 i32 i64) (result i64)))'
    counting = guest(f"(i32.gt_s {count} (i32.const 2))", imports=imports)
    assert await stage.differing(PASS, counting) == [3]
    belongings = stage.plugin.belongings
    belongings.state.add(b"\0", 1, 1000)
    assert await stage.differing(PASS, counting) == [2, 3]


async def test_a_version_that_does_not_start_leaves_nothing_behind(stage: Stage) -> None:
    trap = '(func (export "plugin_init") (result i32) unreachable)'
    made = Newcomers("RawGuest", "OfficialGuest", "Generation")
    with pytest.raises(GuestTrapped):
        await stage.compare(PASS, guest("i32.const 0", imports=trap))
    stage.plugin.generation = None
    await until(lambda: made.count() == 0)


async def test_a_guest_that_spins_leaves_the_loop_to_others(stage: Stage) -> None:
    spin = guest("(loop (br 0)) i32.const 0")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.get_running_loop().create_task(count())
    assert await stage.differing(spin, spin) == []
    counting.cancel()
    assert turns > 20


@pytest.mark.parametrize("body", [b"some", b""], ids=["body", "empty"])
async def test_handlers_of_other_abis_are_compared_too(stage: Stage, body: bytes) -> None:
    """An http-wasm handler that writes a body where it buffers one, and one that does nothing."""
    same = handler()
    write = (
        "(drop (call $enable_features (i32.const 2)))",
        f"(call $write_body (i32.const 1) {at('other')})",
    )
    other = handler(
        *("enable_features", "write_body"), request=write[0], response=write[1], more=text("other")
    )
    flow = stage.flows[0]
    flow.response_body = Body(100)
    flow.response_body.feed(body)
    del stage.flows[1:]
    assert await stage.differing(same, same) == []
    assert await stage.differing(same, other) == [1]


async def test_a_hundred_versions_leave_nothing_behind(host: Host) -> None:
    flows = [past_flow(number) for number in range(1, 6)]
    host.manager = PluginManager(
        [host.directory], host.hooks, host.bus, 1000, recent_flows=lambda: flows
    )
    await host.load("a", PASS)
    names = ("Generation", "RawGuest", "OfficialGuest", "OfflinePlugin", "Rerun")
    for number in range(100):
        host.put("a", setting() if number % 2 else PASS)
        assert (
            "5 of 5 recent flows differ" in (await host.manager.reload("a")).message or not number
        )
    await until(lambda: living(*names) <= 2)
