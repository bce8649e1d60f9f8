"""Bodies and hooks: shown whole before the message goes on, replaced, or carried piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from proxy_core.errors import RefusedByHook
from proxy_core.exchange.hooks import AnsweredByHook, BodyFilter
from proxy_core.exchange.sources import Filtered, Gathered, Instead
from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.model.verdict import CONTINUE, Block, Respond, Verdict
from proxy_core.wire.events import CHUNKED
from tests.exchange.fakes import FakeClient, Side, answered, asked
from tests.exchange.house import House
from tests.waiting import until

JSON = (b"Content-Type", b"application/json")


def wanting(flow: Flow) -> bool:
    return True


def replacing(
    data: bytes | None, seen: list[bytes | None], trailers: list[Field] | None = None
) -> Callable[[Flow], Awaitable[Verdict]]:
    async def hook(flow: Flow) -> Verdict:
        seen.append(None if flow.whole is None else flow.whole.data)
        if flow.whole is not None and data is not None:
            flow.whole.data = data
        if flow.whole is not None and trailers is not None:
            flow.whole.trailers = trailers
        return CONTINUE

    return hook


def upload(*pieces: bytes, length: int) -> FakeClient:
    client = FakeClient()
    client.body(*pieces, b"")
    return client


# --- whole


async def test_a_request_body_is_shown_whole_and_goes_on_as_it_came(house: House) -> None:
    seen: list[bytes | None] = []
    house.hooks.request, house.hooks.request_body = replacing(None, seen), wanting
    client, origin = upload(b"ab", b"cd", length=4), house.origin(answered())
    received = asked(b"POST", 4, clean=b"Content-Length: 4\r\n\r\n")
    await house.exchange.run(client, received)
    assert seen == [b"abcd"]
    assert (origin.data, origin.length, origin.clean) == (b"abcd", 4, received.clean)
    assert house.flow.request_body.kept == b"abcd"
    assert house.flow.whole is None


@pytest.mark.parametrize("data", [b"longer than before", b"x", b""])
async def test_a_replaced_request_body_has_its_own_length(house: House, data: bytes) -> None:
    house.hooks.request, house.hooks.request_body = replacing(data, []), wanting
    client, origin = upload(b"abcd", length=4), house.origin(answered())
    await house.exchange.run(client, asked(b"POST", 4, fields=[(b"content-length", b"4")]))
    assert (origin.data, origin.length) == (data, len(data))
    assert origin.head.headers.get_all(b"Content-Length") == [b"%d" % len(data)]
    assert house.flow.request_body.kept == data
    assert house.flow.request is origin.head


async def test_a_request_without_a_body_can_be_given_one(house: House) -> None:
    house.hooks.request, house.hooks.request_body = replacing(b"new", []), wanting
    origin = house.origin(answered())
    await house.exchange.run(FakeClient(), asked(b"POST"))
    assert (origin.data, origin.length) == (b"new", 3)
    assert origin.head.headers.get(b"content-length") == b"3"


async def test_a_body_that_nobody_read_is_read_over_before_another_takes_its_place(
    house: House,
) -> None:
    async def hook(flow: Flow) -> Verdict:
        flow.whole = WholeBody(b"")
        flow.whole.data = b"new"
        return CONTINUE

    house.hooks.request = hook
    client, origin = upload(b"ab", b"cd", length=4), house.origin(answered())
    await house.exchange.run(client, asked(b"POST", 4))
    assert (origin.data, origin.length) == (b"new", 3)
    assert house.flow.request_body.kept == b"new"
    assert not client._coming


async def test_a_chunked_body_that_is_not_replaced_stays_chunked(house: House) -> None:
    house.hooks.request, house.hooks.request_body = replacing(None, []), wanting
    client, origin = upload(b"ab", b"c", length=CHUNKED), house.origin(answered())
    client.coming_trailers = [(b"sum", b"1")]
    await house.exchange.run(client, asked(b"POST", CHUNKED))
    assert (origin.data, origin.length) == (b"abc", CHUNKED)
    assert origin.sent[-1] == ("end", [(b"sum", b"1")])


async def test_trailers_follow_a_replaced_body(house: House) -> None:
    trailers = [(b"sum", b"2")]
    house.hooks.request, house.hooks.request_body = replacing(b"new", [], trailers), wanting
    client, origin = upload(b"abc", length=3), house.origin(answered())
    await house.exchange.run(client, asked(b"POST", 3, fields=[(b"Content-Length", b"3")]))
    assert (origin.data, origin.length) == (b"new", CHUNKED)
    assert origin.sent[-1] == ("end", trailers)
    assert b"content-length" not in origin.head.headers


async def test_a_client_that_waits_for_100_gets_it_from_us(house: House) -> None:
    seen: list[bytes | None] = []
    house.hooks.request, house.hooks.request_body = replacing(None, seen), wanting
    client, origin = FakeClient(), house.origin(answered())
    received = asked(b"POST", 3, fields=[(b"Expect", b"100-continue")])
    received.expect_continue = True
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, received))
        await until(lambda: ("informational", 100) in client.sent)
        client.body(b"abc", b"")
    assert (origin.data, seen) == (b"abc", [b"abc"])
    assert b"expect" not in origin.head.headers
    assert house.flow.request_received is received.head


async def test_a_body_over_the_limit_goes_on_unseen_and_the_flow_says_so(house: House) -> None:
    seen: list[bytes | None] = []
    house.hooks.request, house.hooks.request_body = replacing(b"no", seen), wanting
    house.exchange._bodies._limit = 3
    client, origin = upload(b"ab", b"cd", b"ef", length=6), house.origin(answered())
    await house.exchange.run(client, asked(b"POST", 6))
    assert seen == [None]
    assert (origin.data, origin.length) == (b"abcdef", 6)
    assert house.flow.request_body.kept == b"abcdef"
    assert any("larger than 3 bytes" in note for note in house.flow.notes)


async def test_a_response_body_is_shown_and_replaced(house: House) -> None:
    seen: list[bytes | None] = []
    house.hooks.response, house.hooks.response_body = replacing(b"changed", seen), wanting
    client = FakeClient()
    origin = house.origin(
        answered(length=4, fields=[JSON, (b"Content-Length", b"4")]), body=(b"ab", b"cd", b"")
    )
    await house.exchange.run(client, asked())
    assert (seen, client.data, client.length) == ([b"abcd"], b"changed", 7)
    assert client.head.headers.get(b"content-length") == b"7"
    assert house.flow.response_body.kept == b"changed"
    assert origin.ends == ["release"]


async def test_nothing_is_sent_before_the_whole_response_was_shown(house: House) -> None:
    house.hooks.response, house.hooks.response_body = replacing(None, []), wanting
    client = FakeClient()
    origin = house.origin(answered(length=CHUNKED), body=(b"ab",))
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked()))
        await until(lambda: origin.reads == 1)
        assert client.sent == []
        assert house.flow.response_body.kept == b"ab"  # what has come is seen by the user
        origin.body(b"cd", b"")
    assert client.data == b"abcd"


@pytest.mark.parametrize(
    "kind",
    [b"text/event-stream; charset=utf-8", b"Application/GRPC+proto", b"application/x-ndjson"],
)
async def test_what_never_ends_is_not_gathered(house: House, kind: bytes) -> None:
    seen: list[bytes | None] = []
    house.hooks.response, house.hooks.response_body = replacing(None, seen), wanting
    client = FakeClient()
    house.origin(answered(length=CHUNKED, fields=[(b"Content-Type", kind)]), body=(b"ab", b""))
    await house.exchange.run(client, asked())
    assert (seen, client.data) == ([None], b"ab")


async def test_nobody_is_shown_a_body_that_nobody_wants(house: House) -> None:
    seen: list[bytes | None] = []
    house.hooks.response, house.hooks.response_body = replacing(None, seen), lambda flow: False
    client = FakeClient()
    house.origin(answered(length=2), body=(b"ab", b""))
    await house.exchange.run(client, asked())
    assert (seen, client.data) == ([None], b"ab")


async def test_a_blocked_request_leaves_no_body_behind(house: House) -> None:
    async def block(flow: Flow) -> Verdict:
        return Block("rule 1")

    house.hooks.request, house.hooks.request_body = block, wanting
    client = upload(b"abc", length=3)
    await house.exchange.run(client, asked(b"POST", 3))
    assert client.head.status == 403
    assert house.flow.whole is None
    assert house.upstreams.asked == []


async def test_an_origin_that_fails_while_it_is_gathered_is_told_with_502(house: House) -> None:
    from proxy_core.errors import UpstreamError

    house.hooks.response, house.hooks.response_body = replacing(None, []), wanting
    client = FakeClient()
    origin = house.origin(answered(length=4))
    origin.body(b"ab", UpstreamError("the origin closed early"))
    await house.exchange.run(client, asked())
    assert client.head.status == 502
    assert house.flow.error == "the origin closed early"


# --- piece by piece


def upper(calls: list[tuple[bytes, bool]], last: bytes = b"") -> Callable[[Flow], BodyFilter]:
    async def through(data: bytes, end: bool) -> bytes:
        calls.append((data, end))
        return data.upper() + (last if end else b"")

    return lambda flow: through


async def test_pieces_go_through_and_the_length_is_open(house: House) -> None:
    calls: list[tuple[bytes, bool]] = []
    house.hooks.response_stream = upper(calls, b"!")
    client = FakeClient()
    house.origin(answered(length=4, fields=[(b"Content-Length", b"4")]), body=(b"ab", b"cd", b""))
    await house.exchange.run(client, asked())
    assert calls == [(b"ab", False), (b"cd", False), (b"", True)]
    assert (client.data, client.length, client.clean) == (b"ABCD!", CHUNKED, None)
    assert b"content-length" not in client.head.headers
    assert house.flow.response_body.kept == b"ABCD!"


async def test_pieces_of_a_request_go_through(house: House) -> None:
    calls: list[tuple[bytes, bool]] = []
    house.hooks.request_stream = upper(calls)
    client, origin = upload(b"ab", b"cd", length=4), house.origin()
    client.coming_trailers = [(b"t", b"1")]
    async with asyncio.TaskGroup() as group:
        group.create_task(house.exchange.run(client, asked(b"POST", CHUNKED)))
        await until(lambda: "end" in origin.kinds)
        origin.answer(answered())
    assert (origin.data, origin.length) == (b"ABCD", CHUNKED)
    assert origin.sent[-1] == ("end", [(b"t", b"1")])


async def test_a_flow_may_go_without_a_filter(house: House) -> None:
    house.hooks.response_stream = lambda flow: None
    client = FakeClient()
    house.origin(answered(length=2), body=(b"ab", b""))
    await house.exchange.run(client, asked())
    assert (client.data, client.length) == (b"ab", 2)


async def test_a_refusal_in_the_middle_cuts_the_response(house: House) -> None:
    async def through(data: bytes, end: bool) -> bytes:
        if data == b"cd":
            raise RefusedByHook("blocked by plugin p")
        return data

    house.hooks.response_stream = lambda flow: through
    client = FakeClient()
    origin = house.origin(answered(length=4), body=(b"ab", b"cd", b""))
    await house.exchange.run(client, asked())
    assert (client.data, client.aborted) == (b"ab", "blocked by plugin p")
    assert house.flow.error == "blocked by plugin p"
    assert origin.ends == ["abort"]


async def test_a_refusal_of_a_request_body_is_answered_403(house: House) -> None:
    async def through(data: bytes, end: bool) -> bytes:
        raise RefusedByHook("blocked by plugin p")

    house.hooks.request_stream = lambda flow: through
    client, origin = upload(b"ab", length=2), house.origin()
    await house.exchange.run(client, asked(b"POST", 2))
    assert client.head.status == 403
    assert origin.data == b""


async def test_an_answer_in_the_place_of_a_request_body_goes_to_the_client(house: House) -> None:
    async def through(data: bytes, end: bool) -> bytes:
        raise AnsweredByHook(Respond("plugin p", ResponseHead(418), b"tea"))

    house.hooks.request_stream = lambda flow: through
    client, origin = upload(b"ab", length=2), house.origin()
    await house.exchange.run(client, asked(b"POST", 2))
    assert (client.head.status, client.data) == (418, b"tea")
    assert house.flow.notes == ("answered by plugin p",)
    assert (house.flow.error, origin.data) == (None, b"")


async def test_an_answer_that_comes_too_late_cuts_the_response(house: House) -> None:
    async def through(data: bytes, end: bool) -> bytes:
        if data == b"cd":
            raise AnsweredByHook(Respond("plugin p", ResponseHead(418)))
        return data

    house.hooks.response_stream = lambda flow: through
    client = FakeClient()
    house.origin(answered(length=4), body=(b"ab", b"cd", b""))
    await house.exchange.run(client, asked())
    assert (client.data, client.aborted) == (b"ab", "answered by plugin p")


async def test_a_filter_that_swallows_everything_sends_an_empty_body(house: House) -> None:
    async def through(data: bytes, end: bool) -> bytes:
        return b""

    house.hooks.response_stream = lambda flow: through
    client = FakeClient()
    house.origin(answered(length=4), body=(b"ab", b"cd", b""))
    await house.exchange.run(client, asked())
    assert (client.data, client.length) == (b"", CHUNKED)
    assert client.kinds == ["head", "end"]


# --- sources by themselves


async def test_a_gathered_source_gives_what_it_has_and_then_the_rest() -> None:
    side = Side()
    side.coming_trailers = [(b"t", b"1")]
    side.body(b"ab", b"cd", b"ef", b"")
    source = Gathered(side)
    assert await source.fill(3, lambda data: None) is None
    assert source.read_nowait() == b"ab"
    assert [await source.read() for _ in range(2)] == [b"cd", b"ef"]
    assert source.read_nowait() == b""
    assert source.trailers == [(b"t", b"1")]


async def test_a_source_in_the_place_of_another_waits_for_its_end() -> None:
    for read_at_once in (True, False):
        rest = FakeClient()
        source = Instead(rest, b"new", None)
        rest.body(b"a", b"b")
        assert source.read_nowait() is None
        rest.body(b"c", b"")
        if read_at_once:
            assert [source.read_nowait(), source.read_nowait()] == [b"new", b""]
        else:
            assert [await source.read(), await source.read()] == [b"new", b""]


async def test_a_gathered_source_of_many_pieces_keeps_few() -> None:
    side = Side()
    pieces = [b"%04d" % number for number in range(3000)]
    side.body(*pieces, b"")
    source = Gathered(side)
    whole = await source.fill(1_000_000, lambda data: None)
    assert whole is not None
    assert whole.data == b"".join(pieces)
    given = []
    while data := await source.read():
        given.append(data)
    assert b"".join(given) == b"".join(pieces)
    assert len(given) <= 257


async def test_a_filtered_source_ends_once() -> None:
    ends = []

    async def through(data: bytes, end: bool) -> bytes:
        ends.append(end)
        return data

    side = Side()
    side.body(b"ab", b"")
    source = Filtered(side, through)
    assert source.read_nowait() is None
    assert [await source.read() for _ in range(3)] == [b"ab", b"", b""]
    assert source.read_nowait() == b""
    assert ends == [False, True]


def test_heads_that_say_nothing_of_length_are_left_alone() -> None:
    from proxy_core.exchange.bodies import with_length

    head = ResponseHead(200)
    assert with_length(head, CHUNKED) is head
    http2 = RequestHead(b"POST", "https", b"o", b"/", version="HTTP/2")
    assert with_length(http2, 5).headers.fields == [(b"content-length", b"5")]
