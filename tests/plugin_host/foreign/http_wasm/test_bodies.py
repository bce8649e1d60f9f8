"""Bodies as streams."""

from __future__ import annotations

import pytest

from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from proxy_core.plugin_host.faults import HostCallFailed
from proxy_core.plugin_host.foreign.http_wasm.passage import WRITTEN_BYTES, Features
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE
from tests.plugin_host.foreign.http_wasm.handler import OUT, Handler
from tests.plugin_host.guests import make_flow

REQUEST, RESPONSE = 0, 1
BOTH = Features.BUFFER_REQUEST | Features.BUFFER_RESPONSE


def flow_with(body: bytes | None) -> Flow:
    flow = make_flow(method=b"POST")
    flow.whole = None if body is None else WholeBody(body)
    return flow


def test_a_body_is_read_piece_by_piece_to_its_end() -> None:
    handler = Handler(flow_with(b"abcdefg"))
    assert handler.piece(REQUEST, 3) == (b"abc", False)
    assert handler.piece(REQUEST, 3) == (b"def", False)
    assert handler.piece(REQUEST, 3) == (b"g", True)
    assert handler.piece(REQUEST, 3) == (b"", True)


def test_an_empty_body_ends_at_once() -> None:
    assert Handler(flow_with(b"")).piece(REQUEST, 1) == (b"", True)


def test_the_first_write_takes_the_bodys_place_and_further_ones_follow() -> None:
    handler = Handler(flow_with(b"old"))
    assert handler.passage.request_edits(handler.flow) is None
    handler.run("write_body", REQUEST, b"new")
    handler.run("write_body", REQUEST, b"er")
    whole = handler.passage.request_edits(handler.flow)
    assert whole is handler.flow.whole
    assert whole is not None
    assert (whole.data, whole.edited) == (b"newer", True)


def test_writing_nothing_empties_a_body() -> None:
    handler = Handler(flow_with(b"old"))
    handler.run("write_body", REQUEST, 0, 0)
    whole = handler.passage.request_edits(handler.flow)
    assert whole is not None
    assert whole.data == b""


def test_a_body_that_was_not_gathered_can_be_replaced_but_not_read() -> None:
    handler = Handler(flow_with(None))
    with pytest.raises(HostCallFailed, match="the request's body is not at hand"):
        handler.piece(REQUEST, 10)
    handler.run("write_body", REQUEST, b"new")
    whole = handler.passage.request_edits(handler.flow)
    assert whole is not None
    assert (whole.data, whole.edited) == (b"new", True)


def test_the_response_that_it_makes_is_its_own_to_write_and_read() -> None:
    handler = Handler(access_bodies=False)
    assert handler.piece(RESPONSE, 10) == (b"", True)
    handler.run("write_body", RESPONSE, b"mine")
    assert handler.piece(RESPONSE, 10) == (b"mine", True)


def test_the_origins_body_is_read_and_replaced_with_the_feature() -> None:
    handler = Handler(features=Features.BUFFER_RESPONSE).turn(b"theirs")
    assert handler.piece(RESPONSE, 10) == (b"theirs", True)
    handler.run("write_body", RESPONSE, b"mine")
    whole = handler.passage.response_edits(handler.flow)
    assert whole is not None
    assert whole.data == b"mine"


def test_what_it_wrote_before_is_not_the_origins_body() -> None:
    handler = Handler(features=Features.BUFFER_RESPONSE)
    handler.run("write_body", RESPONSE, b"early")
    handler.turn(b"theirs")
    assert handler.passage.made_body == b"early"
    assert handler.piece(RESPONSE, 10) == (b"theirs", True)


@pytest.mark.parametrize("kind", [REQUEST, RESPONSE])
def test_bodies_that_have_passed_need_a_feature_to_be_read(kind: int) -> None:
    name = "buffer_request" if kind == REQUEST else "buffer_response"
    with pytest.raises(HostCallFailed, match=f"body has passed; enable {name}"):
        Handler().turn(b"body").piece(kind, 10)


def test_the_requests_body_can_be_read_beside_the_response() -> None:
    flow = flow_with(b"sent")
    flow.request_body.feed(b"sent")
    assert Handler(flow, BOTH).turn().piece(REQUEST, 10) == (b"sent", True)


def test_a_requests_body_of_which_only_a_part_was_kept_cannot_be_read_again() -> None:
    flow = flow_with(b"x")
    flow.request_body.feed(b"x" * 100_000)
    assert flow.request_body.truncated
    with pytest.raises(HostCallFailed, match="not at hand"):
        Handler(flow, BOTH).turn().piece(REQUEST, 10)


def test_bodies_are_accessed_by_permission() -> None:
    denied = Handler(flow_with(b"x"), BOTH, access_bodies=False)
    with pytest.raises(HostCallFailed, match=r"permissions\.access_bodies"):
        denied.piece(REQUEST, 10)
    with pytest.raises(HostCallFailed, match=r"permissions\.access_bodies"):
        denied.run("write_body", REQUEST, b"x")
    denied.turn(b"x")
    with pytest.raises(HostCallFailed, match=r"permissions\.access_bodies"):
        denied.piece(RESPONSE, 10)
    with pytest.raises(HostCallFailed, match=r"permissions\.access_bodies"):
        denied.run("write_body", RESPONSE, b"x")


def test_bodies_are_written_by_permission_and_in_time() -> None:
    with pytest.raises(HostCallFailed, match=r"permissions\.modify_requests"):
        Handler(modify_requests=False).run("write_body", REQUEST, b"x")
    with pytest.raises(HostCallFailed, match=r"permissions\.modify_responses"):
        Handler(None, BOTH, modify_responses=False).turn().run("write_body", RESPONSE, b"x")
    with pytest.raises(HostCallFailed, match="on its way already"):
        Handler(features=BOTH).turn().run("write_body", REQUEST, b"x")
    with pytest.raises(HostCallFailed, match="not enabled buffer_response"):
        Handler().turn().run("write_body", RESPONSE, b"x")


@pytest.mark.parametrize("function", ["read_body", "write_body"])
@pytest.mark.parametrize("kind", [2, HIGH])
def test_an_unknown_kind_traps(function: str, kind: int) -> None:
    with pytest.raises(HostCallFailed, match=f"there is no kind {kind} of bodies"):
        Handler().run(function, kind, OUT, 1)


def test_reading_needs_room_and_room_inside_memory() -> None:
    handler = Handler(flow_with(b"abc"))
    with pytest.raises(HostCallFailed, match="its limit is 0"):
        handler.run("read_body", REQUEST, OUT, 0)
    with pytest.raises(HostCallFailed, match="outside its memory"):
        handler.run("read_body", REQUEST, PAGE - 1, 2)
    assert handler.run("read_body", REQUEST, PAGE - 3, 3) == 1 << 32 | 3


def test_what_is_written_is_limited() -> None:
    handler = Handler()
    with pytest.raises(HostCallFailed, match="at most"):
        handler.run("write_body", RESPONSE, 0, WRITTEN_BYTES + 1)
    for _ in range(WRITTEN_BYTES // PAGE):
        handler.run("write_body", RESPONSE, 0, PAGE)
    with pytest.raises(HostCallFailed, match="writes more than"):
        handler.run("write_body", RESPONSE, 0, 1)
