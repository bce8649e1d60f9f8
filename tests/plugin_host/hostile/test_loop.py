"""Guests that have time do not take it from others: the loop turns while they do their worst.

What is measured is the processor time of the loop's own thread, in the longest turn of the loop.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import mmap
import time

import pytest

from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from proxy_core.plugin_host.runtime.beside import GuestBeside
from proxy_core.plugin_host.runtime.raw_guest import RawGuest
from tests.plugin_host.foreign.http_wasm.modules import handler
from tests.plugin_host.foreign.proxy_wasm.filters import CONTINUE, filter_of, on
from tests.plugin_host.guests import Host, importing, make_flow, wasm
from tests.plugin_host.hostile.host_calls import (
    ASK,
    KV_GET,
    KV_SET,
    RANDOM,
    RESPOND,
    SET_HEADER,
    data,
)
from tests.plugin_host.hostile.modules import ADD_HEADER, IN_A_HOOK

MIB = 1024 * 1024
MOST_SECONDS = 0.005
"""A guest never keeps the loop for longer."""
NEW_MEMORY_SECONDS = 0.007
"""What `seconds_for_new_memory` is where nothing else runs."""
ATTEMPTS = 3
GENEROUS = (
    "[limits]\nfuel = 1_000_000_000_000\ndeadline_ms = 300\nmemory_mb = 4\nkv_bytes = 100_000_000"
)
GET_BODY = importing("host_get_body", 3)
SET_BODY = importing("host_set_body", 2)
GET_HEADERS = importing("host_get_headers", 2)
GET_HEADER = importing("host_get_header", 4)
LOG = importing("host_log", 3)
SETTING = SET_HEADER + data(b"x")
BAD_VALUE = (
    f"(memory.fill (i32.const 64) (i32.const 97) (i32.const {MIB}))"
    "(i32.store8 (i32.const 60063) (i32.const 1))"
)
MANY_LINES = b"GET http://a/\n" + b"a:b\n" * 5000 + b"x" * MIB
VERSION = '(func (export "int3_abi_version") (result i32) i32.const 1)'


def call(name: str, *numbers: int) -> str:
    return f"(drop (call ${name} {' '.join(f'(i32.const {number})' for number in numbers)}))"


def large(body: str, imports: str = "", pages: int = 64) -> bytes:
    """A module with 4 MiB of memory, or another number of pages, whose hook runs `body`."""
    return wasm(
        f'(module {imports} (memory (export "memory") {pages}) {VERSION}'
        f' (func (export "on_request") (result i32) {body} i32.const 0))'
    )


def endless(body: str, imports: str = "") -> bytes:
    return large(f"(loop {body} (br 0))", imports)


ENDLESSLY = "(loop {} (br 0))"
TOUCH = (
    "(local.set $i (i32.const 0)) (loop $touch (i32.store (local.get $i) (i32.const 1))"
    " (local.set $i (i32.add (local.get $i) (i32.const 4096)))"
    " (br_if $touch (i32.lt_u (local.get $i) (i32.mul (memory.size) (i32.const 65536)))))"
)

BUSY = {
    "loop": endless("nop"),
    "memory fill": endless(f"(memory.fill (i32.const 0) (i32.const 1) (i32.const {4 * MIB}))"),
    "memory copy": endless(f"(memory.copy (i32.const 9) (i32.const 0) (i32.const {4 * MIB - 9}))"),
    "memory fill in a row": large(
        f"(memory.fill (i32.const 0) (i32.const 1) (i32.const {4 * MIB}))" * 2000
    ),
    "memory growth": endless("(drop (memory.grow (i32.const 1)))"),
    "memory growth to its end": large(
        "(local $i i32)" + ENDLESSLY.format("(drop (memory.grow (i32.const 1)))" + TOUCH), pages=1
    ),
    "tables growth": endless(
        "(drop (table.grow $t (ref.null func) (i32.const 99999)))", "(table $t 1 funcref)"
    ),
    "table of elements": endless(
        "(table.init $e (i32.const 0) (i32.const 0) (i32.const 50000))",
        f"(table 100000 funcref) (func $f) (elem $e func {'$f ' * 50_000})",
    ),
    "square roots in a row": large(
        "(local $x f64)"
        + "(local.set $x (f64.sqrt (f64.div (local.get $x) (local.get $x))))" * 50_000
    ),
    "branches by a table": endless("(block (br_table " + "0 " * 50_000 + "(i32.const 7)))"),
    "table fill": endless(
        "(table.fill $t (i32.const 0) (ref.null func) (i32.const 100000))",
        "(table $t 100000 funcref)",
    ),
    "table copy": endless(
        "(table.copy (i32.const 0) (i32.const 1) (i32.const 99999))", "(table 100000 funcref)"
    ),
    "all headers": endless(call("get_headers", 0, 3 * MIB), GET_HEADERS),
    "long header name": endless(call("get_header", 0, 65536, 0, 9), GET_HEADER),
    "header lines": endless(call("add_header", 0, 9, 0, 9), ADD_HEADER),
    "3 MiB written": endless(call("set_body", 0, 3 * MIB), SET_BODY),
    "3 MiB read": endless(call("get_body", 0, 0, 3 * MIB), GET_BODY),
    "3 MiB written in a row": large(call("set_body", 0, 3 * MIB) * 2000, SET_BODY),
    "response of 3 MiB": endless(call("respond", 200, 0, 0, 0, 3 * MIB), RESPOND),
    "log lines of 1 MiB": endless(call("log", 1, 0, MIB), LOG),
    "state of 1 MiB": endless(call("kv_set", 0, 1, 0, MIB - 100), KV_SET),
    "random bytes in a row": large(call("random", 0, 65536) * 2000, RANDOM),
    "header values that end badly": endless(
        BAD_VALUE + call("set_header", 0, 1, 64, 60000), SETTING
    ),
    "header names that end badly": large(
        BAD_VALUE + call("set_header", 64, 60000, 0, 1) * 2000, SETTING
    ),
    "state read in a row": large(
        call("kv_set", 0, 1, 0, MIB - 100) + call("kv_get", 0, 1, 0, MIB) * 2000, KV_SET + KV_GET
    ),
    "new values": endless(
        "(i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))"
        + call("kv_set", 8, 4, 0, MIB - 100),
        KV_SET,
    ),
    "log lines that are no text, in a row": large(
        f"(memory.fill (i32.const 0) (i32.const 255) (i32.const {MIB}))"
        + call("log", 1, 0, MIB) * 2000,
        LOG,
    ),
    "requests of many lines": endless(call("http_request", 0, MIB, 0, 0), ASK + data(MANY_LINES)),
    "random bytes": endless(call("random", 0, 65536), RANDOM),
}


def laden_flow() -> Flow:
    """A flow with 100 KB of headers and 16 MB of body."""
    fields = [(b"x-%d" % number, b"v" * 1000) for number in range(100)]
    flow = make_flow(fields, method=b"POST")
    flow.whole = WholeBody(b"b" * 16_000_000)
    return flow


async def longest_turn(host: Host, flow: Flow) -> float:
    """Send a flow through a host; the most processor time between two turns of the loop."""
    longest = last = 0.0

    async def turn() -> None:
        nonlocal longest, last
        while True:
            now = time.thread_time()
            longest, last = max(longest, now - last), now
            await asyncio.sleep(0)

    gc.collect()  # which takes longer than any guest, and is nobody's fault
    gc.disable()
    try:
        async with asyncio.TaskGroup() as group:
            last = time.thread_time()
            turning = group.create_task(turn())
            await asyncio.sleep(0)
            await host.request(flow)
            await asyncio.sleep(0)
            turning.cancel()
    finally:
        gc.enable()
    return longest


async def assert_the_loop_turns(host: Host) -> None:
    """Whatever else delays a turn, one that a guest is to blame for is late each time."""
    late = []
    for _ in range(ATTEMPTS):
        for plugin in host.manager._plugins.values():
            plugin.standing.health.forget()
        longest = await longest_turn(host, laden_flow())
        allowed = MOST_SECONDS * max(1.0, seconds_for_new_memory() / NEW_MEMORY_SECONDS)
        if longest < allowed:
            return
        late.append(f"{longest * 1000:.1f} ms of {allowed * 1000:.1f}")
    raise AssertionError(f"a turn of the loop took {', '.join(late)}")


def seconds_for_new_memory() -> float:
    """How much processor time the system takes now to give 10 MiB to a process.

    That is what most of a long turn goes into, and programs beside this one make it dearer.
    """
    with mmap.mmap(-1, 10 * MIB) as memory:
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        began = time.thread_time()
        ctypes.memset(address, 1, 10 * MIB)
        return time.thread_time() - began


@pytest.mark.parametrize("name", BUSY)
async def test_the_loop_turns_while_a_guest_is_busy(host: Host, name: str) -> None:
    await host.load("busy", BUSY[name], GENEROUS)
    await assert_the_loop_turns(host)


@pytest.mark.parametrize("name", IN_A_HOOK)
async def test_the_loop_turns_while_a_module_is_hostile(host: Host, name: str) -> None:
    hostile = IN_A_HOOK[name]
    await host.load("hostile", hostile.module, hostile.manifest)
    await assert_the_loop_turns(host)


@pytest.mark.parametrize(
    "body",
    [
        f"(memory.fill (i32.const 0) (i32.const 1) (i32.const {4_000_000}))",
        f"(local $i i32) {TOUCH}",
    ],
)
async def test_the_loop_turns_while_a_guest_touches_new_memory(host: Host, body: str) -> None:
    await host.load("busy", large(f"{body} unreachable", pages=96), "[limits]\nfuel = 4_100_000")
    generation = host.manager._plugins["busy"].generation
    assert generation is not None
    assert isinstance(generation.idle[0], RawGuest)
    await assert_the_loop_turns(host)


async def test_limits_that_let_one_instruction_take_long_put_a_plugin_beside_the_loop(
    host: Host,
) -> None:
    fill = f"(memory.fill (i32.const 0) (i32.const 1) (i32.const {250 * MIB}))" * 4
    limits = "[limits]\nfuel = 10_000_000_000\nmemory_mb = 256"
    await host.load("large", large(fill, pages=4096), limits)
    await host.load("small", large("", pages=64), "[limits]\nfuel = 10_000_000_000\nmemory_mb = 4")
    await host.load("brief", large("", pages=160), "[limits]\nfuel = 4_000_000\nmemory_mb = 10")
    await host.load("wide", large("", pages=160), "[limits]\nmemory_mb = 11")
    generations = {plugin.name: plugin.generation for plugin in host.manager._plugins.values()}
    beside = {
        name
        for name, generation in generations.items()
        if generation is not None and isinstance(generation.idle[0], GuestBeside)
    }
    assert beside == {"large", "wide"}
    await assert_the_loop_turns(host)
    assert host.status("large").last_error is None


FILLING = f"(memory.fill (i32.const 0) (i32.const 1) (i32.const {90 * MIB})) unreachable"
FOREIGN = {
    "Proxy-Wasm": filter_of(on("request_headers", 3, FILLING), pages=1500),
    "http-wasm": handler(request=FILLING, pages=1500),
}


@pytest.mark.parametrize("abi", FOREIGN)
async def test_the_loop_turns_while_a_filter_uses_what_it_has_by_default(
    host: Host, abi: str
) -> None:
    await host.load("filter", FOREIGN[abi])
    await assert_the_loop_turns(host)


WRITE_IT_ALL = (
    f"(local $i i32) (loop $next (call $write_body (i32.const 0) (i32.const 0) (i32.const {MIB}))"
    " (local.set $i (i32.add (local.get $i) (i32.const 1)))"
    " (br_if $next (i32.lt_u (local.get $i) (i32.const 16))))"
)
PASSING = {
    "Proxy-Wasm": filter_of(on("request_body", 3, CONTINUE)),
    "http-wasm": handler("write_body", request=WRITE_IT_ALL, pages=20),
}


@pytest.mark.parametrize("abi", PASSING)
@pytest.mark.parametrize("limits", ["", "[limits]\nmemory_mb = 4"])
async def test_the_loop_turns_while_a_filter_has_16_mib(host: Host, abi: str, limits: str) -> None:
    await host.load("filter", PASSING[abi], limits)
    await assert_the_loop_turns(host)
    assert host.status("filter").last_error is None
    assert host.status("filter").calls


@pytest.mark.parametrize(
    ("limits", "place"),
    [
        ("", GuestBeside),
        ("fuel = 1_000_000", GuestBeside),
        ("memory_mb = 10", GuestBeside),
        ("memory_mb = 4", RawGuest),
        ("memory_mb = 10\nfuel = 1_000_000", RawGuest),
    ],
)
async def test_a_filter_runs_where_the_limits_that_it_gets_allow(
    host: Host, limits: str, place: type[RawGuest]
) -> None:
    await host.load("filter", filter_of(), f"[limits]\n{limits}")
    generation = host.manager._plugins["filter"].generation
    assert generation is not None
    assert type(generation.idle[0]) is place
