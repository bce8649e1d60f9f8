from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from proxy_core.errors import UpstreamError
from proxy_core.exchange.loops import MANY_WAIT, mark_round
from tests.exchange.fakes import FakeClient, FakeUpstream, answered, asked
from tests.exchange.house import House
from tests.waiting import until

PSEUDONYM = "0123456789abcdef"


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Via", b"1.1 0123456789abcdef")],
        [(b"via", b"2 one (0), 1.1 0123456789abcdef , 1.0 three")],
        [(b"Via", b"1.0 one"), (b"VIA", b"1.1 0123456789abcdef")],
    ],
)
async def test_request_that_comes_back_goes_no_further(
    build: Callable[..., House], fields: list[tuple[bytes, bytes]]
) -> None:
    house = build(pseudonym=PSEUDONYM)
    client, received = FakeClient(), asked()
    received.head.headers.fields += fields
    await house.exchange.run(client, received)
    assert client.head is not None
    assert client.head.status == 508
    assert house.upstreams.asked == []
    assert "came through this proxy before" in (house.flow.error or "")


@pytest.mark.parametrize("pseudonym", ["", PSEUDONYM])
@pytest.mark.parametrize("via", [b"1.1 fedcba9876543210", b"1.1 squid.example (squid/6)", b","])
async def test_request_that_came_through_others_goes_on(
    build: Callable[..., House], pseudonym: str, via: bytes
) -> None:
    house = build(pseudonym=pseudonym)
    client, received = FakeClient(), asked()
    received.head.headers.add(b"Via", via)
    house.origin(answered())
    await house.exchange.run(client, received)
    assert client.head is not None
    assert client.head.status == 200


def reverse_client() -> FakeClient:
    client = FakeClient()
    client.client = replace(client.client, mode="reverse:http://origin")
    return client


async def ask_while_others_wait(house: House, others: int, client: FakeClient) -> FakeUpstream:
    """Send a request while so many have no answer yet; return the origin that it reached."""
    waiting = [house.origin() for _ in range(others)]
    async with asyncio.TaskGroup() as group:
        for _ in waiting:
            group.create_task(house.exchange.run(FakeClient(), asked()))
        await until(lambda: all(upstream.sent for upstream in waiting))
        last = house.origin(answered())
        await house.exchange.run(client, asked(clean=b"Host: origin\r\n\r\n"))
        for upstream in waiting:
            upstream.answer(answered())
    return last


@pytest.mark.parametrize("others", [0, MANY_WAIT - 1])
async def test_origin_of_a_reverse_mode_is_told_nothing_while_few_wait(
    build: Callable[..., House], others: int
) -> None:
    house = build(reverse_pseudonym=PSEUDONYM)
    upstream = await ask_while_others_wait(house, others, reverse_client())
    assert upstream.clean == b"Host: origin\r\n\r\n"


async def test_origin_of_a_reverse_mode_is_told_whom_a_request_came_through_while_many_wait(
    build: Callable[..., House],
) -> None:
    house = build(reverse_pseudonym=PSEUDONYM)
    upstream = await ask_while_others_wait(house, MANY_WAIT, reverse_client())
    assert upstream.clean == b"Host: origin\r\nCDN-Loop: 0123456789abcdef\r\n\r\n"
    told = [flow for flow in house.flows if b"cdn-loop" in flow.request.headers]
    assert [flow.client.mode for flow in told] == ["reverse:http://origin"]
    assert told[0].request_received is not None


async def test_other_origins_are_told_nothing_however_many_wait(
    build: Callable[..., House],
) -> None:
    house = build(reverse_pseudonym=PSEUDONYM)
    upstream = await ask_while_others_wait(house, MANY_WAIT, FakeClient())
    assert upstream.clean == b"Host: origin\r\n\r\n"


def test_request_that_comes_back_to_a_reverse_mode_goes_no_further() -> None:
    head = asked().head
    marked = mark_round(mark_round(head, "fedcba9876543210"), PSEUDONYM)
    with pytest.raises(UpstreamError, match="name another one in reverse:") as loop:
        mark_round(marked, PSEUDONYM)
    assert loop.value.status == 508
