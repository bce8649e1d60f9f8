from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.exchange.fakes import FakeClient, answered, asked
from tests.exchange.house import House

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
