from __future__ import annotations

import pytest

from tests.exchange.fakes import FakeClient, answered, asked
from tests.exchange.house import House


@pytest.mark.parametrize("method", [b"TRACE", b"OPTIONS"])
@pytest.mark.parametrize(
    ("came", "goes"),
    [
        (b"1", b"0"),
        (b"10", b"9"),
        (b"007", b"6"),
        (b"9" * 5000, b"999999999"),
        (b"ten", b"ten"),
        (b"-1", b"-1"),
        (b"", b""),
    ],
    ids=lambda value: repr(value[:10]),
)
async def test_request_goes_on_counted_down(
    house: House, method: bytes, came: bytes, goes: bytes
) -> None:
    client, origin = FakeClient(), house.origin(answered())
    request = asked(method, clean=b"clean", fields=[(b"Max-Forwards", came), (b"A", b"b")])
    await house.exchange.run(client, request)
    assert origin.head is not None
    expected = [(b"Host", b"origin"), (b"Max-Forwards", goes), (b"A", b"b")]
    assert origin.head.headers.fields == expected
    assert (origin.clean is None) == (came != goes)
    flow = house.flow
    assert flow.request is origin.head
    assert (flow.request_received is request.head) == (came != goes)


async def test_options_that_may_go_no_further_are_answered_here(house: House) -> None:
    client = FakeClient()
    await house.exchange.run(client, asked(b"OPTIONS", fields=[(b"max-forwards", b"0")]))
    assert client.sent == [("head", 200), ("end", None)]
    assert not house.upstreams.asked
    assert house.flow.notes == ("answered by the proxy itself: Max-Forwards is 0",)


async def test_trace_that_may_go_no_further_is_shown_without_its_secrets(house: House) -> None:
    client = FakeClient()
    secrets = [(b"Cookie", b"s"), (b"authorization", b"s"), (b"Proxy-Authorization", b"s")]
    fields = [*secrets, (b"Max-Forwards", b"0"), (b"Via", b"1.1 a")]
    await house.exchange.run(client, asked(b"TRACE", fields=fields))
    assert (
        client.data == b"TRACE / HTTP/1.1\r\nHost: origin\r\nMax-Forwards: 0\r\nVia: 1.1 a\r\n\r\n"
    )
    assert not house.upstreams.asked
    response = house.flow.response
    assert response is not None
    assert response.headers.get(b"content-type") == b"message/http"


@pytest.mark.parametrize("method", [b"GET", b"POST", b"trace"])
async def test_other_methods_are_not_counted(house: House, method: bytes) -> None:
    origin = house.origin(answered())
    request = asked(method, fields=[(b"Max-Forwards", b"0")])
    await house.exchange.run(FakeClient(), request)
    assert origin.head is request.head
