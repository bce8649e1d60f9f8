from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from int3rceptor_tui import garbage
from int3rceptor_tui.garbage import TRIM_EVERY, LullCollector, Trimmer, find_trim
from proxy_core.model.counters import Counters


class Knot:
    """Only the collector can free it."""

    def __init__(self) -> None:
        self.self = self


@pytest.fixture(autouse=True)
def collector_as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    gc.disable()
    yield
    gc.enable()
    gc.set_threshold(*before)
    gc.unfreeze()


def knot() -> weakref.ref[Knot]:
    return weakref.ref(Knot())


def test_what_is_there_at_the_start_is_not_looked_at_again() -> None:
    before = knot()
    garbage.settle()
    assert before() is None
    assert gc.get_freeze_count() > 1000
    assert len(gc.get_objects()) < 1000


def test_full_collections_are_rare_after_the_start() -> None:
    garbage.settle()
    assert gc.get_threshold()[2] >= 1000


def test_new_objects_are_looked_at_once() -> None:
    garbage.settle()
    gc.enable()
    before = gc.get_stats()
    tied = knot()
    kept: list[list[int]] = []
    while tied() is not None and len(kept) < 1_000_000:
        kept.append([])
    kept += [[] for _ in range(100_000)]
    youngest, middle, oldest = (
        after["collections"] - earlier["collections"]
        for after, earlier in zip(gc.get_stats(), before, strict=True)
    )
    assert tied() is None
    assert middle >= 10
    assert youngest == oldest == 0


@pytest.fixture
async def counters(monkeypatch: pytest.MonkeyPatch) -> Counters:
    monkeypatch.setattr(garbage, "LULL", 0.001)
    return Counters()


async def gone(reference: weakref.ref[Knot]) -> bool:
    """Wait for a few lulls; return whether the object was collected."""
    for _ in range(20):
        await asyncio.sleep(0.002)
        if reference() is None:
            return True
    return False


async def test_garbage_is_collected_in_the_lull_after_traffic(counters: Counters) -> None:
    collector = LullCollector(counters)
    collector.start()
    counters.flows_seen += 1
    assert await gone(knot())
    collector.stop()


async def test_without_traffic_there_is_nothing_to_collect(counters: Counters) -> None:
    collector = LullCollector(counters)
    collector.start()
    assert not await gone(knot())
    counters.client_connections += 1
    assert await gone(knot())
    assert not await gone(knot())
    collector.stop()


async def test_nothing_is_collected_while_requests_come(counters: Counters) -> None:
    collector = LullCollector(counters)
    reference = knot()
    for _ in range(20):
        counters.flows_seen += 1
        collector._look()
    assert reference() is not None
    collector._look()
    assert reference() is None
    collector.stop()


async def test_stopped_collector_collects_nothing(counters: Counters) -> None:
    collector = LullCollector(counters)
    collector.start()
    collector.stop()
    counters.flows_seen += 1
    assert not await gone(knot())
    collector.stop()


class Clock:
    """Stands still but for what is said."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_memory_is_given_back_as_often_as_that_is_quick() -> None:
    clock = Clock()
    took = 0.001
    times: list[float] = []

    def trim() -> None:
        times.append(clock.now)
        clock.now += took

    trimmer = Trimmer(trim, clock, clock)
    while clock.now < 1000:
        trimmer.trim_if_due()
        clock.now += 1
    assert len(times) == 900 // (TRIM_EVERY + 1)
    took = 0.1
    trimmer.trim_if_due()
    clock.now += 61
    trimmer.trim_if_due()
    seen = len(times)
    clock.now += 900
    trimmer.trim_if_due()
    assert len(times) == seen
    clock.now += 101
    trimmer.trim_if_due()
    assert len(times) == seen + 1


def test_memory_is_given_back_while_requests_come_and_in_lulls_and_not_without_traffic() -> None:
    clock, times = Clock(), []
    counters = Counters()
    collector = LullCollector(counters, Trimmer(lambda: times.append(clock.now), clock, clock))
    collector.start = lambda: None  # type: ignore[method-assign]
    clock.now += 2 * TRIM_EVERY
    collector._look()
    assert times == []
    counters.flows_seen += 1
    collector._look()
    assert len(times) == 1
    clock.now += 2 * TRIM_EVERY
    collector._look()
    assert len(times) == 2
    clock.now += 2 * TRIM_EVERY
    collector._look()
    assert len(times) == 2


def test_a_c_library_that_cannot_be_told_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert find_trim() is None
    Trimmer(None, Clock()).trim_if_due()


def test_what_was_freed_between_things_that_are_kept_goes_back_to_the_system() -> None:
    trim = find_trim()
    if trim is None:
        pytest.skip("not glibc")
    pieces: list[bytes | None] = [bytes(1500) for _ in range(40_000)]
    for number in range(len(pieces)):
        if number % 40:
            pieces[number] = None
    before = resident()
    trim()
    assert before - resident() > 20_000_000


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
