from __future__ import annotations

from pathlib import Path

import pytest

from proxy_core.model.verdict import CONTINUE
from proxy_core.plugin_host.faults import GuestTrapped, ModuleRefused
from proxy_core.plugin_host.files.discovery import Source
from proxy_core.plugin_host.recorded.offline import EPOCH_NS, OfflineHost
from proxy_core.plugin_host.runtime import assemble
from tests.plugin_host.guests import MEMORY, Newcomers, guest, importing, make_flow, wasm
from tests.waiting import until


def source(directory: Path, module: bytes) -> Source:
    path = directory / "it.wasm"
    path.write_bytes(module)
    return Source(path)


CLOCK = guest(
    "(drop (call $log (i32.const 1) (i32.const 0) (i32.wrap_i64 (i64.rem_u (call $now_ns) "
    "(i64.const 7))))) i32.const 0",
    imports=importing("host_now_ns", 0, "i64") + importing("host_log", 3),
)


async def test_the_clock_stands_where_it_is_put(tmp_path: Path) -> None:
    async with OfflineHost(source(tmp_path, CLOCK)) as host:
        assert host.hooks.request is not None
        for now in (EPOCH_NS, 12, 13):
            host.now_ns = now
            assert await host.hooks.request(make_flow()) is CONTINUE
            assert [len(line.text) for line in host.take_lines()] == [now % 7]


async def test_two_hosts_have_clocks_of_their_own(tmp_path: Path) -> None:
    async with (
        OfflineHost(source(tmp_path, CLOCK)) as one,
        OfflineHost(source(tmp_path, CLOCK)) as other,
    ):
        one.now_ns, other.now_ns = 1, 2
        for host, length in ((one, 1), (other, 2)):
            assert host.hooks.request is not None
            await host.hooks.request(make_flow())
            assert [len(line.text) for line in host.take_lines()] == [length]


async def test_a_trap_gives_a_fresh_instance_and_no_quarantine(tmp_path: Path) -> None:
    async with OfflineHost(source(tmp_path, guest("unreachable"))) as host:
        assert host.hooks.request is not None
        for count in range(1, 11):
            await host.hooks.request(make_flow())
            assert (host.failures, host.plugin.profile.traps) == (count, count)


async def test_a_plugin_that_traps_at_its_start_leaves_nothing_behind(tmp_path: Path) -> None:
    hook = '(func (export "on_request") (result i32) i32.const 0)'
    module = wasm(f"(module {MEMORY} {hook} (func $s unreachable) (start $s))")
    guests = Newcomers("RawGuest", "GuestBeside", "OfficialGuest")
    host = OfflineHost(source(tmp_path, module))
    with pytest.raises(GuestTrapped):
        await host.__aenter__()
    # The loop and the worker hold the failure until their next turn.
    await until(lambda: guests.count() == 0)


def test_text_is_assembled_or_refused_with_its_place() -> None:
    assert assemble("(module)") == b"\0asm\1\0\0\0"
    with pytest.raises(ModuleRefused, match="at line 2:"):
        assemble("(module\n  (fun))")


async def test_filters_of_other_abis_have_the_same_clock_and_chance(tmp_path: Path) -> None:
    tell = """(drop (call $time (i32.const 0) (i64.const 0) (i32.const 64)))
        (drop (call $random (i32.const 72) (i32.const 8)))
        (drop (call $log (i32.const 2) (i32.const 64) (i32.const 16))) (i32.const 0)"""
    module = wasm(
        f"""(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (import "wasi_unstable" "clock_time_get"
          (func $time (param i32 i64 i32) (result i32)))
        (import "wasi_unstable" "random_get" (func $random (param i32 i32) (result i32)))
        {MEMORY} (func (export "proxy_abi_version_0_2_0"))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {tell}))"""
    )
    told = []
    for _ in range(2):
        async with OfflineHost(source(tmp_path, module)) as host:
            assert host.hooks.request is not None
            host.now_ns = 0x4141414141414141
            await host.hooks.request(make_flow())
            told += [line.text for line in host.take_lines()]
    assert told[0] == told[1]
    assert told[0].startswith("AAAAAAAA")
