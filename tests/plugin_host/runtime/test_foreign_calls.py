"""What ABIs other than ours ask of an engine: arguments, calls back, answers that take time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, Final

import pytest

from proxy_core.plugin_host.abi import Contract, Import, Signature
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import (
    DeadlineExceeded,
    GuestAborted,
    GuestFailure,
    GuestTrapped,
    SliceOverrun,
)
from proxy_core.plugin_host.files.manifest import GuestLimits, Manifest
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide, ValueType
from proxy_core.plugin_host.guest import Engine, Guest
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.logs import StartLog
from proxy_core.plugin_host.runtime.beside import BesideEngine
from proxy_core.plugin_host.runtime.official import OfficialEngine
from proxy_core.plugin_host.runtime.raw import RawEngine
from tests.plugin_host.guests import MEMORY, wasm

I32: Final[tuple[ValueType, ...]] = ("i32",)
I64: Final[tuple[ValueType, ...]] = ("i64",)
ADD = '(func (export "add") (param i32 i64) (result i64) (i64.add (i64.extend_i32_s (local.get 0)) (local.get 1)))'  # noqa: E501
ROOM = GuestLimits(fuel=10**11)


@pytest.fixture(
    params=[RawEngine, BesideEngine, OfficialEngine], ids=["slices", "beside", "threads"]
)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made: Engine = request.param()
    yield made
    made.close()


def loaded(
    engine: Engine,
    text: str,
    entries: Mapping[str, Signature],
    *functions: HostFunction,
    limits: GuestLimits = ROOM,
) -> Guest:
    imports = tuple(Import(function, function.result is not None) for function in functions)
    contract = Contract(1, imports, entries, frozenset(), (), True)
    call = HookCall(Hook.START, Manifest("p", "p.wasm"), StartLog(100))
    guest = engine.instantiate(engine.compile(wasm(text)), contract, limits, call)
    guest.settle()
    return guest


async def enter(guest: Guest, entry: str, *arguments: int) -> int:
    result = guest.begin(entry, *arguments)
    return await guest.finish() if result is None else result


@pytest.mark.parametrize(("low", "wide"), [(1, 2), (-5, 3), (2**31 - 1, 2**40), (-1, -(2**63))])
async def test_an_export_takes_arguments_of_both_widths(
    engine: Engine, low: int, wide: int
) -> None:
    guest = loaded(engine, f"(module {MEMORY} {ADD})", {"add": (("i32", "i64"), I64)})
    expected = (low + wide + 2**63) % 2**64 - 2**63
    assert await enter(guest, "add", low, wide) == expected
    guest.close()


async def test_imports_come_from_more_than_one_module(engine: Engine) -> None:
    def one(host: HostSide) -> int:
        return 1

    def other(host: HostSide) -> int:
        return 20

    functions = (
        HostFunction("number", 0, (), "i32", one, module="left"),
        HostFunction("number", 0, (), "i32", other, module="right"),
    )
    text = f"""(module (import "left" "number" (func $a (result i32)))
        (import "right" "number" (func $b (result i32))) {MEMORY}
        (func (export "f") (result i32) (i32.add (call $a) (call $b))))"""
    guest = loaded(engine, text, {"f": ((), I32)}, *functions)
    assert await enter(guest, "f") == 21
    guest.close()


NESTED = f"""(module (import "env" "ask" (func $ask (param i32) (result i32))) {MEMORY}
    (global $room (mut i32) (i32.const 1024))
    (func (export "allocate") (param i32) (result i32)
      (global.get $room) (global.set $room (i32.add (global.get $room) (local.get 0))))
    (func (export "trap") (param i32) (result i32) unreachable)
    (func (export "spin") (param i32) (result i32) (loop (br 0)) i32.const 0)
    (func (export "deeper") (param i32) (result i32) (call $ask (local.get 0)))
    (func (export "f") (param i32) (result i32) (call $ask (local.get 0))))"""
NESTED_ENTRIES = dict.fromkeys(["allocate", "trap", "spin", "deeper", "f"], (I32, I32))


async def test_a_host_function_calls_back_into_the_guest(engine: Engine) -> None:
    def ask(host: HostSide, size: int) -> int:
        at = host.enter("allocate", size)
        assert host.memory.write(at, b"x" * size)
        return at

    guest = loaded(engine, NESTED, NESTED_ENTRIES, HostFunction("ask", 0, I32, "i32", ask))
    assert [await enter(guest, "f", 10), await enter(guest, "f", 5)] == [1024, 1034]
    assert guest.host.memory.read(1024, 16) == b"x" * 15 + b"\0"
    guest.close()


async def test_calls_back_nest(engine: Engine) -> None:
    def ask(host: HostSide, depth: int) -> int:
        return host.enter("deeper", depth - 1) + 1 if depth else 0

    guest = loaded(engine, NESTED, NESTED_ENTRIES, HostFunction("ask", 0, I32, "i32", ask))
    assert await enter(guest, "f", 5) == 5
    guest.close()


async def test_calls_back_that_nest_without_end_are_stopped(engine: Engine) -> None:
    def ask(host: HostSide, depth: int) -> int:
        return host.enter("deeper", depth)

    limits = GuestLimits(fuel=10**11, deadline_ms=60_000)
    function = HostFunction("ask", 0, I32, "i32", ask)
    guest = loaded(engine, NESTED, NESTED_ENTRIES, function, limits=limits)
    with pytest.raises(GuestTrapped, match="called itself through the host, 16 times over"):
        await enter(guest, "f", 1)
    guest.close()


async def test_a_trap_in_a_call_back_ends_the_whole_call(engine: Engine) -> None:
    def ask(host: HostSide, size: int) -> int:
        return host.enter("trap", size)

    guest = loaded(engine, NESTED, NESTED_ENTRIES, HostFunction("ask", 0, I32, "i32", ask))
    with pytest.raises(GuestTrapped, match="unreachable"):
        await enter(guest, "f", 1)
    guest.close()


async def test_an_abort_inside_a_call_back_arrives(engine: Engine) -> None:
    def ask(host: HostSide, depth: int) -> int:
        if depth:
            return host.enter("deeper", depth - 1)
        raise GuestAborted("enough")

    guest = loaded(engine, NESTED, NESTED_ENTRIES, HostFunction("ask", 0, I32, "i32", ask))
    with pytest.raises(GuestAborted, match="enough"):
        await enter(guest, "f", 3)
    guest.close()


async def test_a_call_back_that_spins_is_stopped(engine: Engine) -> None:
    def ask(host: HostSide, size: int) -> int:
        return host.enter("spin", size)

    limits = GuestLimits(fuel=10**11, deadline_ms=300)
    function = HostFunction("ask", 0, I32, "i32", ask)
    guest = loaded(engine, NESTED, NESTED_ENTRIES, function, limits=limits)
    with pytest.raises((SliceOverrun, DeadlineExceeded)):
        await enter(guest, "f", 1)
    guest.close()


WAITING = f"""(module (import "env" "fetch" (func $fetch (param i32 i64) (result i64))) {MEMORY}
    (func (export "f") (param i32) (result i64)
      (i64.add (call $fetch (local.get 0) (i64.const 0x100000000)) (i64.const 1))))"""


def waiting(run: Any, limits: GuestLimits = ROOM, engine: Engine | None = None) -> Guest:
    assert engine is not None
    function = HostFunction("fetch", 0, ("i32", "i64"), "i64", run, waits=True)
    return loaded(engine, WAITING, {"f": (I32, I64)}, function, limits=limits)


async def test_a_guest_waits_for_an_answer_while_the_loop_goes_on(engine: Engine) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def fetch(host: HostSide, low: int, wide: int) -> int:
        asked.set()
        await go.wait()
        host.memory.write(8, b"answer")
        return wide + low

    guest = waiting(fetch, engine=engine)
    async with asyncio.TaskGroup() as group:
        call = group.create_task(enter(guest, "f", -1))
        await asked.wait()
        assert not call.done()
        go.set()
        assert await call == 2**32 + 2**32 - 1 + 1
    assert guest.host.memory.read(8, 6) == b"answer"
    guest.close()


async def test_an_answer_may_be_there_at_once(engine: Engine) -> None:
    def fetch(host: HostSide, low: int, wide: int) -> int:
        return -2

    guest = waiting(fetch, engine=engine)
    assert await enter(guest, "f", 0) == -1
    guest.close()


async def test_a_guest_waits_more_than_once(engine: Engine) -> None:
    async def fetch(host: HostSide, low: int, wide: int) -> int:
        await asyncio.sleep(0)
        return low

    guest = waiting(fetch, engine=engine)
    assert [await enter(guest, "f", n) for n in (1, 2, 3)] == [2, 3, 4]
    guest.close()


async def test_waiting_ends_with_the_deadline(engine: Engine) -> None:
    cancelled = asyncio.Event()

    async def fetch(host: HostSide, low: int, wide: int) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return 0

    guest = waiting(fetch, GuestLimits(deadline_ms=50), engine)
    with pytest.raises(DeadlineExceeded, match="50 ms"):
        await enter(guest, "f", 1)
    await cancelled.wait()
    guest.close()


async def test_a_failure_while_waiting_ends_the_call(engine: Engine) -> None:
    async def fetch(host: HostSide, low: int, wide: int) -> int:
        await asyncio.sleep(0)
        raise GuestAborted("no such thing")

    guest = waiting(fetch, engine=engine)
    with pytest.raises(GuestAborted, match="no such thing"):
        await enter(guest, "f", 1)
    guest.close()


async def test_a_call_that_waits_can_be_cancelled() -> None:
    engine = RawEngine()
    asked = asyncio.Event()

    async def fetch(host: HostSide, low: int, wide: int) -> int:
        asked.set()
        await asyncio.Event().wait()
        return 0

    guest = waiting(fetch, engine=engine)
    call: asyncio.Task[int] = asyncio.get_running_loop().create_task(enter(guest, "f", 1))
    await asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    guest.close()


def test_nobody_waits_while_loading(engine: Engine) -> None:
    async def answer() -> int:
        return 0

    def fetch(host: HostSide, low: int, wide: int) -> Coroutine[Any, Any, int]:
        return answer()

    guest = waiting(fetch, engine=engine)
    with pytest.raises(GuestFailure, match="while it was loaded"):
        guest.run("f", 1)
    guest.close()
