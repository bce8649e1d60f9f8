"""A head that a filter holds back for a body which is not there yet, and comes piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from proxy_core.errors import UpstreamError
from proxy_core.exchange.fetch import Fetched
from proxy_core.exchange.hooks import TrailersToo
from proxy_core.exchange.sources import Filtered, ReadAhead
from proxy_core.model.flow import Flow
from proxy_core.model.ids import FlowId
from proxy_core.model.message import ResponseHead
from proxy_core.plugin_host import codes as abi
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import GuestFailure
from proxy_core.plugin_host.files.foreign_options import ProxyWasmOptions
from proxy_core.plugin_host.files.manifest import Permissions
from proxy_core.plugin_host.foreign.proxy_wasm import passage
from proxy_core.plugin_host.foreign.proxy_wasm.codes import StreamType
from proxy_core.plugin_host.functions.header_block import pack
from proxy_core.plugin_host.pieces import one_after_the_other
from proxy_core.plugin_host.runtime.raw import RawEngine
from tests.exchange.fakes import Side
from tests.plugin_host.foreign.proxy_wasm.fake_room import Driven
from tests.plugin_host.foreign.proxy_wasm.filters import CONTINUE, PAUSE, add, filter_of, on, text
from tests.plugin_host.guests import make_flow

Load = Callable[..., Driven]

FIELDS = pack([(b":method", b"GET"), (b":path", b"/token"), (b":authority", b"auth"), (b"a", b"b")])
FETCH = f"""(drop (call $http_call {text(100, 4)} {text(200, len(FIELDS))} {text(0, 0)}
    {text(0, 0)} (i32.const 1000) (global.get $number)))"""
RESUME = """(drop (call $set_effective_context (i32.const 2)))
    (drop (call $continue_stream (i32.const 0)))"""
WHOLE = f"(if (i32.eqz (local.get 2)) (then (return {PAUSE})))"
"""A body's callback waits for its end."""


@pytest.fixture
async def load() -> AsyncIterator[Load]:
    engine = RawEngine()
    made: list[Driven] = []

    def make(data: bytes, **options: Any) -> Driven:
        made.append(Driven(engine, data, **{"deadline_ms": 60_000, **options}))
        return made[-1]

    yield make
    for driven in made:
        await driven.room.close()
    engine.close()


class Coming:
    """A flow whose request's body comes as the test says."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.side = Side()
        self.side.body(*pieces)
        self.flow: Flow = make_flow()
        self.ahead = self.flow.open_body = ReadAhead(self.side)

    async def rest(self) -> bytes:
        """What goes on behind the head."""
        out = b""
        while piece := await self.ahead.source.read():
            out += piece
        return out


def pausing(body: str, *others: str, texts: dict[int, bytes] | None = None) -> bytes:
    return filter_of(
        on("request_headers", 3, PAUSE), on("request_body", 3, body), *others, texts=texts
    )


async def test_the_head_is_edited_at_the_end_of_the_body(load: Load) -> None:
    driven = load(
        pausing(WHOLE + add(0, (100, 1), (100, 1)) + CONTINUE, texts={100: b"x"}), on_failure="open"
    )
    coming = Coming(b"ab", b"cd", b"")
    assert (await driven.request(coming.flow))[0] == abi.CONTINUE
    assert coming.flow.request.headers.get(b"x") == b"x"
    assert await coming.rest() == b"abcd"
    assert driven.room.lines == []


async def test_what_comes_behind_a_head_that_was_let_go_is_shown_as_it_comes(load: Load) -> None:
    add_mark = (
        f"(drop (call $set_buffer_bytes (i32.const 0) (i32.const 0) (i32.const 0) {text(100, 1)}))"
    )
    driven = load(pausing(add_mark + CONTINUE, texts={100: b"<"}))
    coming = Coming(b"ab")
    assert (await driven.request(coming.flow))[0] == abi.CONTINUE
    coming.side.body(b"cd", b"")
    assert await coming.rest() == b"<ab<cd<"


async def test_pieces_that_are_taken_do_not_go_on(load: Load) -> None:
    take = "(if (result i32) (local.get 2) (then (i32.const 0)) (else (i32.const 3)))"
    driven, coming = load(pausing(take)), Coming(b"ab", b"cd", b"")
    await driven.request(coming.flow)
    assert await coming.rest() == b""


async def test_a_filter_answers_in_the_middle_of_the_body(load: Load) -> None:
    respond = f"""(drop (call $send_local_response (i32.const 418) {text(0, 0)} {text(100, 3)}
        {text(0, 0)} (i32.const -1)))"""
    driven, coming = load(pausing(respond + PAUSE, texts={100: b"tea"})), Coming(b"ab")
    code, call = await driven.request(coming.flow)
    assert (code, call.respond_body) == (abi.RESPOND, b"tea")


async def test_a_head_waits_for_its_body_once_the_calls_of_other_flows_are_over(load: Load) -> None:
    """Which might have let it go on: a filter may wait for one answer with several flows."""
    first = "(if (i32.eq (local.get 0) (i32.const 2)) (then"
    driven = load(
        filter_of(
            on("request_headers", 3, f"{first} {FETCH})) {PAUSE}"),
            on("request_body", 3, MARK),
            on("http_call_response", 5, RESUME, ""),
            texts={100: b"xuth", 200: FIELDS},
        )
    )
    driven.room.answers["http://auth/token"] = Fetched(ResponseHead(200), b"", ())
    driven.room.may_answer.clear()
    calling, coming = Coming(), Coming(b"ab", b"")
    coming.flow.id = FlowId(18)
    async with asyncio.TaskGroup() as group:
        group.create_task(driven.request(calling.flow))
        await driven.room.until(lambda: bool(driven.room.asked))
        waiting = group.create_task(driven.request(coming.flow))
        await driven.room.until(lambda: len(driven.driver.streams) == 2)
        await driven.room.until(
            lambda: len(driven.driver.streams[FlowId(18)].instance.waiting) == 2
        )
        assert coming.side.reads == 0
        driven.room.may_answer.set()
    assert waiting.result()[0] == abi.CONTINUE
    assert coming.flow.request.headers.get(b"x") == b"x"
    calling.ahead.close()


async def test_it_goes_on_when_asked_for_while_the_body_is_awaited(load: Load) -> None:
    """In its body's callback the filter asks another host, whose answer lets the flow go on."""
    driven = load(
        pausing(
            FETCH + PAUSE,
            on("http_call_response", 5, RESUME, ""),
            texts={100: b"auth", 200: FIELDS},
        )
    )
    driven.room.answers["http://auth/token"] = Fetched(ResponseHead(200), b"", ())
    coming = Coming(b"ab")
    assert (await driven.request(coming.flow))[0] == abi.CONTINUE
    assert driven.room.asked
    coming.side.body(b"cd", b"")
    driven.room.may_answer.clear()
    assert await coming.ahead.source.read() == b"ab"
    coming.ahead.close()


TICKS = on(
    "configure",
    2,
    "(drop (call $set_tick_period_milliseconds (i32.const 60000))) (i32.const 1)",
)
MARK = add(0, (100, 1), (100, 1)) + CONTINUE


@pytest.mark.parametrize(
    ("allowed", "shown"), [(None, False), (True, True), (False, False)], ids=str
)
async def test_the_manifest_says_whether_a_filter_that_ticks_waits_for_the_body(
    load: Load, allowed: bool | None, shown: bool
) -> None:
    options = ProxyWasmOptions(allow_on_headers_stop_iteration=allowed)
    driven = load(
        pausing(MARK, TICKS, texts={100: b"x"}),
        deadline_ms=60_000 if shown else 30,
        proxy_wasm=options,
    )
    coming = Coming(b"ab", b"")
    await driven.request(coming.flow)
    assert (b"x" in coming.flow.request.headers) is shown


async def test_a_filter_that_may_not_wait_for_the_body_waits_to_be_let_go(load: Load) -> None:
    options = ProxyWasmOptions(allow_on_headers_stop_iteration=False)
    driven = load(pausing(MARK, texts={100: b"x"}), deadline_ms=30, proxy_wasm=options)
    coming = Coming(b"ab", b"")
    await driven.request(coming.flow)
    assert "proxy_on_request_headers paused the flow" in driven.room.lines[-1]


async def test_what_pauses_at_the_end_goes_on_after_the_deadline(load: Load) -> None:
    driven, coming = load(pausing(PAUSE), deadline_ms=30), Coming(b"ab", b"")
    assert (await driven.request(coming.flow))[0] == abi.CONTINUE
    assert await coming.rest() == b"ab"
    assert "proxy_on_request_body paused the flow" in driven.room.lines[-1]


@pytest.mark.parametrize(("on_failure", "code"), [("open", abi.CONTINUE), ("closed", -1)])
async def test_what_is_held_back_is_bounded(
    load: Load, monkeypatch: pytest.MonkeyPatch, on_failure: str, code: int
) -> None:
    monkeypatch.setattr(passage, "BUFFER_BYTES", 3)
    driven, coming = load(pausing(PAUSE), on_failure=on_failure), Coming(b"ab", b"cd")
    assert (await driven.request(coming.flow))[0] == code
    assert "held back more than 3 bytes" in driven.room.lines[-1]
    assert await coming.ahead.source.read() == b"abcd"


async def test_a_trap_lets_all_of_the_body_go_on(load: Load) -> None:
    driven = load(pausing(f"{WHOLE} unreachable"))
    coming = Coming(b"ab", b"cd", b"")
    with pytest.raises(GuestFailure):
        await driven.request(coming.flow)
    assert await coming.rest() == b"abcd"


async def test_a_body_that_breaks_off_is_not_the_filters_fault(load: Load) -> None:
    driven, coming = load(pausing(PAUSE)), Coming(b"ab", UpstreamError("gone"))
    with pytest.raises(UpstreamError, match="gone"):
        await driven.request(coming.flow)


@pytest.mark.parametrize("action", [3, 4])
async def test_a_filter_that_stops_everything_is_not_shown_the_body(
    load: Load, action: int
) -> None:
    driven = load(
        filter_of(
            on("request_headers", 3, f"(i32.const {action})"),
            on("request_body", 3, "unreachable"),
        ),
        deadline_ms=30,
    )
    coming = Coming(b"ab", b"")
    assert (await driven.request(coming.flow))[0] == abi.CONTINUE
    assert coming.ahead.seen_by == []


async def test_a_filter_without_the_permission_is_not_shown_the_body(load: Load) -> None:
    driven = load(
        pausing("unreachable"), permissions=Permissions(access_bodies=False), deadline_ms=30
    )
    coming = Coming(b"ab", b"")
    assert (await driven.request(coming.flow))[0] == abi.CONTINUE
    assert coming.ahead.seen_by == []


async def test_what_was_let_go_between_two_pieces_goes_on_before_the_second(load: Load) -> None:
    driven = load(filter_of(on("request_body", 3, PAUSE)))
    flow = make_flow()
    await driven.driver.hook(Hook.REQUEST, driven.room.call(Hook.REQUEST, flow))
    passing = driven.driver.body_filter(Hook.REQUEST, flow)
    assert passing is not None
    assert await passing(b"ab", False) == b""
    driven.driver.streams[flow.id].sides[StreamType.REQUEST].resumed = True
    assert await passing(b"cd", False) == b"ab"


@pytest.mark.parametrize(
    ("then", "goes_on"), [(RESUME, b"ab"), ("", b"")], ids=["lets", "does not"]
)
async def test_a_piece_waits_for_the_answer_that_lets_it_go(
    load: Load, then: str, goes_on: bytes
) -> None:
    once = f"(if (result i32) (local.get 2) (then {CONTINUE}) (else {FETCH} {PAUSE}))"
    driven = load(
        filter_of(
            on("request_body", 3, once),
            on("http_call_response", 5, then, ""),
            texts={100: b"auth", 200: FIELDS},
        )
    )
    driven.room.answers["http://auth/token"] = Fetched(ResponseHead(200), b"", ())
    flow = make_flow()
    await driven.driver.hook(Hook.REQUEST, driven.room.call(Hook.REQUEST, flow))
    passing = driven.driver.body_filter(Hook.REQUEST, flow)
    assert passing is not None
    assert await passing(b"ab", False) == goes_on
    assert goes_on + await passing(b"cd", True) == b"abcd"


async def test_bytes_of_a_tunnel_wait_for_the_answer_that_lets_them_go(load: Load) -> None:
    resume = RESUME.replace("(i32.const 0)", "(i32.const 2)")
    driven = load(
        filter_of(
            on("downstream_data", 3, FETCH + PAUSE),
            on("http_call_response", 5, resume, ""),
            texts={100: b"auth", 200: FIELDS},
        )
    )
    driven.room.answers["http://auth/token"] = Fetched(ResponseHead(200), b"", ())
    passing = driven.driver.tunnel_filter(make_flow())
    assert passing is not None
    assert await passing(True, b"ab", False) == b"ab"


async def test_a_wait_that_is_given_up_loses_nothing() -> None:
    coming = Coming()
    woken = asyncio.Event()
    woken.set()
    assert await coming.ahead.next(woken.wait()) is None
    coming.side.body(b"ab", b"")
    coming.side.coming_trailers = [(b"sum", b"1")]
    assert await coming.rest() == b"ab"
    assert coming.ahead.source.trailers == [(b"sum", b"1")]


TRAILED = (
    on("request_body", 3, PAUSE),
    on("request_trailers", 2, add(1, (100, 1), (100, 1)) + MARK),
)


async def test_trailers_of_a_body_that_streams_are_shown_and_let_all_of_it_go(load: Load) -> None:
    driven = load(filter_of(*TRAILED, texts={100: b"x"}))
    flow = make_flow()
    await driven.driver.hook(Hook.REQUEST, driven.room.call(Hook.REQUEST, flow))
    passing = driven.driver.body_filter(Hook.REQUEST, flow)
    assert passing is not None
    source = Side()
    source.coming_trailers = [(b"sum", b"1")]
    source.body(b"ab", b"")
    filtered = Filtered(source, one_after_the_other([passing, same]) or same)
    assert [await filtered.read(), await filtered.read()] == [b"ab", b""]
    assert filtered.trailers == [(b"sum", b"1"), (b"x", b"x")]


async def same(data: bytes, ended: bool) -> bytes:
    return data


async def test_a_head_that_waits_goes_on_behind_the_trailers(load: Load) -> None:
    driven = load(filter_of(on("request_headers", 3, PAUSE), *TRAILED, texts={100: b"x"}))
    coming = Coming(b"ab", b"")
    coming.side.coming_trailers = [(b"sum", b"1")]
    await driven.request(coming.flow)
    assert coming.flow.request.headers.get(b"x") == b"x"
    assert await coming.rest() == b"ab"
    assert coming.ahead.trailers == [(b"sum", b"1"), (b"x", b"x")]


async def test_trailers_may_be_added_at_the_end_of_a_body_that_streams(load: Load) -> None:
    driven = load(
        filter_of(on("request_body", 3, add(1, (100, 1), (100, 1)) + CONTINUE), texts={100: b"x"})
    )
    flow = make_flow()
    await driven.driver.hook(Hook.REQUEST, driven.room.call(Hook.REQUEST, flow))
    passing = driven.driver.body_filter(Hook.REQUEST, flow)
    assert isinstance(passing, TrailersToo)
    assert await passing(b"ab", True) == b"ab"
    assert passing.trailers == [(b"x", b"x")]
