from __future__ import annotations

import asyncio

import pytest

from proxy_core.errors import (
    ClientDisconnected,
    RemoteProtocolError,
    UpstreamError,
    UpstreamGone,
)
from proxy_core.model.flow import FlowState
from proxy_core.wire.events import CHUNKED
from tests.exchange.fakes import ROUTE, FakeClient, FakeUpstream, answered, asked
from tests.exchange.house import House
from tests.waiting import until

# --- the origin fails


@pytest.mark.parametrize(("status", "length"), [(502, 0), (504, 0), (502, 3), (504, 3)])
async def test_origin_out_of_reach_is_told_with_the_status_that_fits(
    house: House, status: int, length: int
) -> None:
    client = FakeClient()
    house.upstreams.new.append(UpstreamError("origin:80 is not there", status))
    await house.exchange.run(client, asked(b"POST", length))
    assert client.kinds == ["head", "data", "end"]
    assert client.sent[0] == ("head", status)
    assert client.data == b"int3rceptor: origin:80 is not there\n"
    assert client.length == len(client.data)
    flow = house.flow
    assert (flow.state, flow.error) == (FlowState.FAILED, "origin:80 is not there")
    assert (flow.server, flow.request_sent) == (None, None)
    assert flow.response is not None
    assert (flow.response.status, flow.response_body.kept) == (status, client.data)


@pytest.mark.parametrize("length", [0, CHUNKED])
async def test_origin_that_gives_no_answer_is_told_with_the_status_that_fits(
    house: House, length: int
) -> None:
    client, origin = FakeClient(), house.origin(UpstreamError("it was silent", 504))
    client.body(b"")
    await house.exchange.run(client, asked(b"POST", length))
    assert client.sent[0] == ("head", 504)
    assert origin.ends == ["abort"]
    assert (house.flow.server, house.flow.error) == (origin.server, "it was silent")
    assert house.flow.request_sent is not None


async def test_origin_that_breaks_off_its_answer_cuts_the_clients_short(house: House) -> None:
    client = FakeClient()
    origin = house.origin(answered(length=9), body=(b"some",))
    origin.body(UpstreamError("it was reset"))
    await house.exchange.run(client, asked())
    assert client.sent == [("head", 200), ("data", b"some")]
    assert client.aborted == house.flow.error == "it was reset"
    assert origin.ends == ["abort"]
    assert house.flow.response_body.kept == b"some"


async def test_answer_of_our_own_to_head_has_no_body(house: House) -> None:
    client = FakeClient()
    house.upstreams.new.append(UpstreamError("it is not there"))
    await house.exchange.run(client, asked(b"HEAD"))
    assert client.sent == [("head", 502), ("end", None)]
    assert client.head.headers.get(b"content-length") == b"%d" % client.length
    assert house.flow.response_body.size == 0


@pytest.mark.parametrize(
    ("method", "unseen", "again"),
    [
        (b"GET", False, True),
        (b"DELETE", False, True),
        (b"POST", False, False),
        (b"POST", True, True),
    ],
)
async def test_kept_connection_that_had_died_is_replaced_where_that_is_safe(
    house: House, method: bytes, unseen: bool, again: bool
) -> None:
    client = FakeClient()
    kept = FakeUpstream(UpstreamGone("it closed", unseen), reused=True)
    house.upstreams.kept.append(kept)
    fresh = house.origin(answered())
    await house.exchange.run(client, asked(method, clean=b"A: 1\r\n\r\n"))
    assert kept.ends == ["abort"]
    if again:
        assert house.upstreams.asked == [("kept", ROUTE), ("fresh", ROUTE)]
        assert (fresh.head, fresh.clean) == (kept.head, kept.clean)
        assert (house.flow.error, house.flow.server) == (None, fresh.server)
    else:
        assert house.upstreams.asked == [("kept", ROUTE)]
        assert (client.sent[0], house.flow.error) == (("head", 502), "it closed")


@pytest.mark.parametrize(("method", "again"), [(b"PUT", True), (b"DELETE", True), (b"POST", False)])
@pytest.mark.parametrize("length", [4, CHUNKED])
async def test_kept_connection_that_had_died_is_replaced_with_the_body_where_that_is_safe(
    house: House, method: bytes, again: bool, length: int
) -> None:
    client = FakeClient()
    client.body(b"bo", b"dy", b"")
    kept = FakeUpstream(UpstreamGone("it closed"), reused=True)
    house.upstreams.kept.append(kept)
    fresh = house.origin(answered())
    await house.exchange.run(client, asked(method, length))
    assert kept.ends == ["abort"]
    assert client.sent[0] == ("head", 200 if again else 502)
    assert fresh.data == (b"body" if again else b"")
    assert house.flow.error == (None if again else "it closed")


async def test_new_connection_that_dies_is_not_tried_again(house: House) -> None:
    client, origin = FakeClient(), house.origin(UpstreamGone("it closed"))
    await house.exchange.run(client, asked())
    assert house.upstreams.asked == [("new", ROUTE)]
    assert client.sent[0] == ("head", 502)
    assert origin.ends == ["abort"]


@pytest.mark.parametrize("length", [0, CHUNKED])
async def test_refused_request_is_sent_again_once(house: House, length: int) -> None:
    client = FakeClient()
    origins = [house.origin(UpstreamGone("refused", unseen=True)) for _ in range(2)]
    if length:
        client.body(b"a", b"b", b"")
    await house.exchange.run(client, asked(b"POST", length))
    assert house.upstreams.asked == [("new", ROUTE), ("fresh", ROUTE)]
    assert client.sent[0] == ("head", 502)
    assert [origin.ends for origin in origins] == [["abort"], ["abort"]]


async def test_refused_request_takes_its_body_along(house: House) -> None:
    client = FakeClient()
    house.origin(UpstreamGone("refused", unseen=True))
    second = house.origin(answered())
    client.body(b"one", b"two", b"")
    await house.exchange.run(client, asked(b"POST", CHUNKED))
    assert second.data == b"onetwo"
    assert second.sent[-1] == ("end", None)
    assert (house.flow.error, house.flow.request_body.kept) == (None, b"onetwo")


async def test_refused_request_whose_body_was_not_kept_is_not_sent_again(house: House) -> None:
    client, _ = FakeClient(), house.origin(UpstreamGone("refused", unseen=True))
    client.body(b"x" * 20_000_000, b"")
    await house.exchange.run(client, asked(b"POST", CHUNKED))
    assert house.upstreams.asked == [("new", ROUTE)]
    assert client.sent[0] == ("head", 502)


async def test_origin_that_takes_no_more_and_says_nothing_is_told_by_the_first_cause(
    house: House,
) -> None:
    client, origin = FakeClient(), house.origin()
    origin.blocked_after = 1
    client.body(b"much", b"more")
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked(b"POST", 1_000_000)))
        await until(lambda: origin.drains)
        origin.unblock(error=UpstreamError("it did not read", 504))
        origin.answer(UpstreamError("it ended without an answer"))
    assert client.sent[0] == ("head", 504)
    assert house.flow.error == "it did not read"
    assert origin.ends == ["abort"]


# --- the client fails


async def test_client_gone_in_the_middle_of_its_body_ends_the_exchange(house: House) -> None:
    client, origin = FakeClient(), house.origin()
    client.body(b"half")
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked(b"POST", 8)))
        await until(lambda: origin.data == b"half")
        client.body(ClientDisconnected("the client went away: reset"))
    assert client.sent == []
    assert client.aborted == house.flow.error == "the client went away: reset"
    assert set(origin.ends) == {"abort"}
    assert (house.flow.request_body.kept, house.flow.request_sent) == (b"half", None)


async def test_body_with_bad_framing_is_a_400_that_blames_the_client(house: House) -> None:
    client, origin = FakeClient(), house.origin()
    client.body(b"half", RemoteProtocolError("the chunk has no size"))
    await house.exchange.run(client, asked(b"POST", CHUNKED))
    assert client.sent[0] == ("head", 400)
    assert house.flow.error == "the client sent a bad body: the chunk has no size"
    assert set(origin.ends) == {"abort"}


async def test_client_gone_while_it_is_answered_gives_the_origin_up(house: House) -> None:
    client, origin = FakeClient(), house.origin(answered(length=9), body=(b"some", b"more"))
    client.unblock(error=ClientDisconnected("the client went away"))
    await house.exchange.run(client, asked())
    assert client.kinds == ["head"]  # nothing is read for a client that does not read
    assert client.aborted == house.flow.error == "the client went away"
    assert origin.ends == ["abort"]


@pytest.mark.parametrize("length", [0, 5])
async def test_cancelled_exchange_is_a_flow_whose_client_went_away(
    house: House, length: int
) -> None:
    client, origin = FakeClient(), house.origin()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(house.exchange.run(client, asked(b"PUT", length)))
        await until(lambda: origin.sent)
        running.cancel()
    assert house.flow.error == "the client went away"
    assert origin.ends == ["abort"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- faults of our own


@pytest.mark.parametrize("where", ["story", "upload"])
async def test_fault_of_the_proxy_ends_the_exchange_and_is_not_hidden(
    house: House, where: str
) -> None:
    client, origin = FakeClient(), house.origin()
    if where == "story":
        origin.answer(ValueError("a bug"))
    client.body(b"x")
    async with asyncio.TaskGroup() as group:
        group.create_task(_fault(house, client))
        await until(lambda: origin.sent)
        if where == "upload":
            client.body(ValueError("a bug"))
    assert client.aborted == house.flow.error == "a fault of the proxy: ValueError('a bug')"
    assert origin.ends[0] == "abort"


async def _fault(house: House, client: FakeClient) -> None:
    with pytest.raises(ValueError, match="a bug"):
        await house.exchange.run(client, asked(b"POST", 5))
