"""The queue of one generation: whose turn it is, whoever gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy_core.plugin_host.faults import DeadlineExceeded
from proxy_core.plugin_host.generation import Blueprint, Generation
from proxy_core.plugin_host.logs import LogRing, PluginLog, StartLog
from proxy_core.plugin_host.manifest import GuestLimits, Manifest
from proxy_core.plugin_host.runtime.raw import RawEngine
from tests.plugin_host.guests import guest


@pytest.fixture
def generation() -> Iterator[Generation]:
    """A generation whose instance is taken."""
    manifest = Manifest("a", "a.wasm", limits=GuestLimits(deadline_ms=30))
    blueprint = Blueprint.draw(RawEngine(), manifest, guest("i32.const 0"))
    with ThreadPoolExecutor(1) as workers:
        made = Generation(
            1,
            blueprint,
            blueprint.build(StartLog(10)),
            PluginLog("a", LogRing(10), 10),
            workers,
        )
        made.busy = True
        yield made
        made.discard()


async def test_turns_are_given_in_order(generation: Generation) -> None:
    order: list[int] = []

    async def take(number: int) -> None:
        await generation.wait()
        order.append(number)
        generation.release()

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(take(number))
        await asyncio.sleep(0)
        generation.release()
    assert order == [0, 1, 2, 3, 4]
    assert not generation.busy


async def test_a_turn_given_to_one_who_gives_up_at_that_moment_is_passed_on(
    generation: Generation,
) -> None:
    async with asyncio.TaskGroup() as group:
        first = group.create_task(generation.wait())
        second = group.create_task(generation.wait())
        await asyncio.sleep(0)
        generation.release()
        first.cancel()
    assert first.cancelled()
    assert second.done()
    assert generation.busy
    generation.release()
    assert not generation.busy


async def test_waiting_ends_with_the_deadline_and_gives_up_its_place(
    generation: Generation,
) -> None:
    with pytest.raises(DeadlineExceeded, match="was busy with other calls for 30 ms"):
        await generation.wait()
    generation.release()
    assert not generation.busy
