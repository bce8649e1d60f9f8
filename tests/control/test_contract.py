"""What every adapter of Control promises, whichever way it reaches its core."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

import pytest

from proxy_core.control.control import Feed
from proxy_core.control.views import FlowSummary, Update
from proxy_core.errors import ControlError, PluginNotFound
from proxy_core.exchange.held import Decision
from proxy_core.model.flow import FlowState
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogFilter, LogLevel, LogLine
from proxy_core.model.plugin_status import (
    AskedPermission,
    PermissionState,
    PluginState,
    PluginStatus,
)
from tests.control.conftest import Rig
from tests.control.cores import make_flow
from tests.waiting import until


def drain_all(feed: Feed) -> Update:
    """One update out of as many as it takes until a drain brings nothing."""
    flows: list[FlowSummary] = []
    logs: list[LogLine] = []
    plugins: list[PluginStatus] = []
    update = feed.drain()
    gone: list[FlowId] = []
    while update != Update():
        gone.extend(update.gone)
        flows.extend(update.flows)
        logs.extend(update.logs)
        plugins.extend(update.plugins)
        update = feed.drain()
    return Update(tuple(flows), tuple(gone), tuple(logs), tuple(plugins))


async def test_status_tells_where_the_core_listens_and_what_it_has_seen(rig: Rig) -> None:
    rig.core.begin(make_flow(1))
    status = rig.control.status()
    assert status.listening == ("127.0.0.1:8080",)
    assert status.modes == ("regular",)
    assert status.ca_path == "/data/ca/int3rceptor-ca.pem"
    assert (status.flows_seen, status.flows_kept) == (1, 1)
    assert (status.plugins_ready, status.plugins_failing) == (2, 0)


async def test_flows_come_oldest_first(rig: Rig) -> None:
    for number in (1, 2, 3):
        rig.core.begin(make_flow(number))
    assert [row.id for row in await rig.control.flows()] == [1, 2, 3]


async def test_a_limit_keeps_the_newest_flows(rig: Rig) -> None:
    for number in (1, 2, 3):
        rig.core.begin(make_flow(number))
    assert [row.id for row in await rig.control.flows(2)] == [2, 3]
    assert await rig.control.flows(0) == []
    assert len(await rig.control.flows(99)) == 3


async def test_a_flow_that_is_unknown_is_none(rig: Rig) -> None:
    assert await rig.control.flow(FlowId(404)) is None


async def test_a_flow_shows_its_heads_and_bodies(rig: Rig) -> None:
    flow = make_flow(7, b"/hello?x=1")
    rig.core.begin(flow)
    rig.core.end(flow, body=b"hi there")
    shown = await rig.control.flow(FlowId(7))
    assert shown is not None
    assert shown.url == "http://example.com/hello?x=1"
    assert shown.request.start_line == "GET /hello?x=1 HTTP/1.1"
    assert shown.request.fields == (("Host", "example.com"),)
    assert shown.response is not None
    assert shown.response_body is not None
    assert shown.response_body.kept == b"hi there"
    assert shown.response_body.content_type == "text/plain; charset=utf-8"
    assert shown.summary.content_type == "text/plain"
    assert shown.summary.duration == 0.25


async def test_clear_forgets_finished_flows_and_keeps_those_under_way(rig: Rig) -> None:
    over, under_way = make_flow(1), make_flow(2)
    for flow in (over, under_way):
        rig.core.begin(flow)
    rig.core.end(over)
    assert await rig.control.clear_flows() == 1
    assert [row.id for row in await rig.control.flows()] == [2]


async def test_plugins_are_listed_discovered_and_reloaded(rig: Rig) -> None:
    assert [status.name for status in await rig.control.plugins()] == ["alpha", "beta"]
    assert (await rig.control.discover_plugins()).found == 2
    report = await rig.control.reload_plugin("beta")
    assert (report.ok, report.generation) == (True, 2)


async def test_an_unknown_plugin_is_refused_by_name(rig: Rig) -> None:
    with pytest.raises(PluginNotFound, match="gamma"):
        await rig.control.reload_plugin("gamma")
    with pytest.raises(PluginNotFound, match="gamma"):
        await rig.control.set_plugin_enabled("gamma", True)
    with pytest.raises(PluginNotFound, match="gamma"):
        await rig.control.decide_permission("gamma", "network", True)


async def test_disabling_a_plugin_shows_in_the_list_and_on_the_feed(rig: Rig) -> None:
    feed = rig.control.subscribe()
    drain_all(feed)
    status = await rig.control.set_plugin_enabled("alpha", False)
    assert status.state is PluginState.DISABLED
    assert [s.enabled for s in await rig.control.plugins()] == [False, True]
    assert [s.name for s in drain_all(feed).plugins] == ["alpha"]


async def test_a_permission_that_is_decided_shows_in_the_list_and_on_the_feed(rig: Rig) -> None:
    feed = rig.control.subscribe()
    drain_all(feed)
    status = await rig.control.decide_permission("beta", "filesystem", True)
    asked = AskedPermission("filesystem", ("example.com",), PermissionState.GRANTED)
    assert status.asked == (asked,)
    assert [s.asked for s in await rig.control.plugins()] == [(), (asked,)]
    assert [s.asked for s in drain_all(feed).plugins] == [(asked,)]


async def test_logs_come_oldest_first_of_one_plugin_or_of_all(rig: Rig) -> None:
    for number, plugin in enumerate(("alpha", "beta", "alpha")):
        rig.core.log(f"line {number}", plugin)
    assert [line.text for line in await rig.control.logs()] == ["line 0", "line 1", "line 2"]
    assert [line.text for line in await rig.control.logs("alpha")] == ["line 0", "line 2"]
    assert [line.text for line in await rig.control.logs(limit=1)] == ["line 2"]


async def test_a_new_feed_brings_what_is_there_already(rig: Rig) -> None:
    for number in (1, 2):
        rig.core.begin(make_flow(number))
    rig.core.log("before")
    update = drain_all(rig.control.subscribe())
    assert [row.id for row in update.flows] == [1, 2]
    assert [line.text for line in update.logs] == ["before"]
    assert [status.name for status in update.plugins] == ["alpha", "beta"]
    assert update.gone == ()


async def test_a_feed_brings_nothing_twice(rig: Rig) -> None:
    feed = rig.control.subscribe()
    rig.core.begin(make_flow(1))
    rig.core.log("once")
    update = drain_all(feed)
    assert [row.id for row in update.flows] == [1]
    assert [line.text for line in update.logs] == ["once"]
    quiet = feed.drain()
    assert (quiet.flows, quiet.logs, quiet.plugins) == ((), (), ())


async def test_a_flow_published_often_comes_once_in_its_newest_state(rig: Rig) -> None:
    feed = rig.control.subscribe()
    drain_all(feed)
    flow = make_flow(1)
    rig.core.begin(flow)
    for _ in range(5):
        rig.core.publish(flow)
    rig.core.end(flow)
    (row,) = drain_all(feed).flows
    assert (row.state, row.status) == (FlowState.DONE, 200)


async def test_a_change_after_a_drain_comes_again(rig: Rig) -> None:
    feed = rig.control.subscribe()
    flow = make_flow(1)
    rig.core.begin(flow)
    assert drain_all(feed).flows[0].state is FlowState.ACTIVE
    rig.core.end(flow)
    assert drain_all(feed).flows[0].state is FlowState.DONE


async def test_what_exceeds_one_batch_comes_with_the_next(rig: Rig) -> None:
    feed = rig.control.subscribe()
    for number in range(1, 6):
        rig.core.begin(make_flow(number))
        rig.core.log(f"line {number}")
    batches = [feed.drain(max_flows=2, max_logs=2) for _ in range(4)]
    assert [[row.id for row in batch.flows] for batch in batches] == [[1, 2], [3, 4], [5], []]
    assert [len(batch.logs) for batch in batches] == [2, 2, 1, 0]


async def test_rows_of_one_batch_come_oldest_first(rig: Rig) -> None:
    feed = rig.control.subscribe()
    flows = [make_flow(number) for number in (1, 2, 3)]
    for flow in flows:
        rig.core.begin(flow)
    drain_all(feed)
    for flow in reversed(flows):
        rig.core.end(flow)
    assert [row.id for row in feed.drain().flows] == [1, 2, 3]


async def test_flows_that_are_gone_are_told_once_to_whom_they_were_shown(rig: Rig) -> None:
    feed = rig.control.subscribe()
    for number in (5, 6):
        flow = make_flow(number)
        rig.core.begin(flow)
        rig.core.end(flow)
    assert drain_all(feed).gone == ()
    late = make_flow(7)
    rig.core.begin(late)
    rig.core.end(late)
    await rig.control.clear_flows()
    assert feed.drain().gone == (5, 6)
    assert feed.drain() == Update()


async def test_held_flows_go_on_or_end_as_the_user_says(rig: Rig) -> None:
    def hold(flow_id: FlowId) -> concurrent.futures.Future[Decision]:
        return asyncio.run_coroutine_threadsafe(rig.core.held.wait(flow_id), rig.core.loop)

    first, second, third = (hold(FlowId(number)) for number in (1, 2, 3))
    await until(lambda: len(rig.core.held) == 3)
    assert await rig.control.kill_flows([FlowId(2), FlowId(99)]) == 1
    assert await asyncio.wrap_future(second) is Decision.KILL
    assert await rig.control.resume_flows() == 2
    assert await asyncio.wrap_future(first) is Decision.RESUME
    assert await asyncio.wrap_future(third) is Decision.RESUME
    assert await rig.control.resume_flows() == 0


async def test_two_feeds_do_not_take_from_each_other(rig: Rig) -> None:
    first, second = rig.control.subscribe(), rig.control.subscribe()
    rig.core.begin(make_flow(1))
    assert len(drain_all(first).flows) == 1
    assert len(drain_all(second).flows) == 1


async def test_a_closed_feed_brings_nothing_more(rig: Rig) -> None:
    feed = rig.control.subscribe()
    feed.close()
    feed.close()
    rig.core.begin(make_flow(1))
    assert feed.drain() == Update()


async def test_commands_to_a_core_that_stopped_raise_and_do_not_hang(rig: Rig) -> None:
    rig.core.stop()
    with pytest.raises(ControlError, match="stopped"):
        await rig.control.discover_plugins()
    with pytest.raises(ControlError, match="stopped"):
        await rig.control.reload_plugin("alpha")
    with pytest.raises(ControlError, match="stopped"):
        await rig.control.set_plugin_enabled("alpha", True)
    with pytest.raises(ControlError, match="stopped"):
        await rig.control.clear_flows()


async def test_a_message_is_sent_into_an_open_web_socket(rig: Rig) -> None:
    rig.core.web_sockets.open.add(FlowId(7))
    await rig.control.inject_message(FlowId(7), True, 2, b"\0\xff")
    await rig.control.inject_message(FlowId(7), False, 1, "ä".encode())
    assert [got[1:] for got in rig.core.web_sockets.got] == [
        (7, True, 2, b"\0\xff"),
        (7, False, 1, "ä".encode()),
    ]
    assert {got[0] for got in rig.core.web_sockets.got} == {rig.core.thread.ident}


async def test_a_message_that_cannot_be_sent_says_why(rig: Rig) -> None:
    with pytest.raises(ControlError, match="flow 8 is no open WebSocket"):
        await rig.control.inject_message(FlowId(8), True, 1, b"x")
    rig.core.web_sockets.open.add(FlowId(8))
    rig.core.web_sockets.takes = False
    with pytest.raises(ControlError, match="1 byte could not be sent to the server"):
        await rig.control.inject_message(FlowId(8), True, 1, b"x")


async def test_lines_are_chosen_by_plugin_level_number_and_time(rig: Rig) -> None:
    for text, plugin, level, at in [
        ("one", "alpha", LogLevel.DEBUG, 10.0),
        ("two", "alpha", LogLevel.WARN, 20.0),
        ("three", "beta", LogLevel.ERROR, 30.0),
        ("four", "alpha", LogLevel.ERROR, 40.0),
    ]:
        rig.core.log(text, plugin, level, at)

    async def texts(limit: int | None = None, **chosen: Any) -> list[str]:
        return [line.text for line in await rig.control.select_logs(LogFilter(**chosen), limit)]

    assert await texts() == ["one", "two", "three", "four"]
    assert await texts(plugin="alpha") == ["one", "two", "four"]
    assert await texts(plugin="alpha", level=LogLevel.WARN) == ["two", "four"]
    assert await texts(since=2) == ["three", "four"]
    assert await texts(after=20.0) == ["three", "four"]
    assert await texts(plugin="alpha", limit=1) == ["four"]
    assert await texts(limit=0) == []


async def test_a_follower_gets_what_is_there_and_then_what_comes_each_once(rig: Rig) -> None:
    for text in ("one", "two", "three"):
        rig.core.log(text)
    follower = rig.control.follow_logs(LogFilter(plugin="alpha"), backlog=2)
    rig.core.log("four")
    rig.core.log("not mine", plugin="beta")
    got: list[str] = []
    while len(got) < 3:
        batch = await follower.next()
        assert batch is not None
        got.extend(line.text for line in batch.lines)
    assert got == ["two", "three", "four"]
    waiting = asyncio.get_running_loop().create_task(follower.next())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    rig.core.log("five")
    batch = await waiting
    assert batch is not None
    assert [line.text for line in batch.lines] == ["five"]
    follower.close()


async def test_a_follower_that_is_closed_ends_whoever_waits(rig: Rig) -> None:
    follower = rig.control.follow_logs(LogFilter())
    waiting = asyncio.get_running_loop().create_task(follower.next())
    await asyncio.sleep(0.01)
    follower.close()
    follower.close()
    assert await waiting is None
    rig.core.log("after the end")
    assert await follower.next() is None


async def test_a_follower_that_is_late_loses_the_oldest_and_is_told(rig: Rig) -> None:
    follower = rig.control.follow_logs(LogFilter())
    for number in range(1203):
        rig.core.log(str(number))
    first = await follower.next()
    assert first is not None
    assert first.lost == 203
    assert first.lines[0].text == "203"
    second = await follower.next()
    assert second is not None
    assert second.lost == 0
    follower.close()
