"""Hostile modules, one by one: the flow goes on unharmed, and the log says why.

The same file may be refused at the door, or do its worst in a hook, or be less of a threat than
it looks. What each engine does with a single failure is in runtime/test_engines.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy_core.model.flow import Flow
from proxy_core.model.log_line import LogLevel
from proxy_core.model.verdict import CONTINUE, Block
from tests.plugin_host.guests import (
    LOG,
    MEMORY,
    Host,
    guest,
    importing,
    living,
    make_flow,
    wasm,
)

SPIN = "(loop (br 0))"
HOOK = '(func (export "on_request") (result i32) i32.const 0)'
ENDLESS_FUEL = "[limits]\nfuel = 1_000_000_000\ndeadline_ms = 100"
LITTLE_FUEL = "[limits]\nfuel = 1000"
SIZE = importing("host_get_memory_size", 0)
ABORT = '(import "env" "host_abort" (func $abort (param i32 i32)))'
GET_HEADERS = importing("host_get_headers", 2)
ADD_HEADER = importing("host_add_header", 4)
SET_FIELD = importing("host_set_field", 3)
RESPOND = importing("host_respond", 5)
RANDOM = importing("host_random", 2)


def module(more: str, imports: str = "") -> bytes:
    """A module with a page of memory, a harmless hook, and `more`."""
    return wasm(f"(module {imports} {MEMORY} {HOOK} {more})")


def log(ptr: int, length: int) -> str:
    return f"(call $log (i32.const 1) (i32.const {ptr}) (i32.const {length}))"


REFUSED: dict[str, tuple[bytes, str, str]] = {
    "empty file": (b"", "", "empty"),
    "text format": (b"(module)", "", "not a WebAssembly module"),
    "shell script": (b"#!/bin/sh\nexit\n", "", "not a WebAssembly module"),
    "native program": (b"\x7fELF" + bytes(60), "", "not a WebAssembly module"),
    "truncated": (module("")[:-4], "", "truncated"),
    "flipped bits": (
        bytes(b ^ 0x10 if i == 54 else b for i, b in enumerate(module(""))),
        "",
        "not a valid module",
    ),
    "component": (b"\0asm\x0d\0\1\0", "", "component"),
    "huge section": (b"\0asm\1\0\0\0\x01\xff\xff\xff\xff\x0f", "", "truncated"),
    "100,000 exports": (b"\0asm\1\0\0\0\x07\x04\xa0\x8d\x06\0", "", "100000 exports; at most 1000"),
    "no hook": (wasm("(module)"), "", "exports no hook"),
    "hook with parameters": (
        wasm('(module (func (export "on_request") (param i32) (result i32) i32.const 0))'),
        "",
        "must be () -> (i32)",
    ),
    "hook without result": (wasm('(module (func (export "on_request")))'), "", "must be"),
    "hook of floats": (
        wasm('(module (func (export "on_request") (result f64) f64.const 0))'),
        "",
        "must be",
    ),
    "hook that is a global": (
        wasm('(module (global (export "on_request") i32 (i32.const 0)))'),
        "",
        "global",
    ),
    "memory that is a table": (
        wasm(f'(module (table (export "memory") 1 funcref) {HOOK})'),
        "",
        "as a table",
    ),
    "logging without memory": (wasm(f"(module {LOG} {HOOK})"), "", "exports no memory"),
    "imported memory": (wasm(f'(module (import "env" "memory" (memory 1)) {HOOK})'), "", "memory"),
    "unknown import": (module("", '(import "env" "exec" (func))'), "", "does not offer"),
    "import from elsewhere": (module("", '(import "os" "system" (func))'), "", "does not offer"),
    "WASI": (
        module("", '(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))'),
        "",
        "without WASI",
    ),
    "import of a wrong type": (
        module("", '(import "env" "host_log" (func (param i64 i32 i32)))'),
        "",
        "it is (i32",
    ),
    "import twice, differently": (
        module("", f'{LOG} (import "env" "host_log" (func (param i32 i32 i32) (result i32)))'),
        "",
        "twice",
    ),
    "v1 import in v0": (module("", ADD_HEADER), "", "needs ABI v1"),
    "memory over its limit": (
        wasm(f'(module (memory (export "memory") 65536) {HOOK})'),
        "",
        "cannot be instantiated",
    ),
    "table over its limit": (module("(table 4000000000 funcref)"), "", "cannot be instantiated"),
    "data outside memory": (module('(data (i32.const 65536) "x")'), "", "out of bounds"),
    "elements outside a table": (
        module("(table 1 funcref) (elem (i32.const 1) $f) (func $f)"),
        "",
        "out of bounds",
    ),
    "endless start": (module(f"(func $s {SPIN}) (start $s)"), LITTLE_FUEL, "fuel of 1000000"),
    "endless start, endless fuel": (
        module(f"(func $s {SPIN}) (start $s)"),
        ENDLESS_FUEL,
        "within 100 ms",
    ),
    "endless _initialize": (
        module(f'(func (export "_initialize") {SPIN})'),
        LITTLE_FUEL,
        "fuel of 1000000",
    ),
    "endless plugin_init": (
        module(f'(func (export "plugin_init") (result i32) {SPIN} i32.const 0)'),
        ENDLESS_FUEL,
        "within 100 ms",
    ),
    "endless version": (
        module(f'(func (export "int3_abi_version") (result i32) {SPIN} i32.const 1)'),
        LITTLE_FUEL,
        "fuel of 1000000",
    ),
    "trap in start": (module("(func $s unreachable) (start $s)"), "", "unreachable"),
    "trap in plugin_init": (
        module('(func (export "plugin_init") (result i32) unreachable)'),
        "",
        "unreachable",
    ),
    "abort in start": (
        module("(func $s (call $abort (i32.const 0) (i32.const 1))) (start $s)", ABORT),
        "",
        "aborted",
    ),
    "endless recursion in plugin_init": (
        module('(func $r (export "plugin_init") (result i32) (i32.add (call $r) (call $r)))'),
        "",
        "overflowed its stack",
    ),
    "host calls without end in start": (
        module("(func $s (loop (drop (call $get_memory_size)) (br 0))) (start $s)", SIZE),
        ENDLESS_FUEL,
        "within 100 ms",
    ),
    "unknown version": (
        module('(func (export "int3_abi_version") (result i32) i32.const 7)'),
        "",
        "is 7",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_hostile_modules_are_refused_at_the_door(host: Host, name: str) -> None:
    data, manifest, why = REFUSED[name]
    await host.load("good", guest("i32.const 0"))
    assert why in await host.refusal(data, manifest)
    (line,) = [line for line in host.manager.logs.snapshot("refused") if line.level == 3]
    assert why in line.text
    assert await host.request(make_flow()) is CONTINUE


HOSTILE: dict[str, tuple[bytes, str, str]] = {
    "endless loop": (guest(f"{SPIN} i32.const 0"), "", "used up its fuel"),
    "endless loop, endless fuel": (guest(f"{SPIN} i32.const 0"), ENDLESS_FUEL, "within 100 ms"),
    "endless recursion": (
        guest("call $r i32.const 0", imports="(func $r call $r call $r)"),
        "",
        "its stack",
    ),
    "endless host calls": (
        guest("(loop (drop (call $get_memory_size)) (br 0)) i32.const 0", imports=SIZE),
        ENDLESS_FUEL,
        "within 100 ms",
    ),
    "endless memory fill": (
        guest(
            "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0)) i32.const 0"
        ),
        "",
        "used up its fuel",
    ),
    "endless table growth": (
        guest(
            "(loop (drop (table.grow $t (ref.null func) (i32.const 1000))) (br 0)) i32.const 0",
            imports="(table $t 1 funcref)",
        ),
        "",
        "used up its fuel",
    ),
    "endless memory growth": (
        guest("(loop (drop (memory.grow (i32.const 1))) (br 0)) i32.const 0"),
        "",
        "used up its fuel",
    ),
    "unreachable": (guest("unreachable"), "", "trapped"),
    "load past the end": (guest("(i32.load (i32.const -4))"), "", "out of bounds"),
    "store past the end": (
        guest("(i64.store (i32.const 65530) (i64.const 0)) i32.const 0"),
        "",
        "out of bounds",
    ),
    "abort with a bad pointer": (
        guest("(call $abort (i32.const -1) (i32.const -1)) i32.const 0", imports=ABORT),
        "",
        "bad pointer",
    ),
    "abort with escape sequences": (
        guest(
            "(call $abort (i32.const 0) (i32.const 9)) i32.const 0",
            imports=ABORT + '(data (i32.const 0) "\\1b[2J\\00\\ff[b]")',
        ),
        "",
        "aborted: \x1b[2J\0\ufffd",
    ),
    "respond without response": (guest("i32.const 3"), "", "without host_respond"),
    "unknown verdict": (guest("i32.const 77"), "", "means nothing"),
    "failure": (guest("i32.const -2147483648"), "", "failed with -2147483648"),
    "random storm": (
        guest(
            "(loop (drop (call $random (i32.const 0) (i32.const 65536))) (br 0)) i32.const 0",
            imports=RANDOM,
        ),
        ENDLESS_FUEL,
        "within 100 ms",
    ),
}


def assert_unharmed(flow: Flow) -> None:
    assert flow.request.headers.fields == make_flow().request.headers.fields
    assert flow.request_received is None
    assert flow.edited_by == ()
    assert flow.annotations is None


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_hooks_do_not_harm_the_flow(host: Host, name: str) -> None:
    data, manifest, why = HOSTILE[name]
    await host.load("good", guest("i32.const 0"))
    await host.load("hostile", data, manifest)
    flow = make_flow()
    assert await host.request(flow) is CONTINUE
    assert_unharmed(flow)
    errors = [line for line in host.manager.logs.snapshot("hostile") if line.level == 3]
    assert len(errors) == 1
    assert why in errors[0].text
    assert errors[0].flow_id == flow.id
    assert host.status("good").calls == 1


@pytest.mark.parametrize("name", ["endless loop", "unreachable", "failure"])
async def test_hostile_hooks_stop_the_flow_where_they_must_not_fail(host: Host, name: str) -> None:
    data, manifest, _ = HOSTILE[name]
    await host.load("hostile", data, f'on_failure = "closed"\n{manifest}')
    assert await host.request(make_flow()) == Block("plugin hostile", 502)


@pytest.mark.parametrize("hook", ["on_response", "on_connect", "on_capture", "on_rule_match"])
async def test_traps_are_survived_in_every_hook(host: Host, hook: str) -> None:
    await host.load("hostile", guest("unreachable", hook))
    flow = make_flow()
    match hook:
        case "on_response":
            flow.response = None
            assert await host.response(flow) is CONTINUE
        case "on_connect":
            assert await host.connect() is CONTINUE
        case "on_capture":
            await host.capture(flow)
        case _:
            assert await host.rule_match(flow) is CONTINUE
    assert any(f"{hook} trapped" in text for text in host.texts(LogLevel.ERROR))
    assert_unharmed(flow)


async def test_a_log_flood_is_bounded_counted_and_told(host: Host) -> None:
    flood = f"(loop {log(0, 65536)} (br 0)) i32.const 0"
    await host.load("hostile", guest(flood, imports=LOG), "[limits]\nlog_lines_per_second = 10")
    assert await host.request(make_flow()) is CONTINUE
    status = host.status("hostile")
    assert status.log_lines < 200
    assert status.log_dropped > 1000
    assert host.manager.logs.dropped == status.log_dropped
    assert max(len(line.text) for line in host.manager.logs.snapshot()) < 8300
    assert any(text.endswith("log lines were dropped") for text in host.texts())


async def test_a_log_flood_while_loading_is_bounded_too(host: Host) -> None:
    flood = f'(func (export "plugin_init") (result i32) (loop {log(0, 1)} (br 0)) i32.const 0)'
    await host.refusal(module(flood, LOG), LITTLE_FUEL)
    assert len(host.texts()) < 1300  # 200 at once, 200 a second, and 5 s until the deadline
    assert host.manager.logs.dropped > 1000


async def test_every_pointer_past_the_end_answers_bad_pointer(host: Host) -> None:
    calls = [
        "(call $get_headers (i32.const 65535) (i32.const 2))",
        "(call $add_header (i32.const 65536) (i32.const 1) (i32.const 0) (i32.const 0))",
        "(call $add_header (i32.const 0) (i32.const 1) (i32.const -1) (i32.const 2))",
        "(call $set_field (i32.const 0) (i32.const -1) (i32.const 1))",
        "(call $respond (i32.const 200) (i32.const -8) (i32.const 16) (i32.const 0) (i32.const 0))",
        "(call $random (i32.const 65530) (i32.const 7))",
    ]
    checks = "".join(f"(if (i32.ne {call} (i32.const -3)) (then unreachable))" for call in calls)
    imports = GET_HEADERS + ADD_HEADER + SET_FIELD + RESPOND + RANDOM
    await host.load("hostile", guest(f"{checks} i32.const 0", imports=imports))
    flow = make_flow()
    assert await host.request(flow) is CONTINUE
    assert_unharmed(flow)
    assert host.texts() == []


async def test_a_header_storm_ends_at_its_limit(host: Host) -> None:
    add = "(call $add_header (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))"
    await host.load(
        "hostile",
        guest(
            f"(loop (br_if 0 (i32.eqz {add}))) i32.const 0",
            imports=ADD_HEADER + '(data (i32.const 0) "x")',
        ),
    )
    flow = make_flow()
    assert await host.request(flow) is CONTINUE
    assert len(flow.request.headers) == 200


@pytest.mark.parametrize("name", ["a b.wasm", "a\nb.wasm", "-rf.wasm", "..wasm", "\u202ea.wasm"])
async def test_files_with_odd_names_are_refused(host: Host, name: str) -> None:
    (host.directory / name).write_bytes(guest("i32.const 0"))
    report = await host.start()
    assert report.added == ()
    assert host.hooks.request is None
    assert all("cannot be a plugin's name" in why for _, why in report.refused)
    assert len(report.refused) == (0 if name.startswith(".") else 1)


async def test_links_out_of_the_directory_are_refused(host: Host, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(guest("i32.const 0"))
    inside = host.directory / "plugins"
    inside.mkdir()
    (inside / "link.wasm").symlink_to(outside / "secret")
    report = await host.start()
    ((_, why),) = report.refused
    assert "leads out of" in why


async def test_nothing_is_left_behind_by_instances_that_failed(host: Host) -> None:
    await host.load("hostile", guest("unreachable"))
    (plugin,) = host.manager._plugins.values()

    async def trap(times: int) -> int:
        for _ in range(times):
            plugin.health.forget()
            assert await host.request(make_flow()) is CONTINUE
        return living("RawGuest", "OfficialGuest", "Store")

    assert await trap(3) == await trap(300)
    assert plugin.profile.traps == 303


async def test_nothing_is_left_behind_by_versions_that_were_swapped(host: Host) -> None:
    before = living("Generation", "RawGuest", "OfficialGuest", "Store", "Module")
    await host.load("a", guest("i32.const 0"))
    after = living("Generation", "RawGuest", "OfficialGuest", "Store", "Module")
    assert after > before
    for _ in range(30):
        assert (await host.manager.reload("a")).ok
    assert living("Generation", "RawGuest", "OfficialGuest", "Store", "Module") == after
