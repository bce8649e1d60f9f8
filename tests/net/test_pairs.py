"""What goes through whatever the two sides speak: HTTP/1 and HTTP/2, in all four pairs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy_core.config import Limits
from proxy_core.model.flow import FlowState
from tests.ca.certificates import make, server_context
from tests.net.house import House
from tests.net.pair_ends import BrokenOff, Http1End, Http2End, client_of, origin_of
from tests.net.wires import Wires
from tests.waiting import until

LEAF = make("origin.example", issuer=make("The CA", ca=True))


@dataclass
class Pair:
    """A proxy between a client and an origin that speak different versions, or the same."""

    house: House
    client: Http1End | Http2End
    version: str

    async def origin(self, number: int = 0) -> Http1End | Http2End:
        return await origin_of(self.house, self.version, number)

    async def outcome(self) -> list[str | None]:
        """How every flow ended."""
        ended = (FlowState.DONE, FlowState.FAILED)
        await until(lambda: all(flow.state in ended for flow in self.house.flows()))
        return [flow.error for flow in self.house.flows()]


@pytest.fixture(params=["h1-h1", "h1-h2", "h2-h1", "h2-h2"])
async def pair(request: pytest.FixtureRequest, wires: Wires, tmp_path: Path) -> AsyncIterator[Pair]:
    client, origin = request.param.split("-")
    house = House(wires, server_context(LEAF, tmp_path), Limits())
    await house.open()
    house.dialer.alpn = "h2" if origin == "h2" else "http/1.1"
    yield Pair(house, await client_of(house, client), origin)
    await house.close()
    assert house.faults == []


async def test_continue_comes_from_the_origin_before_the_body(pair: Pair) -> None:
    await pair.client.ask(b"POST", (b"expect", b"100-continue"))
    origin = await pair.origin()
    _, fields = await origin.head()
    assert (b"expect", b"100-continue") in fields
    await origin.answer(100)
    assert (await pair.client.head())[0] == 100
    await pair.client.send(b"what it waited for")
    await pair.client.end()
    assert await origin.rest() == (b"what it waited for", [])
    await origin.answer(204)
    await origin.end()
    assert (await pair.client.head())[0] == 204
    assert await pair.client.rest() == (b"", [])
    assert await pair.outcome() == [None]


async def test_origin_may_answer_instead_of_saying_continue(pair: Pair) -> None:
    await pair.client.ask(b"POST", (b"expect", b"100-continue"))
    origin = await pair.origin()
    await origin.head()
    await origin.answer(417, (b"content-length", b"2"))
    await origin.send(b"no")
    await origin.end()
    assert (await pair.client.head())[0] == 417
    assert await pair.client.rest() == (b"no", [])
    assert await pair.outcome() == [None]


async def test_early_hints_come_before_the_answer_and_as_often_as_sent(pair: Pair) -> None:
    await pair.client.ask(b"GET", bare=True)
    origin = await pair.origin()
    await origin.head()
    for link in (b"</a>", b"</b>"):
        await origin.answer(103, (b"link", link))
        status, fields = await pair.client.head()
        assert (status, dict(fields)[b"link"]) == (103, link)
    await origin.answer(200, (b"content-length", b"2"))
    await origin.send(b"ok")
    await origin.end()
    assert (await pair.client.head())[0] == 200
    assert await pair.client.rest() == (b"ok", [])


async def test_trailers_pass_both_ways(pair: Pair) -> None:
    await pair.client.ask(b"POST")
    await pair.client.send(b"up")
    await pair.client.end([(b"x-up", b"1"), (b"x-up", b"2")])
    origin = await pair.origin()
    _, fields = await origin.head()
    assert (b"te", b"trailers") in fields
    assert await origin.rest() == (b"up", [(b"x-up", b"1"), (b"x-up", b"2")])
    await origin.answer(200)
    await origin.send(b"down")
    await origin.end([(b"x-down", b"3")])
    await pair.client.head()
    assert await pair.client.rest() == (b"down", [(b"x-down", b"3")])
    (flow,) = pair.house.flows()
    assert flow.request_body.trailers == [(b"x-up", b"1"), (b"x-up", b"2")]
    assert flow.response_body.trailers == [(b"x-down", b"3")]


async def test_trailers_of_a_message_without_a_body_pass(pair: Pair) -> None:
    await pair.client.ask(b"POST")
    await pair.client.end([(b"x-up", b"1")])
    origin = await pair.origin()
    await origin.head()
    assert await origin.rest() == (b"", [(b"x-up", b"1")])
    await origin.answer(200)
    await origin.end([(b"x-down", b"2")])
    await pair.client.head()
    assert await pair.client.rest() == (b"", [(b"x-down", b"2")])


async def test_heads_do_not_wait_for_their_bodies(pair: Pair) -> None:
    await pair.client.ask(b"POST")
    origin = await pair.origin()
    await origin.head()
    await origin.answer(200, (b"content-type", b"text/event-stream"))
    assert (await pair.client.head())[0] == 200
    await origin.send(b"data: 1")
    assert await pair.client.some() == b"data: 1"
    await pair.client.send(b"up")
    assert await origin.some() == b"up"


async def test_both_directions_go_on_where_the_answer_comes_early(pair: Pair) -> None:
    await pair.client.ask(b"POST")
    await pair.client.send(b"one")
    origin = await pair.origin()
    await origin.head()
    assert await origin.some() == b"one"
    await origin.answer(200)
    for word in (b"first", b"second", b"third"):
        await origin.send(word)
        if word == b"first":
            await pair.client.head()
        assert await pair.client.some() == word
        await pair.client.send(word)
        assert await origin.some() == word
    await pair.client.end()
    assert await origin.rest() == (b"", [])
    await origin.end()
    assert await pair.client.rest() == (b"", [])
    assert await pair.outcome() == [None]
    assert pair.house.flows()[0].request_body.size == len(b"onefirstsecondthird")


async def test_answer_may_end_first_and_the_request_go_no_further(pair: Pair) -> None:
    await pair.client.ask(b"POST")
    await pair.client.send(b"begun")
    origin = await pair.origin()
    await origin.head()
    assert await origin.some() == b"begun"
    await origin.answer(413, (b"content-length", b"6"))
    await origin.send(b"enough")
    await origin.end()
    assert (await pair.client.head())[0] == 413
    assert await pair.client.rest() == (b"enough", [])
    with pytest.raises(BrokenOff):  # what is half a request must not look whole
        await origin.rest()
    assert await pair.outcome() == [None]


async def test_client_that_breaks_off_its_body_breaks_it_off_at_the_origin(pair: Pair) -> None:
    await pair.client.ask(b"POST")
    await pair.client.send(b"begun")
    origin = await pair.origin()
    await origin.head()
    assert await origin.some() == b"begun"
    await pair.client.break_off()
    with pytest.raises(BrokenOff):
        await origin.rest()
    (error,) = await pair.outcome()
    assert error is not None
    assert "the client went away" in error


async def test_client_that_leaves_its_answer_lets_the_origin_go(pair: Pair) -> None:
    await pair.client.ask(b"GET", bare=True)
    origin = await pair.origin()
    await origin.head()
    await origin.rest()
    await origin.answer(200)
    await origin.send(b"begun")
    await pair.client.head()
    assert await pair.client.some() == b"begun"
    await pair.client.break_off()
    await until(lambda: pair.house.flows()[0].state is FlowState.FAILED)
    if isinstance(origin, Http1End):
        assert await origin.peer.read_to_end() == b""
    else:
        with pytest.raises(BrokenOff, match="CANCEL"):
            await origin.rest()


async def test_origin_that_breaks_off_its_answer_breaks_it_off_at_the_client(pair: Pair) -> None:
    await pair.client.ask(b"GET", bare=True)
    origin = await pair.origin()
    await origin.head()
    await origin.answer(200)
    await origin.send(b"begun")
    await pair.client.head()
    assert await pair.client.some() == b"begun"
    await origin.break_off()
    with pytest.raises(BrokenOff):
        await pair.client.rest()
    (error,) = await pair.outcome()
    assert error is not None
    assert error.startswith("origin.example:443 ")


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
async def test_answers_without_a_body_end_with_their_head(pair: Pair, method: bytes) -> None:
    await pair.client.ask(method, bare=True)
    origin = await pair.origin()
    await origin.head()
    await origin.rest()
    status = 200 if method == b"HEAD" else 304
    await origin.answer(status, (b"content-length", b"9"))
    await origin.end()
    got, fields = await pair.client.head()
    assert (got, dict(fields)[b"content-length"]) == (status, b"9")
    assert await pair.client.rest() == (b"", [])
    assert await pair.outcome() == [None]
