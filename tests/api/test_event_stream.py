from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from proxy_core.api.app import Guarded
from proxy_core.api.event_stream import MOST_FOLLOWERS, Followers, send_events
from proxy_core.control.local import LocalControl
from proxy_core.model.log_line import LogFilter
from tests.api.asgi import Client, Connection
from tests.control.cores import RunningCore
from tests.waiting import until

_EVENT = re.compile(r"^event: (\w+)\n(?:id: (\d+)\n)?data: (.+)\n\n", re.MULTILINE)

Follow = Callable[..., Connection]


def events(connection: Connection) -> list[tuple[str, str, Any]]:
    """What came: kind, id, data."""
    return [(kind, seq, json.loads(data)) for kind, seq, data in _EVENT.findall(connection.text)]


def texts(connection: Connection) -> list[str]:
    return [data["text"] for kind, _, data in events(connection) if kind == "log"]


@pytest.fixture
async def follow(api: Client) -> AsyncIterator[Follow]:
    """Follows alpha's log, with what is given as query and fields."""
    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[None]] = []

        def begin(query: str = "", **headers: str) -> Connection:
            connection = Connection()
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            target = f"/api/plugins/alpha/logs?follow=true{query}"
            tasks.append(group.create_task(api.begin(connection, "GET", target, fields)))
            return connection

        yield begin
        for task in tasks:
            task.cancel()


async def test_a_line_that_is_logged_later_comes(core: RunningCore, follow: Follow) -> None:
    core.log("old")
    stream = follow()
    await until(lambda: "following" in stream.text)
    assert stream.reply().headers["content-type"] == "text/event-stream; charset=utf-8"
    core.log("new\nline")
    core.log("not mine", plugin="beta")
    core.log("newer")
    await until(lambda: len(texts(stream)) == 2)
    assert texts(stream) == ["new\nline", "newer"]
    assert [seq for _, seq, _ in events(stream)] == ["2", "4"]


async def test_since_brings_what_came_before_too(core: RunningCore, follow: Follow) -> None:
    for text in ("one", "two", "three"):
        core.log(text)
    stream = follow("&since=1")
    await until(lambda: len(texts(stream)) == 2)
    assert texts(stream) == ["two", "three"]


async def test_a_client_that_comes_back_goes_on_where_it_was(
    core: RunningCore, follow: Follow
) -> None:
    for text in ("one", "two", "three"):
        core.log(text)
    stream = follow(last_event_id="2")
    await until(lambda: texts(stream))
    assert texts(stream) == ["three"]


async def test_a_client_that_comes_back_to_another_core_misses_nothing(
    core: RunningCore, follow: Follow
) -> None:
    core.log("one")
    stream = follow(last_event_id="5000")
    await until(lambda: texts(stream))
    core.log("two")
    await until(lambda: len(texts(stream)) == 2)
    assert texts(stream) == ["one", "two"]


async def test_a_limit_brings_the_newest_of_those_there(core: RunningCore, follow: Follow) -> None:
    for text in ("one", "two", "three"):
        core.log(text)
    stream = follow("&limit=2")
    await until(lambda: len(texts(stream)) == 2)
    assert texts(stream) == ["two", "three"]


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(
    core: RunningCore, follow: Follow
) -> None:
    stream = follow()
    await until(lambda: "following" in stream.text)
    stream.reads.clear()
    core.log("taken before it was slow")
    await asyncio.sleep(0.05)
    for number in range(1500):
        core.log(str(number))
    stream.reads.set()
    core.log("last")
    await until(lambda: "last" in texts(stream))
    lost = sum(data["lost"] for kind, _, data in events(stream) if kind == "lost")
    got = texts(stream)
    assert 400 <= lost <= 502
    assert got[0] == "taken before it was slow"
    assert lost + len(got) == 1502
    assert got[-1] == "last"


async def test_a_client_that_goes_is_forgotten(
    core: RunningCore, app: Guarded, follow: Follow
) -> None:
    stream = follow()
    await until(lambda: len(app.followers) == 1)
    stream.leave()
    await until(lambda: len(app.followers) == 0)
    await until(lambda: stream.is_over)
    core.log("to nobody")


async def test_closing_ends_every_stream_cleanly(app: Guarded, follow: Follow) -> None:
    streams = [follow(), follow()]
    await until(lambda: len(app.followers) == 2)
    app.followers.close()
    await until(lambda: all(stream.is_over for stream in streams))
    late = follow()
    await until(lambda: late.is_over)
    assert late.reply().status == 200


async def test_there_is_room_for_so_many_only(app: Guarded, api: Client, follow: Follow) -> None:
    streams = [follow() for _ in range(MOST_FOLLOWERS)]
    await until(lambda: len(app.followers) == MOST_FOLLOWERS)
    reply = await api.get("/api/plugins/alpha/logs?follow=1")
    assert reply.status == 503
    assert "follow a log already" in reply.document["error"]
    streams[0].leave()
    await until(app.followers.has_room)
    again = follow()
    await until(lambda: again.messages)
    assert again.reply().status == 200


async def test_head_brings_no_events(api: Client) -> None:
    reply = await api("HEAD", "/api/plugins/alpha/logs?follow=1")
    assert reply.status == 200
    assert reply.body == b""


async def test_silence_is_broken_by_comments(core: RunningCore) -> None:
    follower = LocalControl(core, core.loop).follow_logs(LogFilter())
    connection = Connection()
    work = send_events(follower, Followers(), connection.receive, connection.send, True, 0.01)
    task = asyncio.get_running_loop().create_task(work)
    await until(lambda: connection.text.count(": still here\n\n") >= 2)
    core.log("at last")
    await until(lambda: "at last" in connection.text)
    follower.close()
    await task
