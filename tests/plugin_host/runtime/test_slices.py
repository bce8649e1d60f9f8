"""What only the fast engine does: short hooks at once, long ones in slices."""

from __future__ import annotations

import asyncio

import pytest

from proxy_core.plugin_host.faults import DeadlineExceeded, OutOfFuel, SliceOverrun
from proxy_core.plugin_host.files.manifest import GuestLimits
from proxy_core.plugin_host.runtime.raw import RawEngine
from tests.plugin_host.runtime.test_engines import instance, loaded, module

SIZE = '(import "env" "host_get_memory_size" (func $size (result i32)))'


def counting(times: int, body: str = "") -> str:
    """A hook that runs `body` so many times and returns 6."""
    return module(
        f"(local $n i32) (local.set $n (i32.const {times})) (loop {body}"
        " (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) i32.const 6",
        SIZE,
    )


def test_a_short_hook_needs_no_loop() -> None:
    guest = loaded(RawEngine(), counting(100))
    assert guest.begin("on_request") == 6
    guest.close()


async def test_a_long_hook_gives_the_loop_its_turns() -> None:
    guest = loaded(RawEngine(), counting(150_000))
    assert guest.begin("on_request") is None
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        counter = group.create_task(count())
        assert await guest.finish() == 6
        counter.cancel()
    assert turns >= 5
    assert 600_000 < guest.fuel_used < 1_000_000
    guest.close()


async def test_host_calls_that_take_long_make_the_guest_yield() -> None:
    # 20,000 host calls burn less fuel than one slice has, and much more time.
    guest = loaded(RawEngine(), counting(14_000, "(drop (call $size))"))
    assert guest.begin("on_request") is None
    assert await guest.finish() == 6
    assert guest.fuel_used < 200_000
    # The next entry has slices of the usual size again.
    assert guest.begin("on_request") is None
    assert await guest.finish() == 6
    guest.close()


async def test_a_slice_that_was_cut_short_does_not_shorten_the_next_call() -> None:
    text = counting(14_000, "(drop (call $size))").replace(
        "i32.const 6)",
        'i32.const 6) (func (export "on_response") (result i32) (local $n i32)'
        " (local.set $n (i32.const 15000)) (loop (br_if 0 (local.tee $n"
        " (i32.sub (local.get $n) (i32.const 1))))) i32.const 8)",
    )
    guest = loaded(RawEngine(), text)
    assert guest.begin("on_request") is None
    assert await guest.finish() == 6
    assert guest.begin("on_response") == 8
    guest.close()


def test_host_calls_in_a_row_that_nothing_can_interrupt_are_stopped() -> None:
    row = "(drop (call $size))" * 20_000
    guest = loaded(RawEngine(), module(f"{row} i32.const 0", SIZE))
    with pytest.raises(SliceOverrun, match="called the host too often"):
        guest.begin("on_request")
    guest.close()


def test_host_calls_in_a_row_meet_the_deadline_while_loading() -> None:
    row = "(drop (call $size))" * 20_000
    text = module("i32.const 0", f"{SIZE} (func $s {row}) (start $s)")
    with pytest.raises(DeadlineExceeded):
        instance(RawEngine(), text, GuestLimits(deadline_ms=1))


def test_a_few_host_calls_in_a_row_are_fine() -> None:
    row = "(drop (call $size))" * 200
    guest = loaded(RawEngine(), module(f"{row} i32.const 0", SIZE))
    assert guest.begin("on_request") == 0
    guest.close()


async def test_fuel_is_exact_over_slices() -> None:
    guest = loaded(RawEngine(), counting(1_000_000), GuestLimits(fuel=350_001))
    assert guest.begin("on_request") is None
    with pytest.raises(OutOfFuel, match="350001"):
        await guest.finish()
    assert guest.fuel_used == 350_001
    guest.close()


async def test_finish_without_begin_is_a_fault_of_ours() -> None:
    guest = loaded(RawEngine(), counting(1))
    with pytest.raises(RuntimeError, match="without an unfinished begin"):
        await guest.finish()
    guest.close()
