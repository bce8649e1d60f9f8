from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy_core.net import clock as clock_module
from proxy_core.net.clock import NEVER, Clock


class Item:
    def __init__(self, deadline: float, and_then: Callable[[], None] | None = None) -> None:
        self.deadline = deadline
        self.expired = 0
        self._and_then = and_then

    def expire(self) -> None:
        self.expired += 1
        if self._and_then is not None:
            self._and_then()


def test_item_expires_once_when_its_deadline_has_passed(clock: Clock) -> None:
    item = Item(10.0)
    clock.watch(item)
    clock.sweep(10.0)
    assert item.expired == 0
    clock.sweep(10.1)
    clock.sweep(20.0)
    assert item.expired == 1
    assert item.deadline == NEVER
    assert clock.now == 20.0


def test_new_deadline_after_the_first_counts_again(clock: Clock) -> None:
    item = Item(1.0)
    clock.watch(item)
    clock.sweep(2.0)
    item.deadline = 3.0
    clock.sweep(4.0)
    assert item.expired == 2


def test_deadline_moved_on_in_time_does_not_expire(clock: Clock) -> None:
    item = Item(5.0)
    clock.watch(item)
    clock.sweep(4.0)
    item.deadline = 9.0
    clock.sweep(8.0)
    assert item.expired == 0


def test_item_without_a_deadline_never_expires(clock: Clock) -> None:
    item = Item(NEVER)
    clock.watch(item)
    clock.sweep(1e12)
    assert item.expired == 0


def test_forgotten_item_does_not_expire_and_is_not_kept(clock: Clock) -> None:
    item = Item(1.0)
    clock.watch(item)
    clock.forget(item)
    clock.forget(item)
    clock.sweep(2.0)
    assert item.expired == 0
    assert len(clock) == 0


def test_items_may_come_and_go_while_others_expire(clock: Clock) -> None:
    def replace() -> None:
        clock.forget(first)
        clock.watch(second)

    second = Item(NEVER)
    first = Item(1.0, replace)
    clock.watch(first)
    clock.sweep(2.0)
    assert first.expired == 1
    second.deadline = 3.0
    clock.sweep(4.0)
    assert (first.expired, second.expired) == (1, 1)


async def test_running_clock_shows_the_loops_time_and_expires(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([100.0, 100.5, 101.0])
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    real = loop.time
    item = Item(100.9, done.set)
    clock.watch(item)
    monkeypatch.setattr(clock_module, "SWEEP_INTERVAL", 0)

    def time() -> float:
        # The loop asks too, for its own timers: only the clock sees the made-up time.
        return next(times) if asyncio.current_task() is running else real()

    monkeypatch.setattr(loop, "time", time)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(clock.run())
        await done.wait()
        running.cancel()
    assert item.expired == 1
    assert clock.now == 101.0
