"""Both engines run guests alike: results, limits, failures, memory."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import wasmtime

from proxy_core.plugin_host.abi import agree
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import (
    DeadlineExceeded,
    GuestAborted,
    GuestTrapped,
    ModuleRefused,
    OutOfFuel,
)
from proxy_core.plugin_host.files.manifest import GuestLimits, Manifest
from proxy_core.plugin_host.files.module_file import has_start
from proxy_core.plugin_host.functions.host_functions import HOST_FUNCTIONS
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide
from proxy_core.plugin_host.guest import Engine, Guest
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.logs import StartLog
from proxy_core.plugin_host.runtime.beside import BesideEngine
from proxy_core.plugin_host.runtime.guest_store import GuestStore
from proxy_core.plugin_host.runtime.official import OfficialEngine
from proxy_core.plugin_host.runtime.raw import RawEngine
from tests.plugin_host.guests import LOG, MEMORY, wasm
from tests.waiting import until

LIMITS = GuestLimits()
PATIENT = GuestLimits(fuel=10**11, deadline_ms=60)
ENDLESS = GuestLimits(fuel=10**15, deadline_ms=600_000)
SPIN = "(loop (br 0))"


@pytest.fixture(
    params=[RawEngine, BesideEngine, OfficialEngine], ids=["slices", "beside", "threads"]
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made: Engine = request.param()
    yield made
    made.close()


def instance(
    engine: Engine,
    text: str,
    limits: GuestLimits = LIMITS,
    functions: Mapping[str, HostFunction] = HOST_FUNCTIONS,
) -> Guest:
    """An instance of a module that is still loading."""
    data = wasm(text)
    code = engine.compile(data)
    contract = replace(agree(code.imports, code.exports, functions), starts=has_start(data))
    call = HookCall(Hook.START, Manifest("p", "p.wasm"), StartLog(1000))
    return engine.instantiate(code, contract, limits, call)


def loaded(
    engine: Engine,
    text: str,
    limits: GuestLimits = LIMITS,
    functions: Mapping[str, HostFunction] = HOST_FUNCTIONS,
) -> Guest:
    """An instance that is ready for hooks."""
    guest = instance(engine, text, limits, functions)
    guest.settle()
    return guest


def module(body: str, more: str = "") -> str:
    return f'(module {more} {MEMORY} (func (export "on_request") (result i32) {body}))'


async def enter(guest: Guest, entry: str = "on_request") -> int:
    code = guest.begin(entry)
    return await guest.finish() if code is None else code


@pytest.mark.parametrize("value", [0, 1, 4, -1, 2**31 - 1, -(2**31)])
async def test_a_hook_returns_a_signed_number(engine: Engine, value: int) -> None:
    guest = loaded(engine, module(f"i32.const {value}"))
    assert await enter(guest) == value
    guest.close()


async def test_globals_live_on_between_calls(engine: Engine) -> None:
    guest = loaded(
        engine,
        module(
            "(global.set $n (i32.add (global.get $n) (i32.const 1))) global.get $n",
            "(global $n (mut i32) (i32.const 0))",
        ),
    )
    assert [await enter(guest) for _ in range(3)] == [1, 2, 3]
    guest.close()


async def test_two_instances_share_nothing(engine: Engine) -> None:
    text = module(
        "(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))"
        " (i32.load (i32.const 0))"
    )
    one, other = loaded(engine, text), loaded(engine, text)
    assert [await enter(one), await enter(one), await enter(other)] == [1, 2, 1]
    one.close()
    other.close()


async def test_host_functions_get_unsigned_numbers_of_both_widths(engine: Engine) -> None:
    seen: list[tuple[int, ...]] = []

    def take(host: HostSide, *numbers: int) -> int:
        seen.append(numbers)
        return -2

    functions = {
        "host_take": HostFunction("host_take", 0, ("i32", "i64", "i32"), "i64", take),
        "host_none": HostFunction("host_none", 0, (), "i32", take),
    }
    guest = loaded(
        engine,
        module(
            "(i32.wrap_i64 (call $take (i32.const -1) (i64.const -1) (i32.const 7)))"
            " (call $none) drop",
            '(import "env" "host_take" (func $take (param i32 i64 i32) (result i64)))'
            '(import "env" "host_none" (func $none (result i32)))',
        ),
        functions=functions,
    )
    assert await enter(guest) == -2
    assert seen == [(2**32 - 1, 2**64 - 1, 7), ()]
    guest.close()


async def test_memory_that_grew_is_seen_by_host_functions(engine: Engine) -> None:
    guest = loaded(
        engine,
        module(
            "(drop (memory.grow (i32.const 1)))"
            " (i32.store8 (i32.const 131071) (i32.const 65))"
            " (call $log (i32.const 1) (i32.const 131071) (i32.const 1)) i32.const 0",
            LOG,
        ),
    )
    assert await enter(guest) == 0
    assert guest.host.memory.pages() == 2
    assert guest.host.memory.read(131071, 1) == b"A"
    assert guest.host.memory.read(131071, 2) is None
    guest.close()


async def test_fuel_is_counted_and_new_for_each_entry(engine: Engine) -> None:
    count = "(local $n i32) (local.set $n (i32.const 30000))"
    down = "(loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
    guest = loaded(engine, module(f"{count} {down} i32.const 0"), GuestLimits(fuel=200_000))
    used = []
    for _ in range(5):
        assert await enter(guest) == 0
        used.append(guest.fuel_used)
    assert 100_000 < used[0] < 200_000
    assert len(set(used)) == 1
    assert guest.seconds > 0
    guest.close()


async def test_a_hook_that_spins_runs_out_of_fuel(engine: Engine) -> None:
    guest = loaded(engine, module(f"{SPIN} i32.const 0"))
    with pytest.raises(OutOfFuel, match="its fuel of 1000000 units"):
        await enter(guest)
    assert guest.fuel_used == 1_000_000
    guest.close()


async def test_a_hook_with_much_fuel_meets_its_deadline_while_the_loop_goes_on(
    engine: Engine,
) -> None:
    guest = loaded(engine, module(f"{SPIN} i32.const 0"), PATIENT)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        counting = group.create_task(count())
        with pytest.raises(DeadlineExceeded, match="within 60 ms"):
            await enter(guest)
        counting.cancel()
    assert turns > 10
    guest.close()


async def test_a_storm_of_host_calls_meets_the_deadline(engine: Engine) -> None:
    text = module(
        "(loop (drop (call $size)) (br 0)) i32.const 0",
        '(import "env" "host_get_memory_size" (func $size (result i32)))',
    )
    guest = loaded(engine, text, PATIENT)
    with pytest.raises(DeadlineExceeded):
        await enter(guest)
    guest.close()


async def test_filling_memory_is_paid_for(engine: Engine) -> None:
    fill = "(memory.fill (i32.const 0) (i32.const 0) (i32.const 65536))"
    guest = loaded(engine, module(f"(loop {fill} (br 0)) i32.const 0"))
    with pytest.raises(OutOfFuel):
        await enter(guest)
    guest.close()


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        (
            module("i32.const 0", f"(func $s {SPIN}) (start $s)"),
            "",
        ),
        (module("i32.const 0", f'(func (export "_initialize") {SPIN})'), "_initialize"),
        (
            module("i32.const 0", f'(func (export "plugin_init") (result i32) {SPIN} i32.const 0)'),
            "plugin_init",
        ),
    ],
    ids=["start", "_initialize", "plugin_init"],
)
@pytest.mark.parametrize("limits", [GuestLimits(fuel=1000), PATIENT], ids=["fuel", "deadline"])
def test_loading_is_bounded_too(engine: Engine, text: str, entry: str, limits: GuestLimits) -> None:
    expected = OutOfFuel if limits.fuel == 1000 else DeadlineExceeded
    if not entry:
        with pytest.raises(expected):
            instance(engine, text, limits)
        return
    guest = instance(engine, text, limits)
    with pytest.raises(expected):
        guest.run(entry)
    guest.close()


def test_a_start_function_hands_over_memory(engine: Engine) -> None:
    log = f'{LOG} (data (i32.const 65533) "one")'
    start = """(func $s (call $log (i32.const 1) (i32.const 65533) (i32.const 3))
        (drop (memory.grow (i32.const 1)))
        (i32.store8 (i32.const 65536) (i32.const 33))
        (call $log (i32.const 1) (i32.const 65533) (i32.const 4))
        (call $log (i32.const 1) (i32.const 131072) (i32.const 1))) (start $s)"""
    hook = '(func (export "on_request") (result i32) i32.const 0)'
    guest = instance(engine, f"(module {log} {MEMORY} {hook} {start})")
    journal = guest.host.call.journal
    assert isinstance(journal, StartLog)
    texts = [text for _, text, _ in journal.lines]
    assert texts == ["one", "one!", "host_log: 1 byte at 131072 outside its memory"]
    guest.close()


def test_loading_has_a_thousand_times_the_fuel_in_all(engine: Engine) -> None:
    down = "(loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
    init = (
        '(func (export "plugin_init") (result i32) (local $n i32)'
        f" (local.set $n (i32.const 130000)) {down} i32.const 5)"
    )
    guest = instance(engine, module("i32.const 0", init), GuestLimits(fuel=1000))
    assert guest.run("plugin_init") == 5
    with pytest.raises(OutOfFuel, match="its fuel of 1000000 units"):
        guest.run("plugin_init")
    guest.close()


@pytest.mark.parametrize(
    ("body", "more", "why"),
    [
        ("unreachable", "", "executed 'unreachable'"),
        ("(i32.div_s (i32.const 1) (i32.const 0))", "", "divided by zero"),
        ("(i32.div_s (i32.const 0x80000000) (i32.const -1))", "", "overflowed an integer"),
        ("(i32.load (i32.const 65536))", "", "memory out of bounds"),
        ("(i32.load (i32.const -1))", "", "memory out of bounds"),
        (
            "(memory.fill (i32.const 1) (i32.const 0) (i32.const 65536)) i32.const 0",
            "",
            "memory out of bounds",
        ),
        (
            "(call_indirect (result i32) (i32.const 0))",
            "(table 1 funcref)",
            "called a null function",
        ),
        ("(call_indirect (result i32) (i32.const 9))", "(table 1 funcref)", "table out of bounds"),
        (
            "(call_indirect (result i32) (i32.const 0))",
            "(table funcref (elem $v)) (func $v)",
            "wrong type",
        ),
        ("(i32.trunc_f32_s (f32.const nan))", "", "cannot hold it"),
        ("call $deep i32.const 0", "(func $deep call $deep call $deep)", "overflowed its stack"),
    ],
)
async def test_traps_say_what_happened(engine: Engine, body: str, more: str, why: str) -> None:
    guest = loaded(engine, module(body, more))
    with pytest.raises(GuestTrapped, match=why):
        await enter(guest)
    guest.close()


async def test_a_trap_names_the_function_where_it_has_a_name(engine: Engine) -> None:
    guest = loaded(engine, module("call $culprit i32.const 0", "(func $culprit unreachable)"))
    with pytest.raises(GuestTrapped, match=r"in function culprit$"):
        await enter(guest)
    guest.close()


async def test_an_abort_ends_the_call_with_its_message(engine: Engine) -> None:
    guest = loaded(
        engine,
        module(
            "(call $abort (i32.const 0) (i32.const 2)) i32.const 0",
            '(import "env" "host_abort" (func $abort (param i32 i32))) (data (i32.const 0) "no")',
        ),
    )
    with pytest.raises(GuestAborted, match="aborted: no"):
        await enter(guest)
    guest.close()


async def test_each_guest_gets_its_own_host_failure(engine: Engine) -> None:
    def fail(host: HostSide) -> int:
        raise GuestAborted(str(host.memory.read(0, 3)))

    functions = {"host_fail": HostFunction("host_fail", 0, (), "i32", fail)}
    imports = '(import "env" "host_fail" (func $fail))'
    one = loaded(
        engine,
        module("call $fail i32.const 0", f'{imports} (data (i32.const 0) "one")'),
        functions=functions,
    )
    two = loaded(
        engine,
        module("call $fail i32.const 0", f'{imports} (data (i32.const 0) "two")'),
        functions=functions,
    )
    answers = await asyncio.gather(enter(one), enter(two), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["b'one'", "b'two'"]
    one.close()
    two.close()


async def test_a_fault_of_ours_in_a_host_function_is_not_swallowed(engine: Engine) -> None:
    def break_down(host: HostSide) -> int:
        raise LookupError("ours")

    functions = {"host_fail": HostFunction("host_fail", 0, (), "i32", break_down)}
    text = module("call $fail i32.const 0", '(import "env" "host_fail" (func $fail))')
    guest = loaded(engine, text, functions=functions)
    with pytest.raises(LookupError, match="ours"):
        await enter(guest)
    guest.close()


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (module("i32.const 0").replace('"memory") 1)', '"memory") 161)'), "limits.memory_mb"),
        (
            '(module (table 100001 funcref) (func (export "on_request") (result i32) i32.const 0))',
            "",
        ),
        (
            "(module "
            + "(table 1 funcref)" * 9
            + ' (func (export "on_request") (result i32) i32.const 0))',
            "",
        ),
    ],
    ids=["memory", "table", "tables"],
)
def test_a_module_that_wants_more_than_its_limits_is_refused(
    engine: Engine, text: str, remedy: str
) -> None:
    with pytest.raises(ModuleRefused, match="cannot be instantiated") as told:
        instance(engine, text)
    assert remedy in str(told.value)


async def test_growing_beyond_the_limits_fails_without_a_trap(engine: Engine) -> None:
    guest = loaded(
        engine,
        module(
            "(i32.add (memory.grow (i32.const 159)) (i32.add (memory.grow (i32.const 1))"
            " (table.grow $t (ref.null func) (i32.const 100000))))",
            "(table $t 1 funcref)",
        ),
    )
    assert await enter(guest) == 1 - 1 - 1
    assert guest.host.memory.pages() == 160
    guest.close()


@pytest.mark.parametrize(
    "more",
    [
        "(table $t i64 1 funcref)",
        "(type $a (array (mut i32)))",
        "(func (drop (i32.atomic.load (i32.const 0))))",
        "(tag $e)",
    ],
    ids=["64-bit table", "garbage collection", "threads", "exceptions"],
)
def test_features_that_escape_the_limits_are_not_there(engine: Engine, more: str) -> None:
    with pytest.raises(ModuleRefused, match="not a valid module"):
        engine.compile(wasm(module("i32.const 0", more)))


@pytest.mark.parametrize("starts", [False, True], ids=["with a desk", "without"])
def test_an_instance_has_one_memory(engine: Engine, starts: bool) -> None:
    more = '(memory (export "memory2") 1)' + ("(func $s) (start $s)" if starts else "")
    with pytest.raises(ModuleRefused, match="memory count too high"):
        instance(engine, module("i32.const 0", more))


def test_code_that_does_not_validate_is_refused(engine: Engine) -> None:
    good = wasm(module("i32.const 0"))
    with pytest.raises(ModuleRefused, match="not a valid module"):
        engine.compile(good[:-3])
    with pytest.raises(ModuleRefused, match="not a valid module"):
        engine.compile(good.replace(b"\x41\x00\x0b", b"\x41\x00\x1a"))


async def test_a_data_segment_outside_memory_traps_while_loading(engine: Engine) -> None:
    with pytest.raises(GuestTrapped, match="memory out of bounds"):
        instance(engine, module("i32.const 0", '(data (i32.const 65535) "xx")'))


async def test_a_cancelled_call_leaves_the_engine_in_order(engine: Engine) -> None:
    guest = loaded(engine, module(f"{SPIN} i32.const 0"), PATIENT)
    async with asyncio.TaskGroup() as group:
        entering = group.create_task(enter(guest))
        for _ in range(3):
            await asyncio.sleep(0)
        entering.cancel()
    assert entering.cancelled()
    guest.close()
    other = loaded(engine, module("i32.const 3"))
    assert await enter(other) == 3
    other.close()


async def test_closing_twice_does_no_harm(engine: Engine) -> None:
    guest = loaded(engine, module("i32.const 0"))
    guest.close()
    guest.close()
    assert guest.host.memory.read(0, 1) is None
    assert guest.host.memory.pages() == 0


@pytest.fixture
def freed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Guest], list[str]]:
    """Tells the threads that gave a guest's store back."""
    told: list[tuple[object, str]] = []
    delete = wasmtime.Store._delete

    def note(store: wasmtime.Store, pointer: Any) -> None:
        told.append((store, threading.current_thread().name))
        delete(store, pointer)

    def of(guest: Guest) -> list[str]:
        theirs: Any = guest._store  # type: ignore[attr-defined]
        if isinstance(theirs, GuestStore):
            theirs = theirs._store
        return [thread for store, thread in told if store is theirs]

    monkeypatch.setattr(wasmtime.Store, "_delete", note)
    return of


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("kind", [BesideEngine, OfficialEngine], ids=["beside", "threads"])
async def test_memory_is_given_back_on_a_thread(
    kind: Callable[[], Engine], freed: Callable[[Guest], list[str]], called: bool
) -> None:
    with contextlib.closing(kind()) as engine:
        guest = loaded(engine, module("i32.const 0"))
        if called:
            await enter(guest)
        guest.close()
        guest.close()
        assert guest.host.memory.pages() == 0
        await until(lambda: bool(freed(guest)))
    assert [thread.startswith("plugin-guest") for thread in freed(guest)] == [True]


async def test_memory_is_given_back_though_the_engine_is_closed_before_its_turn(
    freed: Callable[[Guest], list[str]],
) -> None:
    engine = OfficialEngine()
    with contextlib.closing(engine):
        other = loaded(engine, module("i32.const 0"))
        guest = loaded(engine, module(f"{SPIN} i32.const 0"), ENDLESS)
        guest.begin("on_request")
        await until(lambda: engine.watchdog._inside is guest)
        other.close()
        assert not freed(other)
    assert len(freed(other)) == 1
    with pytest.raises(DeadlineExceeded):
        await guest.finish()
    guest.close()
    assert len(freed(guest)) == 1


async def test_a_guest_inside_is_cut_short_when_it_is_closed(engine: Engine) -> None:
    guest = loaded(engine, module(f"{SPIN} i32.const 0"), ENDLESS)
    async with asyncio.TaskGroup() as group:
        entering = group.create_task(enter(guest))
        await asyncio.sleep(0.05)
        entering.cancel()
    guest.close()
    other = loaded(engine, module("i32.const 3"))
    assert await enter(other) == 3
    other.close()


async def test_a_guest_that_awaits_an_answer_is_cut_short_when_it_is_closed(
    engine: Engine,
) -> None:
    begun = asyncio.Event()

    async def answer() -> int:
        begun.set()
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await never

    def ask(_: HostSide) -> Coroutine[object, object, int]:
        return answer()

    functions = {"ask": HostFunction("ask", 0, (), "i32", ask, waits=True)}
    text = f"""(module (import "env" "ask" (func $ask (result i32))) {MEMORY}
        (func (export "on_request") (result i32) (call $ask)))"""
    guest = loaded(engine, text, ENDLESS, functions)
    async with asyncio.TaskGroup() as group:
        entering = group.create_task(enter(guest))
        await begun.wait()
        entering.cancel()
    guest.close()
    other = loaded(engine, module("i32.const 3"))
    assert await enter(other) == 3
    other.close()


def test_a_guest_that_goes_inside_when_its_engine_is_closed_is_cut_short() -> None:
    engine = OfficialEngine()
    limits = GuestLimits(fuel=10**9, deadline_ms=600_000)
    guest = loaded(engine, module(f"{SPIN} i32.const 0"), limits)
    engine.close()
    with pytest.raises(DeadlineExceeded):
        guest.run("on_request")
    guest.close()


async def test_a_closed_engine_leaves_no_guest_and_no_thread_behind() -> None:
    engine = OfficialEngine()
    before = threading.active_count()
    guest = loaded(engine, module(f"{SPIN} i32.const 0"), ENDLESS)
    assert guest.begin("on_request") is None
    running = asyncio.get_running_loop().create_task(guest.finish())
    await asyncio.sleep(0.02)
    assert threading.active_count() == before + 1
    engine.close()
    with pytest.raises(DeadlineExceeded):
        await running
    guest.close()
    await until(lambda: threading.active_count() == before - 1)
