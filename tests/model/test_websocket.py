from __future__ import annotations

from proxy_core.bus.flow_ring import FlowRing
from proxy_core.model.websocket import WebSocketLog, WebSocketMessage
from tests.control.cores import make_flow


def message(size: int) -> WebSocketMessage:
    return WebSocketMessage(True, 2, 0.0, bytes(size), size)


def test_the_oldest_messages_go_first_and_are_counted() -> None:
    log = WebSocketLog(message(100).weight * 3)
    for size in (100, 100, 100, 99):
        log.add(message(size))
    assert [len(kept.payload) for kept in log.snapshot()] == [100, 100, 99]
    assert (log.count, log.forgotten) == (4, 1)
    assert log.bytes == sum(kept.weight for kept in log.snapshot())


def test_the_newest_message_is_kept_however_large() -> None:
    log = WebSocketLog(10)
    log.add(message(5))
    log.add(message(500))
    assert [len(kept.payload) for kept in log.snapshot()] == [500]


def test_messages_weigh_on_their_flow_and_on_the_ring_while_it_is_open() -> None:
    ring, flow = FlowRing(10**9), make_flow(1)
    ring.add(flow)
    before = flow.weight
    flow.web_socket = WebSocketLog(10_000)
    flow.web_socket.add(message(5000))
    assert flow.weight == before + flow.web_socket.bytes
    ring.settle(flow)
    flow.web_socket.add(message(1000))
    ring.settle(flow)
    assert ring.bytes == flow.weight


def test_a_flow_weighed_early_is_not_the_first_to_go_when_it_ends_late() -> None:
    ring = FlowRing(10**9)
    early, late = make_flow(1), make_flow(2)
    for flow in (early, late):
        ring.add(flow)
    ring.settle(early)
    for flow in (late, early):
        flow.state = type(flow.state).DONE
        ring.settle(flow)
    ring.max_bytes = ring.bytes - 1
    ring.settle(early)
    assert early.id in ring
    assert late.id not in ring
