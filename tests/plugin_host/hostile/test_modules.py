"""Each module of the hostile set: the flow goes on unharmed, and the log says why."""

from __future__ import annotations

import pytest

from proxy_core.model.flow import Flow
from proxy_core.model.log_line import LogLevel
from proxy_core.model.verdict import CONTINUE, Block, Verdict
from proxy_core.plugin_host.codes import Hook
from tests.plugin_host.guests import Host, guest, make_flow
from tests.plugin_host.hostile.modules import ADD_HEADER, AT_THE_DOOR, IN_A_HOOK

TRAPS = {
    "unreachable": "unreachable",
    "out of bounds": "(i32.load (i32.const -4))",
    "no fuel": "(loop (br 0)) i32.const 0",
    "no stack": "(call $f)",
    "failure": "i32.const -5",
}


def assert_unharmed(flow: Flow) -> None:
    before = make_flow().request
    assert flow.request.raw == before.raw
    assert flow.request_received is None
    assert flow.edited_by == ()
    assert flow.annotations is None


def test_the_set_is_large_enough() -> None:
    assert len(AT_THE_DOOR) + len(IN_A_HOOK) >= 80


@pytest.mark.parametrize("name", AT_THE_DOOR)
async def test_hostile_modules_are_refused_at_the_door(host: Host, name: str) -> None:
    hostile = AT_THE_DOOR[name]
    await host.load("good", guest("i32.const 0"))
    assert hostile.why in await host.refusal(hostile.module, hostile.manifest)
    (line,) = [line for line in host.manager.logs.snapshot("refused") if line.level == 3]
    assert hostile.why in line.text
    assert await host.request(make_flow()) is CONTINUE


@pytest.mark.parametrize("name", IN_A_HOOK)
async def test_hostile_hooks_do_not_harm_the_flow(host: Host, name: str) -> None:
    hostile = IN_A_HOOK[name]
    await host.load("good", guest("i32.const 0"))
    await host.load("hostile", hostile.module, hostile.manifest)
    flow = make_flow()
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
    flow = make_flow()
    assert await host.request(flow) == Block("plugin hostile", 502)
    assert_unharmed(flow)


async def run(host: Host, hook: Hook, flow: Flow) -> Verdict | None:
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
    raise AssertionError(f"no way to call {hook}")


CALLABLE = [Hook.REQUEST, Hook.RESPONSE, Hook.CONNECT, Hook.RULE_MATCH, Hook.CAPTURE]


@pytest.mark.parametrize("hook", CALLABLE)
@pytest.mark.parametrize("trap", TRAPS)
async def test_traps_are_survived_in_every_hook(host: Host, hook: Hook, trap: str) -> None:
    recursion = "(func $f (result i32) (i32.add (call $f) (call $f)))" if trap == "no stack" else ""
    await host.load("hostile", guest(TRAPS[trap], hook.export, imports=recursion))
    flow = make_flow()
    assert await run(host, hook, flow) in (CONTINUE, None)
    assert_unharmed(flow)
    (text,) = host.texts(LogLevel.ERROR)
    assert text.startswith(f"{hook.export} ")


async def test_a_header_storm_ends_at_its_limit(host: Host) -> None:
    add = "(call $add_header (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))"
    imports = ADD_HEADER + '(data (i32.const 0) "x")'
    await host.load(
        "hostile", guest(f"(loop (br_if 0 (i32.eqz {add}))) i32.const 0", "on_request", imports)
    )
    flow = make_flow()
    assert await host.request(flow) is CONTINUE
    assert len(flow.request.headers) == 200
