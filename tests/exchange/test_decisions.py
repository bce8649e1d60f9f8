from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from proxy_core.exchange.capture import CaptureQueue
from proxy_core.exchange.held import Decision
from proxy_core.model.flow import Flow, FlowState
from proxy_core.model.headers import Headers
from proxy_core.model.ids import FlowId
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.model.verdict import CONTINUE, Block, Hold, Respond, Verdict
from proxy_core.wire.events import CHUNKED
from tests.exchange.fakes import FakeClient, answered, asked
from tests.exchange.house import House
from tests.waiting import until

TEAPOT = ResponseHead(418, b"", Headers([(b"X", b"1")]))


def saying(verdict: Verdict) -> Callable[[Flow], Awaitable[Verdict]]:
    async def hook(flow: Flow) -> Verdict:
        return verdict

    return hook


# --- edits


async def test_edited_request_is_the_one_that_is_routed_and_sent(house: House) -> None:
    edited = RequestHead(b"GET", "http", b"elsewhere", b"/other")

    async def edit(flow: Flow) -> Verdict:
        assert flow.state is FlowState.ACTIVE
        assert house.upstreams.asked == []
        flow.request_received, flow.request = flow.request, edited
        return CONTINUE

    house.hooks.request = edit
    client, origin = FakeClient(), house.origin(answered())
    await house.exchange.run(client, asked(clean=b"stale\r\n\r\n"))
    assert client.routed is edited
    assert (origin.head, origin.clean) == (edited, None)


async def test_nothing_is_held_where_nobody_decides(house: House) -> None:
    house.held.attended = False
    house.hooks.request = house.hooks.response = saying(Hold("plugin censor"))
    client = FakeClient()
    house.origin(answered())
    await house.exchange.run(client, asked())
    assert client.head is not None
    (flow,) = house.flows.snapshot()
    note = "not held for plugin censor, as there is no console to let it go on"
    assert (flow.state, flow.notes) == (FlowState.DONE, (note,))


async def test_edited_response_is_the_one_that_is_sent(house: House) -> None:
    client = FakeClient()
    house.origin(answered(length=1, clean=b"stale\r\n\r\n"), body=(b"x", b""))

    async def edit(flow: Flow) -> Verdict:
        assert client.sent == []
        flow.response_received, flow.response = flow.response, TEAPOT
        return CONTINUE

    house.hooks.response = edit
    await house.exchange.run(client, asked())
    assert (client.head, client.length, client.clean) == (TEAPOT, 1, None)
    assert client.data == b"x"


async def test_hooks_that_change_nothing_leave_the_heads_byte_for_byte(house: House) -> None:
    house.hooks.request = house.hooks.response = saying(CONTINUE)
    client, origin = FakeClient(), house.origin(answered(clean=b"B: 2\r\n\r\n"))
    await house.exchange.run(client, asked(clean=b"A: 1\r\n\r\n"))
    assert (origin.clean, client.clean) == (b"A: 1\r\n\r\n", b"B: 2\r\n\r\n")


# --- answers instead


@pytest.mark.parametrize("length", [0, 1000])
@pytest.mark.parametrize(
    ("verdict", "status", "body", "note"),
    [
        (
            Block("plugin a", 451),
            451,
            b"int3rceptor: Blocked by plugin a.\n",
            "blocked by plugin a",
        ),
        (Respond("plugin b", TEAPOT, b"tea"), 418, b"tea", "answered by plugin b"),
        (Respond("plugin b", TEAPOT), 418, b"", "answered by plugin b"),
    ],
    ids=["block", "respond", "respond without a body"],
)
async def test_request_that_is_answered_here_never_reaches_an_origin(
    house: House, verdict: Verdict, status: int, body: bytes, note: str, length: int
) -> None:
    house.hooks.request = saying(verdict)
    client = FakeClient()
    await house.exchange.run(client, asked(b"POST", length))
    assert house.upstreams.asked == []
    assert client.kinds == (["head", "data", "end"] if body else ["head", "end"])
    assert (client.head.status, client.length, client.data) == (status, len(body), body)
    flow = house.flow
    assert (flow.state, flow.notes) == (FlowState.DONE, (note,))
    assert (flow.response, flow.response_received) == (client.head, None)
    assert flow.response_body.kept == body
    assert flow.first_byte is not None
    assert client.reads == 0


@pytest.mark.parametrize("verdict", [Block("rule 1"), Respond("rule 1", TEAPOT, b"tea")])
@pytest.mark.parametrize("length", [0, 1000])
async def test_response_that_is_replaced_never_reaches_the_client(
    house: House, verdict: Verdict, length: int
) -> None:
    house.hooks.response = saying(verdict)
    client, origin = FakeClient(), house.origin(answered(200, length=6), body=(b"secret", b""))
    await house.exchange.run(client, asked(b"POST", length))
    assert client.sent[0] == ("head", 403 if isinstance(verdict, Block) else 418)
    assert b"secret" not in client.data
    assert origin.ends == ["abort"]
    flow = house.flow
    assert flow.response_received is not None
    assert flow.response_received.status == 200
    assert flow.response_body.kept == client.data
    assert asyncio.all_tasks() == {asyncio.current_task()}


def answering(house: House) -> None:
    head = ResponseHead(418, b"", Headers([(b"Content-Length", b"3")]))
    house.hooks.request = saying(Respond("plugin a", head, b"tea"))
    house.hooks.response_body = lambda flow: True


async def test_an_answer_of_a_hook_goes_past_the_response_hooks(house: House) -> None:
    answering(house)
    seen: list[tuple[str | None, bytes]] = []

    async def edit(flow: Flow) -> Verdict:
        assert flow.response is not None
        assert flow.whole is not None
        seen.append((flow.answered_by, flow.whole.data))
        flow.response_received = flow.response
        flow.response = flow.response.replace(status=200)
        flow.whole.data = b"coffee"
        return CONTINUE

    house.hooks.response = edit
    client = FakeClient()
    await house.exchange.run(client, asked())
    assert seen == [("plugin a", b"tea")]
    assert (client.head.status, client.data, client.length) == (200, b"coffee", 6)
    assert client.head.headers.get(b"content-length") == b"6"
    assert house.flow.response_received is not None
    assert house.flow.response_received.status == 418
    assert house.flow.response_body.kept == b"coffee"
    assert (house.flow.notes, house.flow.error) == (("answered by plugin a",), None)


async def test_an_answer_of_a_hook_goes_through_filters_piece_by_piece(house: House) -> None:
    answering(house)

    async def loud(data: bytes, ended: bool) -> bytes:
        return data.upper()

    house.hooks.response_body = None
    house.hooks.response_stream = lambda flow: loud
    client = FakeClient()
    await house.exchange.run(client, asked())
    assert (client.data, client.length) == (b"TEA", CHUNKED)
    assert b"content-length" not in client.head.headers


async def test_an_answer_of_a_hook_to_head_has_no_body_for_anybody(house: House) -> None:
    answering(house)
    wholes: list[bytes] = []

    async def look(flow: Flow) -> Verdict:
        assert flow.whole is not None
        wholes.append(flow.whole.data)
        return CONTINUE

    house.hooks.response = look
    client = FakeClient()
    await house.exchange.run(client, asked(b"HEAD"))
    assert (wholes, client.data, client.kinds) == ([b""], b"", ["head", "end"])
    assert client.head.headers.get(b"content-length") == b"3"


async def test_an_answer_of_a_hook_may_be_blocked_by_another(house: House) -> None:
    answering(house)
    house.hooks.response = saying(Block("plugin b"))
    client = FakeClient()
    await house.exchange.run(client, asked())
    assert client.head.status == 403
    assert house.flow.notes == ("answered by plugin a", "blocked by plugin b")
    assert house.flow.response_received is not None
    assert house.flow.response_received.status == 418


# --- holds


@pytest.mark.parametrize("point", ["request", "response"])
async def test_held_flow_goes_on_when_it_is_resumed(house: House, point: str) -> None:
    setattr(house.hooks, point, saying(Hold("rule 1")))
    client, origin = FakeClient(), house.origin(answered(length=1), body=(b"x", b""))
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked()))
        await until(lambda: house.held)
        flow = house.flow
        assert (flow.state, house.counters.held, house.counters.active) == (FlowState.HELD, 1, 1)
        assert house.held.ids() == [flow.id]
        assert house.news.states == [FlowState.ACTIVE, FlowState.HELD]
        assert bool(origin.sent) is (point == "response")
        assert client.sent == []
        assert house.held.decide(flow.id, Decision.RESUME)
        assert not house.held.decide(flow.id, Decision.KILL)
    assert (client.kinds, client.data) == (["head", "data", "end"], b"x")
    assert (flow.state, flow.notes) == (FlowState.DONE, ("held by rule 1",))
    assert FlowState.ACTIVE in house.news.states[2:]
    assert not house.held.decide(flow.id, Decision.RESUME)


@pytest.mark.parametrize("length", [0, 1000])
@pytest.mark.parametrize("point", ["request", "response"])
async def test_held_flow_that_is_killed_gets_no_answer(
    house: House, point: str, length: int
) -> None:
    setattr(house.hooks, point, saying(Hold("rule 1")))
    client, origin = FakeClient(), house.origin(answered(length=1), body=(b"x", b""))
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked(b"POST", length)))
        await until(lambda: house.held)
        house.held.decide(house.flow.id, Decision.KILL)
    assert client.sent == []
    assert client.aborted == house.flow.error == "killed by the user"
    assert origin.ends == (["abort"] if point == "response" else [])
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("point", ["request", "response"])
async def test_client_that_leaves_while_its_flow_is_held_frees_it(house: House, point: str) -> None:
    setattr(house.hooks, point, saying(Hold("rule 1")))
    house.origin(answered())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(house.exchange.run(FakeClient(), asked()))
        await until(lambda: house.held)
        running.cancel()
    assert house.flow.error == "the client went away"
    assert not house.held.decide(house.flow.id, Decision.RESUME)


async def test_flow_may_be_held_at_both_ends_and_decided_in_any_order(house: House) -> None:
    house.hooks.request = house.hooks.response = saying(Hold("rule 1"))
    clients = [FakeClient(), FakeClient()]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            house.origin(answered())
            group.create_task(house.exchange.run(client, asked()))
        await until(lambda: len(house.held) == 2)
        first, second = house.held.ids()
        for flow_id in (second, second, first, first):
            await until(lambda: len(house.held) == house.counters.active)
            assert house.held.decide(flow_id, Decision.RESUME)
            await asyncio.sleep(0)
    assert house.flows.settled == [second, first]
    assert all(flow.notes == ("held by rule 1", "held by rule 1") for flow in house.flows)


# --- captures


async def test_finished_flows_are_captured_one_after_the_other_behind_the_traffic(
    house: House,
) -> None:
    captured: list[tuple[int, FlowState]] = []
    go_on = asyncio.Event()

    async def capture(flow: Flow) -> bool:
        captured.append((flow.id, flow.state))
        await go_on.wait()
        return False

    house.origin(answered())
    await house.exchange.run(FakeClient(), asked())  # nobody listens yet
    house.hooks.capture = capture
    async with asyncio.TaskGroup() as group:
        queue = group.create_task(house.captures.run(house.ledger.changed))
        for _ in range(3):
            house.origin(answered())
            await house.exchange.run(FakeClient(), asked())
        await until(lambda: captured)
        assert captured == [(2, FlowState.DONE)]
        go_on.set()
        await until(lambda: len(captured) == 3)
        house.hooks.capture = None
        house.origin(answered())
        await house.exchange.run(FakeClient(), asked())
        await asyncio.sleep(0)
        queue.cancel()
    assert [number for number, _ in captured] == [2, 3, 4]


async def test_captures_that_are_behind_lose_the_oldest_flows_and_count_them(
    house: House,
) -> None:
    captured: list[int] = []

    async def capture(flow: Flow) -> bool:
        captured.append(flow.id)
        return False

    house.hooks.capture = capture
    backlog = 10_000
    client, head = FakeClient().client, asked().head
    flows = [Flow(FlowId(number), client, head, 0.0, 0) for number in range(backlog + 5)]
    lost: list[int] = []
    captures = CaptureQueue(house.hooks, lost.append)
    for flow in flows:
        captures.put(flow)
    assert captures.dropped == 5
    assert lost == [1, 2, 4]
    async with asyncio.TaskGroup() as group:
        queue = group.create_task(captures.run(house.ledger.changed))
        await until(lambda: len(captured) == backlog)
        queue.cancel()
    assert captured == [flow.id for flow in flows[5:]]


async def test_a_flow_that_was_only_looked_at_takes_no_more_memory_than_before(
    house: House,
) -> None:
    looked_at: list[Flow] = []

    async def capture(flow: Flow) -> bool:
        assert flow.request.headers
        looked_at.append(flow)
        return False

    house.hooks.capture = capture
    house.origin(answered())
    await house.exchange.run(FakeClient(), asked())
    async with asyncio.TaskGroup() as group:
        queue = group.create_task(house.captures.run(house.ledger.changed))
        await until(lambda: looked_at)
        await asyncio.sleep(0)
        queue.cancel()
    assert house.flow.request._headers is None
