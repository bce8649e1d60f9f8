from __future__ import annotations

from proxy_core.exchange.growing import Growing
from proxy_core.model.flow import Flow
from proxy_core.model.message import PREVIEW
from tests.control.cores import make_flow

KIB = 1024
LIMIT = 1000 * KIB


def flow_of(number: int) -> Flow:
    return make_flow(number, body_limit=1024 * KIB)


def feed(growing: Growing, flow: Flow, size: int) -> None:
    flow.response_body.feed(bytes(size))
    growing.grew(flow)


def kept(*flows: Flow) -> list[int]:
    return [flow.response_body.kept_size // KIB for flow in flows]


def test_flows_keep_all_while_there_is_room() -> None:
    growing = Growing(LIMIT)
    one, two = flow_of(1), flow_of(2)
    for _ in range(5):
        feed(growing, one, 100 * KIB)
        feed(growing, two, 100 * KIB)
    assert kept(one, two) == [500, 500]
    assert growing.bytes == LIMIT


def test_of_those_that_have_not_grown_for_longest_a_beginning_is_kept() -> None:
    growing = Growing(LIMIT)
    still, moving, new = flow_of(1), flow_of(2), flow_of(3)
    feed(growing, moving, 400 * KIB)
    feed(growing, still, 400 * KIB)
    feed(growing, moving, 10 * KIB)
    feed(growing, new, 300 * KIB)
    assert kept(still, moving, new) == [PREVIEW // KIB, 410, 300]
    assert still.response_body.truncated
    assert growing.bytes == sum([PREVIEW, 410 * KIB, 300 * KIB])


def test_where_beginnings_are_too_much_they_are_cut_too() -> None:
    growing = Growing(LIMIT)
    flows = [flow_of(number) for number in range(100)]
    for flow in flows:
        feed(growing, flow, 60 * KIB)
    assert growing.bytes <= LIMIT
    assert sum(kept(*flows)) <= LIMIT // KIB + 4 * len(flows)
    assert set(kept(*flows)) == {4, 60}
    assert kept(flows[0], flows[-1]) == [4, 60]


def test_flow_that_is_over_counts_no_more() -> None:
    growing = Growing(LIMIT)
    over, going_on = flow_of(1), flow_of(2)
    feed(growing, over, 900 * KIB)
    growing.over(over)
    growing.over(going_on)
    feed(growing, going_on, 900 * KIB)
    assert kept(over, going_on) == [900, 900]
    assert growing.bytes == 900 * KIB
