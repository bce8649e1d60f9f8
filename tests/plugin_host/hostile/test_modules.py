"""Each module of the hostile set: the flow goes on unharmed, and the log says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy_core.errors import RefusedByHook
from proxy_core.model.flow import Flow
from proxy_core.model.log_line import LogLevel
from proxy_core.model.verdict import CONTINUE, Block, Verdict
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.plugin_host import codes
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.functions.host_functions import HOST_FUNCTIONS
from tests.plugin_host.guests import LOG, MEMORY, Host, Newcomers, guest, make_flow, wasm
from tests.plugin_host.hostile.host_calls import ODD_SHAPES
from tests.plugin_host.hostile.hostile import (
    ENDLESS_FUEL,
    SPIN,
    Hostile,
    assert_unharmed,
    attacked,
    beside,
)
from tests.plugin_host.hostile.modules import (
    ABORT,
    ADD_HEADER,
    AT_THE_DOOR,
    HOOK,
    IN_A_HOOK,
    SIZE,
)
from tests.waiting import until


def on_the_loop(hostile: Hostile) -> Hostile:
    return hostile


TRAPS = {
    "unreachable": "unreachable",
    "out of bounds": "(i32.load (i32.const -4))",
    "no fuel": "(loop (br 0)) i32.const 0",
    "no stack": "(call $f)",
    "failure": "i32.const -5",
}


def test_the_set_is_large_enough() -> None:
    assert len(AT_THE_DOOR) + len(IN_A_HOOK) >= 150


@pytest.mark.parametrize("name", AT_THE_DOOR)
async def test_hostile_modules_are_refused_at_the_door(host: Host, name: str) -> None:
    hostile = AT_THE_DOOR[name]
    await host.load("good", guest("i32.const 0"))
    assert hostile.why in await host.refusal(hostile.module, hostile.manifest)
    (line,) = [line for line in host.manager.logs.snapshot("refused") if line.level == 3]
    assert hostile.why in line.text
    assert await host.request(make_flow()) is CONTINUE


@pytest.mark.parametrize("place", [on_the_loop, beside])
@pytest.mark.parametrize("name", IN_A_HOOK)
async def test_hostile_hooks_do_not_harm_the_flow(
    host: Host, name: str, place: Callable[[Hostile], Hostile]
) -> None:
    hostile = place(IN_A_HOOK[name])
    await host.load("good", guest("i32.const 0"))
    await host.load("hostile", hostile.module, hostile.manifest)
    flow = attacked()
    assert await host.request(flow) is CONTINUE
    assert_unharmed(flow)
    errors = [line for line in host.manager.logs.snapshot("hostile") if line.level == 3]
    assert len(errors) == 1
    assert hostile.why in errors[0].text
    assert errors[0].flow_id == flow.id
    assert host.status("good").calls == 1


@pytest.mark.parametrize("name", IN_A_HOOK)
async def test_hostile_hooks_stop_the_flow_where_they_must_not_fail(host: Host, name: str) -> None:
    hostile = IN_A_HOOK[name]
    await host.load("hostile", hostile.module, f'on_failure = "closed"\n{hostile.manifest}')
    flow = attacked()
    assert await host.request(flow) == Block("plugin hostile", 502)
    assert_unharmed(flow)


async def run(host: Host, hook: Hook, flow: Flow) -> Verdict | bytes | None:
    """Call one hook; return what was decided, or what of a body goes on."""
    hooks = host.hooks
    match hook:
        case Hook.REQUEST:
            return await host.request(flow)
        case Hook.RESPONSE:
            return await host.response(flow)
        case Hook.CONNECT:
            return await host.connect()
        case Hook.RULE_MATCH:
            return await host.rule_match(flow)
        case Hook.CAPTURE:
            await host.capture(flow)
            return None
        case Hook.WEBSOCKET_MESSAGE:
            assert hooks.websocket_message is not None
            return await hooks.websocket_message(flow, WebSocketMessage(True, 1, 0.0, b"text"))
        case Hook.REQUEST_CHUNK | Hook.RESPONSE_CHUNK:
            stream = hooks.request_stream if hook is Hook.REQUEST_CHUNK else hooks.response_stream
            assert stream is not None
            through = stream(flow)
            assert through is not None
            return await through(b"piece", True)
        case Hook.TICK:
            await until(lambda: host.texts(LogLevel.ERROR))
            return None
    raise AssertionError(f"no way to call {hook}")


UNHARMED = {Hook.CAPTURE: None, Hook.TICK: None} | dict.fromkeys(codes.PIECE_HOOKS, b"piece")


@pytest.mark.parametrize("hook", codes.HOOKS)
@pytest.mark.parametrize("trap", TRAPS)
async def test_traps_are_survived_in_every_hook(host: Host, hook: Hook, trap: str) -> None:
    recursion = "(func $f (result i32) (i32.add (call $f) (call $f)))" if trap == "no stack" else ""
    await host.load("hostile", guest(TRAPS[trap], hook.export, imports=recursion), "tick_ms = 10")
    flow = attacked()
    assert await run(host, hook, flow) == UNHARMED.get(hook, CONTINUE)
    assert_unharmed(flow)
    text = host.texts(LogLevel.ERROR)[0]
    assert text.startswith(f"{hook.export} ")


@pytest.mark.parametrize("hook", [hook for hook in codes.HOOKS if hook not in UNHARMED])
async def test_every_hook_that_must_not_fail_stops_its_flow(host: Host, hook: Hook) -> None:
    await host.load("hostile", guest("unreachable", hook.export), 'on_failure = "closed"')
    assert await run(host, hook, attacked()) == Block("plugin hostile", 502)


@pytest.mark.parametrize("hook", [Hook.REQUEST_CHUNK, Hook.RESPONSE_CHUNK])
async def test_a_body_is_broken_off_where_its_plugin_must_not_fail(host: Host, hook: Hook) -> None:
    await host.load("hostile", guest("unreachable", hook.export), 'on_failure = "closed"')
    with pytest.raises(RefusedByHook) as caught:
        await run(host, hook, attacked())
    assert caught.value.status == 502


@pytest.mark.parametrize("hook", codes.HOOKS)
@pytest.mark.parametrize("code", [-(2**31), -1, 5, 403, 2**31 - 1])
async def test_answers_that_mean_nothing_change_nothing_in_any_hook(
    host: Host, hook: Hook, code: int
) -> None:
    await host.load("hostile", guest(f"i32.const {code}", hook.export), "tick_ms = 10")
    flow = attacked()
    assert await run(host, hook, flow) == UNHARMED.get(hook, CONTINUE)
    assert_unharmed(flow)
    assert f"{code}" in host.texts(LogLevel.ERROR)[0]


async def test_a_header_storm_ends_at_its_limit(host: Host) -> None:
    add = "(call $add_header (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))"
    imports = ADD_HEADER + '(data (i32.const 0) "x")'
    await host.load(
        "hostile", guest(f"(loop (br_if 0 (i32.eqz {add}))) i32.const 0", "on_request", imports)
    )
    flow = make_flow()
    assert await host.request(flow) is CONTINUE
    assert len(flow.request.headers) == 200


@pytest.mark.parametrize("body", [SPIN, "unreachable", "(call $abort (i32.const 0) (i32.const 9))"])
async def test_traffic_goes_on_beside_ticks_that_never_end_well(host: Host, body: str) -> None:
    module = guest(f"{body} i32.const 0", "on_tick", ABORT)
    await host.load("good", guest("i32.const 0"))
    for number in range(5):
        await host.load(f"hostile{number}", module, f"tick_ms = 10\n{ENDLESS_FUEL}")
    while len(host.texts(LogLevel.ERROR)) < 5:
        assert await host.request(attacked()) is CONTINUE
        await asyncio.sleep(0)
    assert host.status("good").last_error is None


ENDS = {
    "spin": (SPIN, "did not return within 100 ms"),
    "trap": ("unreachable", "trapped"),
    "abort": ("(call $abort (i32.const 0) (i32.const 0))", "aborted"),
    "storm": ("(loop (drop (call $get_memory_size)) (br 0))", "did not return within 100 ms"),
    "growth": ("(loop (drop (memory.grow (i32.const 1))) (br 0))", "did not return within 100 ms"),
}


@pytest.mark.parametrize("name", ENDS)
async def test_the_last_words_of_a_plugin_end(host: Host, name: str) -> None:
    body, why = ENDS[name]
    module = wasm(
        f'(module {ABORT} {SIZE} {MEMORY} {HOOK} (func (export "plugin_shutdown") {body}))'
    )
    guests = Newcomers("RawGuest", "GuestBeside", "OfficialGuest")
    await host.load("hostile", module, ENDLESS_FUEL)
    assert (await host.manager.reload("hostile")).ok
    assert await host.request(attacked()) is CONTINUE
    await host.manager.set_enabled("hostile", False)
    await until(lambda: len(host.texts(LogLevel.WARN)) == 2)
    assert all(f"plugin_shutdown: {why}" in text for text in host.texts(LogLevel.WARN))
    await until(lambda: guests.count() == 0)


# modules that are valid, and not as they should be


@pytest.mark.parametrize("name", ODD_SHAPES)
async def test_modules_of_an_odd_shape_are_loaded_or_refused(host: Host, name: str) -> None:
    host.put("hostile", ODD_SHAPES[name])
    report = await host.manager.discover()
    if report.added:
        assert await host.request(attacked()) is CONTINUE
        assert host.status("hostile").last_error is None
    else:
        ((_, why),) = report.refused
        assert why


@pytest.mark.parametrize("name", HOST_FUNCTIONS)
async def test_no_host_function_is_bound_by_another_type(host: Host, name: str) -> None:
    function = HOST_FUNCTIONS[name]
    params = " ".join(function.params)
    result = f"(result {function.result})" if function.result else ""
    wrong = [
        f"(param {params} i32) {result}",
        f"(param {params}) (result f64)",
        f"(param {params}) (result i32 i32)",
    ]
    if params:
        rest = params.partition(" ")[2]
        wrong += [f"(param {rest}) {result}", f"(param f32 {rest}) {result}"]
    version = '(func (export "int3_abi_version") (result i32) i32.const 1)'
    for declared in wrong:
        imported = f'(import "env" "{name}" (func {declared.replace("(param )", "")}))'
        why = await host.refusal(wasm(f"(module {imported} {MEMORY} {version} {HOOK})"))
        assert "or the same without result" in why


@pytest.mark.parametrize("name", [name for name, f in HOST_FUNCTIONS.items() if f.since])
async def test_no_v1_function_is_bound_in_v0(host: Host, name: str) -> None:
    function = HOST_FUNCTIONS[name]
    params = f"(param {' '.join(function.params)})" if function.params else ""
    declared = f'(import "env" "{name}" (func {params} (result {function.result})))'
    why = await host.refusal(wasm(f"(module {declared} {MEMORY} {HOOK})"))
    assert f"imports env.{name}, which needs ABI v1" in why


async def test_the_same_import_twice_is_one(host: Host) -> None:
    body = "(call $log (i32.const 1) (i32.const 0) (i32.const 1)) (call $b (i32.const 1)"
    body += " (i32.const 0) (i32.const 1)) i32.const 0"
    again = '(import "env" "host_log" (func $b (param i32 i32 i32)))'
    await host.load("twice", guest(body, imports=LOG + again + '(data (i32.const 0) "x")'))
    assert await host.request(attacked()) is CONTINUE
    assert host.texts() == ["x", "x"]
