"""The instances of one generation: whose turn it is, when there are more, and how they end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy_core.model.log_line import LogLevel
from proxy_core.model.verdict import CONTINUE
from proxy_core.plugin_host import generation as generations
from proxy_core.plugin_host.faults import GuestFailure, ModuleRefused, TooBusy
from proxy_core.plugin_host.files.manifest import GuestLimits, Manifest
from proxy_core.plugin_host.generation import MOST_INSTANCES, Blueprint, Generation
from proxy_core.plugin_host.guest import Guest
from proxy_core.plugin_host.logs import LogRing, PluginLog, StartLog
from proxy_core.plugin_host.runtime.raw import RawEngine
from tests.plugin_host.guests import LOG, Host, Newcomers, guest, make_flow
from tests.waiting import until

PASS = guest("i32.const 0")


class Pool:
    """A generation whose first instance is taken, and a say in how further ones are built."""

    def __init__(self, workers: ThreadPoolExecutor, single: bool, deadline_ms: int = 30) -> None:
        limits = GuestLimits(deadline_ms=deadline_ms)
        manifest = Manifest("a", "a.wasm", limits=limits, single_instance=single)
        self.blueprint = Blueprint.draw(RawEngine(), manifest, PASS)
        self.lines = LogRing(10)
        built = self.blueprint.build(StartLog(10))
        log = PluginLog("a", self.lines, 10)
        self.generation = Generation(1, self.blueprint, built, log, workers)
        self.first = self.generation.idle.pop()


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


@pytest.fixture
def single(workers: ThreadPoolExecutor) -> Iterator[Pool]:
    """A pool of one, which is taken."""
    made = Pool(workers, single=True)
    yield made
    made.generation.close()


@pytest.fixture
def pool(workers: ThreadPoolExecutor) -> Iterator[Pool]:
    """A pool of up to four, one of which is there and taken."""
    made = Pool(workers, single=False, deadline_ms=5000)
    yield made
    made.generation.close()


async def test_turns_are_given_in_order(single: Pool) -> None:
    generation = single.generation
    order: list[int] = []

    async def take(number: int) -> None:
        guest = await generation.acquire()
        order.append(number)
        generation.release(guest)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(take(number))
        await asyncio.sleep(0)
        generation.release(single.first)
    assert order == [0, 1, 2, 3, 4]
    assert generation.idle == [single.first]


async def test_a_turn_given_to_one_who_gives_up_at_that_moment_is_passed_on(single: Pool) -> None:
    generation = single.generation
    async with asyncio.TaskGroup() as group:
        first = group.create_task(generation.acquire())
        second = group.create_task(generation.acquire())
        await asyncio.sleep(0)
        generation.release(single.first)
        first.cancel()
    assert first.cancelled()
    assert second.result() is single.first
    assert generation.idle == []
    generation.release(single.first)
    assert generation.idle == [single.first]


async def test_waiting_ends_with_the_deadline_and_gives_up_its_place(single: Pool) -> None:
    generation = single.generation
    with pytest.raises(TooBusy, match="was busy with other calls for 30 ms"):
        await generation.acquire()
    generation.release(single.first)
    assert generation.idle == [single.first]
    assert generation.count == 1


async def test_further_instances_are_made_up_to_the_most(pool: Pool) -> None:
    generation = pool.generation
    taken = [await generation.acquire() for _ in range(MOST_INSTANCES - 1)]
    assert len({pool.first, *taken}) == generation.count == MOST_INSTANCES
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(generation.acquire())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        generation.release(taken[1])
    assert waiting.result() is taken[1]
    for each in (pool.first, *taken):
        generation.release(each)
    assert len(generation.idle) == MOST_INSTANCES


async def test_whichever_comes_first_is_taken(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = pool.generation
    go_on = threading.Event()
    build = Blueprint.build

    def build_slowly(blueprint: Blueprint, log: StartLog) -> Guest:
        assert go_on.wait(10)
        return build(blueprint, log)

    monkeypatch.setattr(Blueprint, "build", build_slowly)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(generation.acquire())
        await asyncio.sleep(0)
        generation.release(pool.first)
    assert waiting.result() is pool.first
    go_on.set()
    other = await generation.acquire()
    assert other is not pool.first
    for each in (pool.first, other):
        generation.release(each)


async def test_what_is_built_for_one_who_gave_up_is_kept(pool: Pool) -> None:
    generation = pool.generation
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(generation.acquire())
        await asyncio.sleep(0)
        waiting.cancel()
    await until(lambda: generation.idle)
    assert generation.count == 2
    generation.release(pool.first)


async def test_one_that_failed_is_thrown_away_alone(pool: Pool) -> None:
    generation = pool.generation
    other = await generation.acquire()
    generation.discard(pool.first)
    assert generation.count == 1
    generation.release(other)
    assert await generation.acquire() is other
    generation.discard(other)
    assert generation.count == 0
    fresh = await generation.acquire()
    assert generation.count == 1
    generation.release(fresh)


async def test_where_no_further_one_can_be_made_the_first_goes_on(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = pool.generation
    tries: list[None] = []

    def fail(blueprint: Blueprint, log: StartLog) -> Guest:
        tries.append(None)
        raise ModuleRefused("not again")

    monkeypatch.setattr(Blueprint, "build", fail)
    for _ in range(2):
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(generation.acquire())
            await asyncio.sleep(0.02)
            assert not waiting.done()
            generation.release(pool.first)
        assert waiting.result() is pool.first
    assert len(tries) == 1
    (line,) = pool.lines.snapshot()
    assert (line.level, line.text) == (LogLevel.WARN, "no further instance: not again")
    generation.discard(pool.first)
    with pytest.raises(ModuleRefused, match="not again"):
        await generation.acquire()
    assert generation.count == 0


async def test_what_is_not_needed_any_more_is_closed(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "TRIM_SECONDS", 0.01)
    generation = pool.generation
    taken = [await generation.acquire() for _ in range(3)]
    for each in (pool.first, *taken):
        generation.release(each)
    await until(lambda: generation.count == 1)
    assert len(generation.idle) == 1


async def test_what_is_in_use_is_not_closed(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations, "TRIM_SECONDS", 0.005)
    generation = pool.generation
    other = await generation.acquire()
    generation.release(pool.first)
    await until(lambda: not generation.idle)
    assert generation.count == 1
    generation.release(other)
    assert generation.idle == [other]


async def test_a_retired_one_waits_for_all(pool: Pool) -> None:
    generation = pool.generation
    other = await generation.acquire()
    closed: list[None] = []
    generation.retire(lambda: closed.append(None))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(generation.acquire())
        await asyncio.sleep(0)
        generation.release(pool.first)
    assert waiting.result() in (pool.first, other)
    generation.release(waiting.result())
    assert not closed
    generation.release(other)
    await until(lambda: closed)
    assert len(closed) == 1
    assert generation.idle == []


async def test_after_the_workers_have_stopped_a_call_fails(pool: Pool) -> None:
    generation = pool.generation
    generation._workers = ThreadPoolExecutor(1)
    generation._workers.shutdown()
    generation.discard(pool.first)
    with pytest.raises(GuestFailure, match="cannot be started"):
        await generation.acquire()


# Through the host.

_COUNT = (
    '(import "env" "host_kv_add" (func $add (param i32 i32 i64) (result i64)))'
    '(import "env" "host_metric_add" (func $count (param i32 i32 i64)))'
    '(data (i32.const 0) "inside") (data (i32.const 8) "overlaps")'
)
_LONG = (
    "(local $n i32)"
    "(if (i64.gt_s (call $add (i32.const 0) (i32.const 6) (i64.const 1)) (i64.const 1))"
    " (then (call $count (i32.const 8) (i32.const 8) (i64.const 1))))"
    "(local.set $n (i32.const 120000))"
    "(loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
    "(drop (call $add (i32.const 0) (i32.const 6) (i64.const -1))) i32.const 0"
)
"""Runs for many slices, and counts how often another instance is inside at that time."""


async def _call_at_once(host: Host, times: int) -> None:
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(_request(host)) for _ in range(times)]
    assert [call.result() for call in calls] == [CONTINUE] * times


async def _request(host: Host) -> object:
    return await host.request(make_flow())


async def test_calls_overlap_in_instances_of_their_own(host: Host) -> None:
    await host.load("a", guest(_LONG, imports=_COUNT))
    while not host.status("a").metrics:
        await _call_at_once(host, 20)
    status = host.status("a")
    assert status.traps == 0
    assert 2 <= status.instances <= MOST_INSTANCES
    assert dict(status.metrics)["overlaps"] >= 1


async def test_with_a_single_instance_calls_queue(host: Host) -> None:
    await host.load("a", guest(_LONG, imports=_COUNT), "single_instance = true")
    await _call_at_once(host, 10)
    status = host.status("a")
    assert (status.calls, status.traps, status.instances) == (10, 0, 1)
    assert status.metrics == ()


async def test_each_instance_says_hello_and_goodbye(host: Host) -> None:
    both = (
        f'{_COUNT} {LOG} (data (i32.const 16) "hibye")'
        '(func (export "plugin_init") (result i32)'
        " (call $log (i32.const 1) (i32.const 16) (i32.const 2)) i32.const 0)"
        '(func (export "plugin_shutdown") (call $log (i32.const 1) (i32.const 18) (i32.const 3)))'
    )
    await host.load("a", guest(_LONG, imports=both))
    while host.status("a").instances < 2:
        await _call_at_once(host, 8)
    await host.manager.stop()
    texts = host.texts()
    assert texts.count("hi") == texts.count("bye") >= 2


async def test_reloads_and_calls_that_overlap_leave_nothing_behind(host: Host) -> None:
    module = guest(_LONG, imports=_COUNT)
    made = Newcomers("RawGuest", "OfficialGuest", "Generation")
    await host.load("a", module)

    async def reload() -> None:
        for _ in range(5):
            assert (await host.manager.reload("a")).ok

    async with asyncio.TaskGroup() as group:
        group.create_task(reload())
        for _ in range(5):
            await _call_at_once(host, 6)
    assert host.status("a").traps == 0
    await host.manager.stop()
    await until(lambda: made.count() == 0)


async def test_stores_are_told_until_they_are_freed(any_host: Host) -> None:
    host = any_host
    await host.load("a", guest(_LONG, imports=_COUNT))
    assert host.status("a").stores == 1
    while host.status("a").instances < 2:
        await _call_at_once(host, 8)
    assert host.status("a").stores >= host.status("a").instances
    assert (await host.manager.reload("a")).ok
    await until(lambda: host.status("a").stores == host.status("a").instances == 1)
    host.put("a", guest("unreachable"))
    assert (await host.manager.reload("a")).ok
    await host.request(make_flow())
    assert (host.status("a").stores, host.status("a").instances) == (0, 0)
    await host.request(make_flow())
    stores = host.manager._plugins["a"].belongings.stores
    await host.manager.stop()
    assert not stores
