from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy_core.bus.flow_ring import FlowRing
from proxy_core.model.connection import ClientConnection
from proxy_core.model.flow import Flow, FlowState
from proxy_core.model.ids import ConnectionId, FlowId
from proxy_core.model.message import RequestHead

CLIENT = ClientConnection(ConnectionId(1), ("127.0.0.1", 1), ("127.0.0.1", 2), "regular", 0.0)


def begun(id: int, ring: FlowRing, body: int = 0) -> Flow:
    head = RequestHead(b"GET", "http", b"h", b"/")
    flow = Flow(FlowId(id), CLIENT, head, 0.0, 1_000_000)
    if body:
        flow.response_body.feed(b"x" * body)
    ring.add(flow)
    return flow


def over(id: int, ring: FlowRing, body: int = 0) -> Flow:
    flow = begun(id, ring, body)
    flow.state = FlowState.DONE
    ring.settle(flow)
    return flow


def ids(ring: FlowRing) -> list[int]:
    return [flow.id for flow in ring]


def room_for(flows: int, body: int) -> int:
    return flows * over(1, FlowRing(10**9), body).weight


def test_flows_come_in_the_order_of_their_arrival_however_they_end() -> None:
    ring = FlowRing(10**9)
    first, second = begun(1, ring), begun(2, ring)
    for flow in (second, first):
        flow.state = FlowState.DONE
        ring.settle(flow)
    assert ids(ring) == [1, 2]
    assert ring.snapshot() == [first, second]
    assert ring.get(FlowId(2)) is second
    assert (FlowId(2) in ring, FlowId(3) in ring, len(ring)) == (True, False, 2)


def test_ring_weighs_what_is_over_and_nothing_else() -> None:
    ring = FlowRing(10**9)
    flow = begun(1, ring, 500)
    assert ring.bytes == 0
    flow.state = FlowState.DONE
    ring.settle(flow)
    ring.settle(flow)
    assert ring.bytes == flow.weight


def test_flow_settled_again_weighs_what_it_weighs_now() -> None:
    ring = FlowRing(10**9)
    flow = over(1, ring)
    flow.response_body.feed(b"x" * 700)
    ring.settle(flow)
    assert ring.bytes == flow.weight
    ring.remove(flow.id)
    assert ring.bytes == 0


def test_flow_that_has_been_over_for_longest_goes_first() -> None:
    ring = FlowRing(room_for(2, 1000))
    gone = ring.removed.subscribe(10)
    early = begun(1, ring, 1000)
    over(2, ring, 1000)
    early.state = FlowState.FAILED
    ring.settle(early)
    assert ring.evicted == 0
    over(3, ring, 1000)
    assert ids(ring) == [1, 3]
    assert gone.drain() == [2]
    assert ring.evicted == 1
    assert ring.bytes <= ring.max_bytes


@pytest.mark.parametrize("state", [FlowState.ACTIVE, FlowState.HELD])
def test_flow_under_way_is_never_evicted(state: FlowState) -> None:
    ring = FlowRing(room_for(1, 1000))
    flow = begun(1, ring, 5000)
    flow.state = state
    for later in (2, 3, 4):
        over(later, ring, 1000)
    assert ids(ring) == [1, 4]
    assert ring.clear() == 1
    assert ids(ring) == [1]


def test_flow_larger_than_the_ring_stays_until_the_next_one_ends() -> None:
    ring = FlowRing(room_for(2, 1000))
    over(1, ring, 1000)
    over(2, ring, 100_000)
    assert ids(ring) == [2]
    over(3, ring, 1000)
    assert ids(ring) == [3]
    assert ring.evicted == 2


@pytest.mark.parametrize(
    "forget",
    [lambda ring: ring.remove(FlowId(1)), lambda ring: ring.clear()],
    ids=["remove", "clear"],
)
def test_flow_the_user_forgot_is_told_once_and_not_as_evicted(
    forget: Callable[[FlowRing], object],
) -> None:
    ring = FlowRing(10**9)
    gone = ring.removed.subscribe(10)
    flow = over(1, ring)
    forget(ring)
    forget(ring)
    ring.settle(flow)
    assert gone.drain() == [1]
    assert (len(ring), ring.bytes, ring.evicted) == (0, 0, 0)
    assert ring.get(FlowId(1)) is None


def test_what_plugins_and_people_have_written_to_a_flow_weighs_too() -> None:
    flow = over(1, FlowRing(10**9))
    before = flow.weight
    flow.annotations = {"comment": "a" * 4096, "tag": "\U0001f600" * 1000}
    assert flow.weight >= before + 4096 + 4000
