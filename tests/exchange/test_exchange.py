from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy_core.errors import UpstreamError
from proxy_core.exchange.news import News
from proxy_core.model.flow import FlowState
from proxy_core.wire.events import CHUNKED
from tests.exchange.fakes import ROUTE, FakeClient, answered, asked
from tests.exchange.house import House
from tests.waiting import until

TRAILERS = [(b"Digest", b"x")]


# --- there and back


async def test_request_goes_to_the_origin_and_the_response_to_the_client(house: House) -> None:
    client, origin = FakeClient(), house.origin(answered(length=4), body=(b"bo", b"dy", b""))
    await house.exchange.run(client, asked())
    assert origin.sent == [("head", b"GET")]
    assert client.sent == [("head", 200), ("data", b"bo"), ("data", b"dy"), ("end", None)]
    assert house.upstreams.asked == [("new", ROUTE)]
    assert origin.ends == ["release"]
    flow = house.flow
    assert (flow.state, flow.error, flow.server) == (FlowState.DONE, None, origin.server)
    assert flow.response is not None
    assert (flow.response.status, flow.response_body.kept) == (200, b"body")
    assert client.aborted is None


async def test_heads_that_nobody_changed_go_on_byte_for_byte(house: House) -> None:
    client, origin = FakeClient(), house.origin(answered(204, clean=b"B: 2\r\n\r\n"))
    request = asked(clean=b"A: 1\r\n\r\n")
    await house.exchange.run(client, request)
    assert (origin.head, origin.clean) == (request.head, b"A: 1\r\n\r\n")
    assert (client.length, client.clean) == (0, b"B: 2\r\n\r\n")
    assert client.sent == [("head", 204), ("end", None)]


async def test_heads_of_a_flow_that_is_over_are_kept_as_bytes_only(house: House) -> None:
    request, response = asked(fields=[(b"A", b"1")]), answered(fields=[(b"B", b"2")])
    house.origin(response)
    before = [head.headers for head in (request.head, response.head)]
    await house.exchange.run(FakeClient(), request)
    after = [head.headers for head in (request.head, response.head)]
    assert after == before
    assert all(new is not old for new, old in zip(after, before, strict=True))


async def test_points_in_time_come_in_their_order(house: House) -> None:
    house.origin(answered(length=1), body=(b"x", b""))
    await house.exchange.run(FakeClient(), asked())
    flow = house.flow
    assert flow.request_sent is not None
    assert flow.first_byte is not None
    assert flow.ended is not None
    assert flow.started < flow.request_sent < flow.first_byte < flow.ended


async def test_oddities_of_both_messages_and_of_the_end_are_noted(house: House) -> None:
    origin = house.origin()
    origin.oddity = "more than its answer"
    request, response = asked(), answered()
    request.oddities, response.oddities = ("a bare LF",), ("two spaces",)
    origin.answer(response)
    await house.exchange.run(FakeClient(), request)
    assert house.flow.notes == (
        "request: a bare LF",
        "response: two spaces",
        "response: more than its answer",
    )


async def test_exchanges_side_by_side_are_flows_of_their_own(house: House) -> None:
    first, second = house.origin(), house.origin()
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(house.exchange.run(FakeClient(), asked()))
        await until(lambda: first.sent and second.sent)
        assert house.counters.active == 2
        second.answer(answered(202))
        await until(lambda: house.counters.active == 1)
        first.answer(answered(201))
    statuses = [flow.response.status for flow in house.flows if flow.response is not None]
    assert statuses == [201, 202]
    assert house.flows.settled == [2, 1]


async def test_informational_answers_come_first_and_are_not_the_answer(house: House) -> None:
    client = FakeClient()
    house.origin(answered(100), answered(103), answered(200))
    await house.exchange.run(client, asked(length=0))
    assert client.sent == [
        ("informational", 100),
        ("informational", 103),
        ("head", 200),
        ("end", None),
    ]
    assert house.flow.response is not None
    assert house.flow.response.status == 200


async def test_flood_of_informational_answers_is_a_502(house: House) -> None:
    client, origin = FakeClient(), house.origin(*[answered(103)] * 101)
    await house.exchange.run(client, asked())
    assert client.kinds == ["informational", "head", "data", "end"]
    assert ("head", 502) in client.sent
    assert origin.ends == ["abort"]
    assert "origin:80 sent more than 100 informational answers" in (house.flow.error or "")


# --- bodies


async def test_request_body_goes_on_while_it_comes_with_its_trailers(house: House) -> None:
    client, origin = FakeClient(), house.origin()
    client.coming_trailers = TRAILERS
    client.body(b"one")
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked(b"POST", CHUNKED)))
        await until(lambda: origin.data == b"one")
        assert house.flow.request_sent is None
        client.body(b"two", b"")
        await until(lambda: "end" in origin.kinds)
        origin.answer(answered())
    assert origin.length == CHUNKED
    assert origin.sent[1:] == [("data", b"one"), ("data", b"two"), ("end", TRAILERS)]
    assert origin.ends == ["release"]
    flow = house.flow
    assert (flow.request_body.kept, flow.request_body.trailers) == (b"onetwo", TRAILERS)
    assert flow.request_sent is not None


async def test_response_trailers_reach_the_client_and_the_flow(house: House) -> None:
    client, origin = FakeClient(), house.origin(answered(length=CHUNKED), body=(b"x", b""))
    origin.coming_trailers = TRAILERS
    await house.exchange.run(client, asked())
    assert (client.length, client.sent[-1]) == (CHUNKED, ("end", TRAILERS))
    assert house.flow.response_body.trailers == TRAILERS


async def test_client_that_stops_reading_holds_the_origin_back(house: House) -> None:
    client = FakeClient()
    origin = house.origin(answered(length=9), body=(b"one", b"two", b"six", b""))
    client.blocked_after = 2
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked()))
        await until(lambda: client.drains)
        await asyncio.sleep(0)
        assert (client.data, origin.reads) == (b"onetwo", 2)
        client.unblock()
    assert client.data == b"onetwosix"


async def test_origin_that_stops_reading_holds_the_client_back(house: House) -> None:
    client, origin = FakeClient(), house.origin()
    client.body(b"one", b"two", b"six", b"")
    origin.blocked_after = 1
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked(b"PUT", 9)))
        await until(lambda: origin.drains)
        await asyncio.sleep(0)
        assert (origin.data, client.reads) == (b"one", 1)
        origin.unblock()
        await until(lambda: "end" in origin.kinds)
        origin.answer(answered())
    assert origin.data == b"onetwosix"


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [((b"12345", b"67890"), b"1234567890"), ((b"1234567", b"89012"), b"1234567890")],
    ids=["at the limit", "over it"],
)
async def test_body_is_kept_up_to_the_limit_and_counted_and_sent_whole(
    build: Callable[[int], House], pieces: tuple[bytes, ...], kept: bytes
) -> None:
    house = build(10)
    whole = b"".join(pieces)
    client, origin = FakeClient(), house.origin(answered(length=len(whole)), body=(*pieces, b""))
    client.body(*pieces, b"")
    await house.exchange.run(client, asked(b"POST", len(whole)))
    assert client.data == origin.data == whole
    for body in (house.flow.request_body, house.flow.response_body):
        assert (body.size, body.kept) == (len(whole), kept)
        assert body.truncated is (len(whole) > 10)


async def test_head_does_not_wait_for_a_body_that_is_slow_to_come(house: House) -> None:
    client, origin = FakeClient(), house.origin(answered(length=CHUNKED))
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked()))
        await until(lambda: client.drains == 1)
        assert client.sent == [("head", 200)]
        assert house.flow.response is not None
        origin.body(b"x", b"")
    assert client.drains == 1


async def test_body_that_streams_is_news_at_once_and_then_now_and_then(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(News.__init__, "__defaults__", (0.05,))
    client, origin = FakeClient(), house.origin(answered(length=CHUNKED))
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked()))
        await until(lambda: len(house.news.items) == 2)  # that it began, and that its head came
        for count in range(1, 6):
            origin.body(b"x")
            await until(lambda: len(client.data) == origin.reads == count)  # noqa: B023 - at once
        await until(lambda: house.news.items[-1][2] == 5)  # though nothing comes any more
        told = len(house.news.items)
        origin.body(b"")
    assert told < 6
    assert [size for _, _, size in house.news.items[:2]] == [0, 0]
    assert len(house.news.items) == told + 1


async def test_request_body_that_streams_is_news_while_it_comes(house: House) -> None:
    client, origin = FakeClient(), house.origin()
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked(b"POST", CHUNKED)))
        await until(lambda: origin.kinds == ["head"])
        client.body(b"x")
        await until(lambda: origin.data == b"x")
        assert len(house.news.items) == 2  # that it began, and that something came
        client.body(b"")
        origin.answer(answered())


# --- early answers


async def test_answer_before_the_end_of_the_request_ends_the_request(house: House) -> None:
    client = FakeClient()
    origin = house.origin(answered(413, length=5), body=(b"large", b""))
    client.body(b"some")
    await house.exchange.run(client, asked(b"POST", 1_000_000))
    assert client.sent == [("head", 413), ("data", b"large"), ("end", None)]
    assert origin.ends == ["abort"]
    assert (house.flow.error, house.flow.request_sent) == (None, None)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_request_goes_on_while_its_answer_comes(house: House) -> None:
    client, origin = FakeClient(), house.origin(answered(length=CHUNKED), body=(b"first",))
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked(b"POST", CHUNKED)))
        await until(lambda: client.data == b"first")
        client.body(b"question", b"")
        await until(lambda: origin.data == b"question")
        origin.body(b"second", b"")
    assert client.data == b"firstsecond"
    assert origin.ends == ["release"]
    assert house.flow.error is None


async def test_early_answer_survives_that_the_origin_takes_no_more(house: House) -> None:
    client = FakeClient()
    origin = house.origin(answered(413, length=9), body=(b"one", b"two", b"six", b""))
    origin.blocked_after = client.blocked_after = 1
    client.body(b"much", b"more")
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked(b"POST", 1_000_000)))
        await until(lambda: client.drains and origin.drains)
        origin.unblock(error=UpstreamError("it broke off"))
        for _ in range(5):
            await asyncio.sleep(0)
        client.unblock()
    assert client.data == b"onetwosix"
    assert client.kinds == ["head", "data", "end"]
    assert house.flow.error is None
    assert origin.ends == ["abort"]
