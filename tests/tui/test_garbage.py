from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from int3rceptor_tui import garbage
from int3rceptor_tui.garbage import LullCollector
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
