"""What LocalControl does beyond the contract: threads, loops that end, memory."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from proxy_core.control.local import LocalControl
from proxy_core.control.local_feed import FlowNews, LocalFeed
from proxy_core.errors import ControlError
from proxy_core.model.flow import Flow
from proxy_core.model.plugin_status import DiscoverReport
from tests.control.cores import RunningCore, make_flow


async def test_commands_run_on_the_core_s_thread(core: RunningCore) -> None:
    await LocalControl(core, core.loop).discover_plugins()
    assert core.plugins.threads == [core.thread.ident]


async def test_commands_given_on_the_core_s_own_loop_run_there(core: RunningCore) -> None:
    control = LocalControl(core, core.loop)
    there = asyncio.run_coroutine_threadsafe(control.discover_plugins(), core.loop)
    report: DiscoverReport = await asyncio.wrap_future(there)
    assert report.found == 2


async def _begin_stuck_discovery(core: RunningCore) -> asyncio.Future[DiscoverReport]:
    core.plugins.stuck = asyncio.Event()
    discovery = LocalControl(core, core.loop).discover_plugins()
    command = asyncio.get_running_loop().create_task(discovery)
    await asyncio.to_thread(core.plugins.entered.wait)
    return command


async def test_a_core_that_ends_under_a_command_raises(core: RunningCore) -> None:
    command = await _begin_stuck_discovery(core)
    await asyncio.to_thread(core.stop)
    with pytest.raises(ControlError, match="stopped"):
        await command


async def test_a_caller_that_gives_up_takes_its_command_back(core: RunningCore) -> None:
    command = await _begin_stuck_discovery(core)
    command.cancel()
    with pytest.raises(asyncio.CancelledError):
        await command
    assert await asyncio.to_thread(core.plugins.cancelled.wait, 10)


async def test_a_loop_that_never_runs_the_command_does_not_hang_its_caller(
    core: RunningCore,
) -> None:
    asleep = asyncio.new_event_loop()
    control = LocalControl(core, asleep)
    command = asyncio.get_running_loop().create_task(control.discover_plugins())
    await asyncio.sleep(0.01)
    asleep.close()
    with pytest.raises(ControlError, match="stopped"):
        await command


async def test_what_was_captured_stays_readable_after_the_core_stopped(core: RunningCore) -> None:
    flow = make_flow(1)
    core.begin(flow)
    core.log("last words")
    core.stop()
    control = LocalControl(core, core.loop)
    assert await control.flow(flow.id) is not None
    assert [row.id for row in await control.flows()] == [1]
    assert [line.text for line in await control.logs()] == ["last words"]


def test_a_feed_that_lost_news_takes_everything_from_the_ring(core: RunningCore) -> None:
    feed = LocalFeed(core, limit=2)
    feed.drain()
    for number in range(1, 6):
        core.begin(make_flow(number))
    update = feed.drain()
    assert [row.id for row in update.flows] == [1, 2, 3, 4, 5]
    assert update.lost_flows == 3
    assert feed.drain().lost_flows == 0


def test_an_old_flow_that_goes_on_keeps_no_other_on_the_console() -> None:
    core = RunningCore(max_bytes=20_000)
    try:
        feed = LocalFeed(core)
        core.begin(make_flow(1))
        shown: set[int] = set()
        for number in range(2, 60):
            flow = make_flow(number)
            core.begin(flow)
            core.end(flow, body=bytes(1000))
            update = feed.drain()
            shown = shown - set(update.gone) | {row.id for row in update.flows}
            assert shown == {kept.id for kept in core.flows}
        assert 1 in shown
        assert len(shown) < 20
    finally:
        core.stop()


def test_the_flow_that_ended_last_is_evicted_last() -> None:
    core = RunningCore(max_bytes=8_000)
    try:
        long = make_flow(1)
        core.begin(long)
        for number in range(2, 20):
            flow = make_flow(number)
            core.begin(flow)
            core.end(flow, body=bytes(1000))
        core.end(long)
        last = make_flow(20)
        core.begin(last)
        core.end(last, body=bytes(1000))
        assert {1, 20} <= {kept.id for kept in core.flows}
        assert core.flows.bytes <= 8_000
    finally:
        core.stop()


def test_removals_that_overflowed_the_feed_are_found_all_the_same(core: RunningCore) -> None:
    feed = LocalFeed(core, limit=4)
    for number in range(1, 4):
        flow = make_flow(number)
        core.begin(flow)
        core.end(flow)
    feed.drain()
    for number in range(4, 9):
        flow = make_flow(number)
        core.begin(flow)
        core.end(flow)
    feed.drain()
    core.call(core.flows.clear)
    assert feed.drain().gone == (1, 2, 3, 4, 5, 6, 7, 8)


def test_log_lines_that_overflowed_the_feed_come_from_the_ring(core: RunningCore) -> None:
    feed = LocalFeed(core, limit=4)
    core.log("line 0")
    feed.drain()
    for number in range(1, 6):
        core.log(f"line {number}")
    update = feed.drain(max_logs=2)
    assert [line.text for line in update.logs] == ["line 2", "line 3"]
    assert update.lost_logs == 1  # five waited where four may


def test_log_lines_that_even_the_ring_lost_are_counted() -> None:
    core = RunningCore(log_limit=3)
    try:
        feed = LocalFeed(core, limit=4)
        feed.drain()
        for number in range(10):
            core.log(f"line {number}")
        update = feed.drain()
        assert [line.text for line in update.logs] == ["line 7", "line 8", "line 9"]
        assert update.lost_logs == 7
    finally:
        core.stop()


def test_a_feed_nobody_drains_keeps_no_flow_alive(core: RunningCore) -> None:
    class Watched(Flow):
        __slots__ = ("__weakref__",)

    plain = make_flow(1)
    flow = Watched(plain.id, plain.client, plain.request, plain.started, 10)
    feed = LocalFeed(core)
    core.begin(flow)
    core.end(flow)
    alive = weakref.ref(flow)
    core.call(core.flows.remove, flow.id)
    del flow
    core.call(gc.collect)
    gc.collect()
    assert alive() is None
    assert feed.drain().flows == ()


def test_news_of_flows_that_were_evicted_meanwhile_do_not_pile_up(core: RunningCore) -> None:
    feed = LocalFeed(core, limit=8)
    feed.drain()
    for number in range(1, 41):
        flow = make_flow(number)
        core.begin(flow)
        core.end(flow)
        core.call(core.flows.remove, flow.id)
        feed.drain(max_flows=0)
    assert len(feed._pending) <= 8 + 1


def test_a_note_made_while_notes_are_taken_is_never_lost() -> None:
    news = FlowNews(limit=10)
    flow = make_flow(1)
    news.put(flow)
    assert news.take() == [1]
    news.put(flow)
    assert news.take() == [1]
    assert news.take() == []
