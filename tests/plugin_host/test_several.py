"""Several flows in one entry of a guest: nothing may be different from an entry for each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
from proxy_core.model.message import HTTP_2, HTTP_11
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.hook import edit_rules as rules
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.plugin import Plugin
from proxy_core.plugin_host.runtime import desk
from proxy_core.plugin_host.runtime.desk_text import MOST_EDITS, MOST_FLOWS
from proxy_core.plugin_host.runtime.raw_guest import SLICE_FUEL
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
from tests.plugin_host.hostile.host_calls import (
    ANNOTATE,
    DELAY,
    GET_FIELD,
    GET_HEADERS,
    SET_FIELD,
    SET_HEADER,
)

FLOWS: Final = 20
ADD: Final = importing("host_add_header", 4)
REMOVE: Final = importing("host_remove_header", 2)
GET: Final = importing("host_get_header", 4)
SLOW: Final = """(local.set $n (i32.const 60000))
  (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"""
"""More than half a slice of fuel."""


async def one_by_one(plugin: Plugin, hook: Hook, flows: Sequence[Flow]) -> list[int]:
    """Enter the guest for each flow; return what its hook returned."""
    assert plugin.manifest is not None
    codes = []
    for flow in flows:
        call = HookCall(hook, plugin.manifest, plugin.log, flow, plugin.belongings)
        codes.append(await plugin.call(hook, call))
    return codes


async def at_once(plugin: Plugin, hook: Hook, flows: Sequence[Flow]) -> list[int]:
    """Enter the guest for as many as go together."""
    assert plugin.manifest is not None
    codes = [0] * len(flows)
    for place, _, answer in plugin.enter_several(hook, plugin.manifest, flows):
        codes[place] = answer if isinstance(answer, int) else await answer
    return codes


def plugin_of(host: Host, name: str = "p") -> Plugin:
    found: Plugin = host.manager._plugins[name]
    return found


def told(flow: Flow) -> dict[str, Any]:
    """Everything of a flow that a plugin may have to do with."""
    response = flow.response
    return {
        "request": flow.request.raw,
        "fields": flow.request.headers.fields,
        "received": flow.request_received and flow.request_received.raw,
        "response": response and (response.raw, response.headers.fields),
        "response received": flow.response_received and flow.response_received.raw,
        "changes": [(change.by, change.before.raw, change.body) for change in flow.changes],
        "edited by": flow.edited_by,
        "annotations": flow.annotations,
    }


def account(host: Host) -> dict[str, Any]:
    """What is written down of the plugin, but for what depends on the time."""
    status = host.status("p")
    return {
        "calls": status.calls,
        "traps": status.traps,
        "lines": host.texts(),
        "dropped": status.log_dropped,
        "denied": [profile.denied for profile in status.profile],
        "changed": [profile.bytes_changed for profile in status.profile],
    }


Build = Callable[[], list[Flow]]


def flows_of(version: str = HTTP_11, fields: Sequence[Field] = ((b"a", b"1"),)) -> list[Flow]:
    return [
        respond_with(make_flow(((b"x", b"%d" % number), *fields), version=version), fields=fields)
        for number in range(FLOWS)
    ]


class Both:
    """Two hosts with the same plugin, asked about the same flows, each in its way."""

    def __init__(self, directory: Path) -> None:
        self.alone, self.together = Host(directory / "alone"), Host(directory / "together")

    async def load(self, module: bytes, manifest: str = "") -> None:
        for host in (self.alone, self.together):
            await host.load("p", module, manifest)

    async def swap(self, module: bytes, manifest: str = "") -> None:
        for host in (self.alone, self.together):
            host.put("p", module, manifest)
            assert (await host.manager.reload("p")).ok

    async def compare(self, build: Build = flows_of, hook: Hook = Hook.REQUEST) -> list[Flow]:
        """Ask both, find the same in both, and return the flows."""
        flows, others = build(), build()
        codes = await one_by_one(plugin_of(self.alone), hook, flows)
        assert await at_once(plugin_of(self.together), hook, others) == codes
        for flow, other in zip(flows, others, strict=True):
            assert told(other) == told(flow)
        assert account(self.together) == account(self.alone)
        return others

    async def stop(self) -> None:
        for host in (self.alone, self.together):
            await host.manager.stop()


@pytest.fixture
async def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(desk, "SECONDS", 1e9)  # however slow the machine is
    for name in ("alone", "together"):
        (tmp_path / name).mkdir()
    both = Both(tmp_path)
    yield both
    await both.stop()


class Entries:
    """How many flows each entry was for."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        theirs: Any = plugin_of(host).generation.idle[0].desk  # type: ignore[union-attr]
        self.sizes: list[int] = []
        lay_out = type(theirs).lay_out

        def count(desk: Any, flows: int, room: int, lines: int) -> None:
            self.sizes.append(flows)
            lay_out(desk, flows, room, lines)

        monkeypatch.setattr(type(theirs), "lay_out", count)


def adding(more: str = "", then: str = "i32.const 0", imports: str = "") -> bytes:
    """A module that adds `y: 1` to each request, and then does more."""
    return guest(
        "(drop (call $add_header (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 1)))"
        f" {more} {then}",
        imports=f'{ADD} {imports} (data (i32.const 0) "y") (data (i32.const 8) "1")',
    )


async def test_all_go_through_the_guest_in_one_entry(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    await both.load(adding())
    entries = Entries(both.together, monkeypatch)
    flows = await both.compare()
    assert entries.sizes == [FLOWS - 1]  # the first one shows what they take
    assert all(flow.request.headers.fields[-1] == (b"y", b"1") for flow in flows)
    assert all(flow.edited_by == ("plugin p",) for flow in flows)


async def test_names_are_spelled_as_http_2_has_them(both: Both) -> None:
    module = guest(
        "(drop (call $add_header (i32.const 0) (i32.const 3) (i32.const 8) (i32.const 1)))"
        " i32.const 0",
        imports=f'{ADD} (data (i32.const 0) "X-Y") (data (i32.const 8) "1")',
    )
    await both.load(module)
    flows = await both.compare(lambda: flows_of(HTTP_2))
    assert flows[-1].request.headers.fields[-1] == (b"x-y", b"1")
    assert flows[-1].request.raw.endswith(b"x-y: 1\r\n\r\n")


@pytest.mark.parametrize("name", [*sorted(rules.PROXY_OWNED), b"Content-Length", b"TE"])
async def test_what_is_the_proxys_stays_the_proxys(both: Both, name: bytes) -> None:
    body = f"(call $add_header (i32.const 0) (i32.const {len(name)}) (i32.const 0) (i32.const 1))"
    await both.load(guest(body, imports=f'{ADD} (data (i32.const 0) "{name.decode()}")'))
    flows = await both.compare()
    assert all(flow.edited_by == () for flow in flows)


@pytest.mark.parametrize("byte", range(256))
async def test_names_and_values_are_judged_byte_by_byte(both: Both, byte: int) -> None:
    name = "(i32.const 0) (i32.const 3)"
    value = "(i32.const 8) (i32.const 3)"
    body = f"""(i32.sub (i32.const 0) (i32.and (call $add_header {name} (i32.const 9) (i32.const 1))
                  (i32.mul (i32.const 16) (call $set_header (i32.const 9) (i32.const 1) {value}))))
               drop i32.const 0"""
    data = f'(data (i32.const 0) "a\\{byte:02x}b") (data (i32.const 8) "c\\{byte:02x}d")'
    await both.load(guest(body, imports=f"{ADD} {SET_HEADER} {data}"))
    await both.compare(lambda: flows_of()[:4])


@pytest.mark.parametrize("fields", range(rules.HEADER_COUNT - 20, rules.HEADER_COUNT + 1, 4))
async def test_a_head_gets_no_more_fields_than_it_may_have(both: Both, fields: int) -> None:
    add = "(drop (call $add_header (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 1)))"
    module = guest(
        f"{add * (MOST_EDITS + 4)} i32.const 0",
        imports=f'{ADD} (data (i32.const 0) "y") (data (i32.const 8) "1")',
    )
    await both.load(module)
    full = [(b"f%d" % number, b"") for number in range(fields - 1)]
    flows = await both.compare(lambda: flows_of(fields=full)[:6])
    count = len(flows[-1].request.headers.fields)
    assert count == min(fields + MOST_EDITS + 4, rules.HEADER_COUNT)


async def test_edits_that_are_not_permitted_are_denied_and_counted(both: Both) -> None:
    await both.load(adding(), "[permissions]\nmodify_requests = false")
    flows = await both.compare()
    assert all(flow.edited_by == () for flow in flows)
    ((_, denied),) = account(both.together)["denied"][0]
    assert denied == FLOWS


async def test_log_lines_over_the_rate_are_counted(both: Both) -> None:
    module = guest(
        "(call $log (i32.const 1) (i32.const 0) (i32.const 5)) i32.const 0",
        imports=f'{LOG} (data (i32.const 0) "hello")',
    )
    await both.load(module, f"[limits]\nlog_lines_per_second = {FLOWS // 2}")
    await both.compare()
    assert both.together.texts()[-FLOWS // 2 :] == ["hello"] * (FLOWS // 2)
    assert both.together.status("p").log_dropped == FLOWS - FLOWS // 2


async def test_lines_name_the_flow_they_are_about(both: Both) -> None:
    module = guest(
        "(call $log (i32.const 1) (i32.const 0) (i32.const 5)) i32.const 0",
        imports=f'{LOG} (data (i32.const 0) "hello")',
    )
    await both.load(module)

    def numbered() -> list[Flow]:
        flows = flows_of()
        for number, flow in enumerate(flows):
            flow.id = type(flow.id)(number)
        return flows

    await both.compare(numbered)
    lines = [line for line in both.together.manager.logs.snapshot() if line.text == "hello"]
    assert [line.flow_id for line in lines] == list(range(FLOWS))


FIRST_AT: Final = 2048


def every_nth(number: int, then: str) -> str:
    """Do something with every so many-th flow."""
    return f"""(i32.store (i32.const {FIRST_AT})
        (i32.add (i32.load (i32.const {FIRST_AT})) (i32.const 1)))
      (if (i32.eqz (i32.rem_u (i32.load (i32.const {FIRST_AT})) (i32.const {number})))
        (then {then}))"""


@pytest.mark.parametrize(
    "then",
    [
        *(f"(return (i32.const {code}))" for code in (1, 2, 3, 4, -1, 77)),
        *("unreachable", "(drop (i32.load (i32.const -1)))", SLOW, "(loop (br 0))"),
        "(drop (call $get_header (i32.const 0) (i32.const 1) (i32.const 64) (i32.const 9)))",
        "(drop (call $annotate (i32.const 16) (i32.const 3) (i32.const 0) (i32.const 1)))",
        "(drop (call $remove_header (i32.const 0) (i32.const 1)))",
        "(drop (call $delay (i32.const 1)))",
    ],
)
@pytest.mark.parametrize("number", [2, 5])
async def test_what_one_flow_meets_is_not_the_others(both: Both, then: str, number: int) -> None:
    imports = f'{GET} {ANNOTATE} {REMOVE} {DELAY} (data (i32.const 16) "tag")'
    module = wasm(
        f"""(module {ADD} {imports} {MEMORY} (data (i32.const 0) "y") (data (i32.const 8) "1")
          (func (export "int3_abi_version") (result i32) i32.const 1)
          (func (export "on_request") (result i32) (local $n i32)
            (drop (call $add_header (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 1)))
            {every_nth(number, then)} i32.const 0))"""
    )
    await both.load(module)
    await both.compare()


async def test_a_flow_that_takes_long_has_fuel_and_time_of_its_own(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the flows before it took is not taken from it."""
    rounds = 180_000  # of 5 units: nearly all that there is
    then = f"""(local.set $n (i32.const {rounds}))
      (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"""
    module = wasm(
        f"""(module {MEMORY} (func (export "on_request") (result i32) (local $n i32)
          {every_nth(7, then)} i32.const 0))"""
    )
    await both.load(module)
    entries = Entries(both.together, monkeypatch)
    await both.compare()
    assert both.together.status("p").traps == 0
    assert max(entries.sizes) > 7


@pytest.mark.parametrize("start", range(0, 480, 60))
async def test_a_slice_may_end_between_two_flows(both: Both, start: int) -> None:
    """Whatever the guest is at when it is interrupted, each flow gets what is its own."""
    rounds = (SLICE_FUEL - 1000 + start) // 5
    await both.load(guest("i32.const 0"))
    for more in range(0, 60, 3):
        then = f"""(local.set $n (i32.const {rounds}))
          (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
          {"(drop (i32.const 0))" * more}"""
        module = wasm(
            f"""(module {ADD} {LOG} {MEMORY} (data (i32.const 0) "y") (data (i32.const 8) "1")
              (func (export "int3_abi_version") (result i32) i32.const 1)
              (func (export "on_request") (result i32) (local $n i32)
                {every_nth(3, then)}
                (call $log (i32.const 1) (i32.const 0) (i32.const 1))
                (drop (call $add_header (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 1)))
                i32.const 0))"""
        )
        await both.swap(module, "[limits]\nlog_lines_per_second = 100_000")
        await both.compare(lambda: flows_of()[:6])


async def test_heavy_hooks_go_by_themselves(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    module = wasm(
        f'(module {MEMORY} (func (export "on_request") (result i32) (local $n i32) {SLOW}'
        " i32.const 0))"
    )
    await both.load(module)
    entries = Entries(both.together, monkeypatch)
    await both.compare()
    assert entries.sizes == []


async def test_one_heavy_call_is_not_held_against_those_after_it(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = wasm(
        f"""(module {MEMORY} (func (export "on_request") (result i32) (local $n i32)
          {every_nth(3, SLOW)} i32.const 0))"""
    )
    await both.load(module)
    await both.compare(lambda: flows_of()[:3])
    entries = Entries(both.together, monkeypatch)
    await both.compare(lambda: flows_of()[:2])
    assert entries.sizes == []  # it goes by the call before
    await both.compare(lambda: flows_of()[:2])
    assert entries.sizes == [2]


async def test_little_fuel_is_for_one_flow(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    await both.load(adding(), "[limits]\nfuel = 10_000")
    entries = Entries(both.together, monkeypatch)
    await both.compare()
    assert entries.sizes == []


async def test_a_plugin_that_trapped_goes_on_one_by_one(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    await both.load(adding(every_nth(3, "unreachable")))
    entries = Entries(both.together, monkeypatch)
    await both.compare()
    assert entries.sizes == [FLOWS - 1]
    assert both.together.status("p").traps == both.alone.status("p").traps > 0


async def test_more_than_fit_go_in_turns(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    await both.load(guest("i32.const 0"))
    entries = Entries(both.together, monkeypatch)
    await both.compare(lambda: [flow for _ in range(8) for flow in flows_of()])
    assert sum(entries.sizes) >= 8 * FLOWS - 2
    assert max(entries.sizes) == MOST_FLOWS


async def test_a_module_that_runs_as_it_is_made_has_no_desk(both: Both) -> None:
    module = wasm(
        f"""(module {LOG} {MEMORY} (data (i32.const 0) "hello")
          (func $s (call $log (i32.const 1) (i32.const 0) (i32.const 5))) (start $s)
          (func (export "on_request") (result i32) i32.const 0))"""
    )
    await both.load(module)
    assert "hello" in both.together.texts()
    await both.compare()


async def test_an_exchange_that_ends_half_way_costs_the_others_nothing(both: Both) -> None:
    await both.load(adding(every_nth(4, "(loop (br 0))")))
    plugin = plugin_of(both.together)
    assert plugin.manifest is not None
    flows = flows_of()
    assert plugin.enter_several(Hook.REQUEST, plugin.manifest, flows[:1]) == []
    special = plugin.enter_several(Hook.REQUEST, plugin.manifest, flows[1:8])
    ((place, _, answer), *_) = special
    assert not isinstance(answer, int)
    task = asyncio.get_running_loop().create_task(answer)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _, _, other in special[1:]:
        if not isinstance(other, int):
            other.close()
    done = [flow.edited_by for flow in flows[1 : 1 + place]]
    assert done == [("plugin p",)] * place
    assert flows[1 + place].edited_by == ()


# Modules that nobody has thought of.

TEXTS: Final = (
    *(b"x", b"y", b"X-Added", b"content-length", b"te", b"tall", b"host", b"connection", b"tag"),
    *(b"comment", b"http://e.test/x", b"GET", b"a b", b"\xff\xfe", b"\0", b"", b"a\r\nb", b"\t"),
    *(b"n" * 256, b"n" * 257, b"v" * 1024, b"v" * 1025, b"l" * 9000),
)


class Script:
    """What a hook does for each of its flows, at random."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._places: list[tuple[int, int]] = []
        at = 8192
        for text in TEXTS:
            self._places.append((at, len(text)))
            at += len(text)
        self._edges = [(65535, 1), (65535, 2), (65536, 0), (0xFFFFFFFF, 1), (1, 0xFFFFFFFF)]

    def module(self, flows: int) -> bytes:
        data = "".join(
            f'(data (i32.const {at}) "{"".join(f"{chr(92)}{byte:02x}" for byte in text)}")'
            for (at, _), text in zip(self._places, TEXTS, strict=True)
        )
        cases = "".join(
            f"(if (i32.eq (local.get $flow) (i32.const {number})) (then {self._case()}))"
            for number in range(flows)
        )
        return wasm(f"""(module {ADD} {SET_HEADER} {REMOVE} {GET} {ANNOTATE} {SET_FIELD}
          {GET_FIELD} {GET_HEADERS}
          (import "env" "host_log" (func $log (param i32 i32 i32) (result i32)))
          {MEMORY} {data}
          (func $note (param $answer i32)
            (i32.store16 (i32.load (i32.const 0)) (i32.add (local.get $answer) (i32.const 0x3030)))
            (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 2))))
          (func $tell (drop (call $log (i32.const 1) (i32.const 16)
            (i32.sub (i32.load (i32.const 0)) (i32.const 16)))))
          (func (export "int3_abi_version") (result i32) i32.const 1)
          (func $go (result i32) (local $flow i32) (local $n i32)
            (local.set $flow (i32.load (i32.const 4)))
            (i32.store (i32.const 4) (i32.add (local.get $flow) (i32.const 1)))
            (i32.store (i32.const 0) (i32.const 16))
            {cases} (call $tell) i32.const 0)
          (export "on_request" (func $go)) (export "on_response" (func $go)))""")

    def _case(self) -> str:
        count = self._random.choice((0, 0, 1, 1, 2, 3, 20))
        calls = "".join(f"(call $note {self._call()})" for _ in range(count))
        end = self._random.choice(("", "", "", "", *ENDS))
        return f"{calls} {end}"

    def _call(self) -> str:
        name, kinds = self._random.choice(CALLS)
        parts = []
        for kind in kinds:
            if kind == "text":
                at, length = self._random.choice(
                    self._edges if self._random.random() < 0.05 else self._places
                )
                parts += [at, length]
            else:
                parts.append(self._random.choice((0, 1, 2, 5, 14, 99)))
        return f"(call ${name} {' '.join(f'(i32.const {part})' for part in parts)})"


ENDS: Final = (
    *("(call $tell) (return (i32.const 1))", "(return (i32.const 2))", "(return (i32.const 4))"),
    *("(return (i32.const -7))", "unreachable", SLOW),
)
CALLS: Final = (
    *[("add_header", ("text", "text"))] * 4,
    *[("set_header", ("text", "text"))] * 2,
    *[("log", ("number", "text"))] * 3,
    ("remove_header", ("text",)),
    *[("get_header", ("text", "text"))] * 2,
    ("get_field", ("number", "text")),
    ("get_headers", ("text",)),
    ("annotate", ("text", "text")),
    ("set_field", ("number", "text")),
)


@pytest.mark.parametrize("seed", range(80))
async def test_hooks_at_random_do_the_same(both: Both, seed: int) -> None:
    hook = (Hook.REQUEST, Hook.RESPONSE)[seed % 2]
    version = (HTTP_11, HTTP_2)[seed // 2 % 2]
    module = Script(seed).module(FLOWS)
    rate = (100_000, 40)[seed % 3 == 0]
    await both.load(module, f"[limits]\nlog_lines_per_second = {rate}")
    await both.compare(lambda: flows_of(version), hook)
