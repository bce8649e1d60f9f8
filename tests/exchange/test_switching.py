from __future__ import annotations

import pytest

from proxy_core.errors import ConnectionLost
from proxy_core.exchange.ports import Route
from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.model.headers import Headers
from proxy_core.model.message import RequestHead
from proxy_core.model.verdict import CONTINUE, Verdict
from proxy_core.wire.websocket import TEXT
from tests.exchange.fakes import FakeClient, Pipe, answered, asked
from tests.exchange.house import House
from tests.wire.websocket_frames import MASK, frame

CONNECT = RequestHead(b"CONNECT", "https", b"origin:443", b"")
ROUTE = Route("tcp", "origin", 443)


async def test_after_a_101_bytes_pass_both_ways_and_are_counted(house: House) -> None:
    client = FakeClient(Pipe(b"hello", b"!"))
    origin = house.origin(answered(101, upgrade=b"other/1"))
    origin.pipe = Pipe(b"welcome")
    await house.exchange.run(client, asked(upgrade=b"other/1"))
    assert origin.upgrade == b"other/1"
    assert client.sent == [("head", 101), ("end", None)]
    assert (origin.pipe.written, client.pipe.written) == (b"hello!", b"welcome")
    flow = house.flow
    assert (flow.kind, flow.state, flow.error) == (FlowKind.HTTP, FlowState.DONE, None)
    assert (flow.request_body.kept, flow.response_body.kept) == (b"hello!", b"welcome")
    assert origin.ends == ["bytes"]
    for pipe in (client.pipe, origin.pipe):
        assert pipe.ends == ["eof", "close"]


@pytest.mark.parametrize("protocol", [b"websocket", b"WebSocket"])
async def test_after_a_101_for_a_web_socket_messages_pass_both_ways_and_are_kept(
    house: House, protocol: bytes
) -> None:
    up, down = frame(TEXT, b"hello", mask=MASK), frame(TEXT, b"welcome")
    client = FakeClient(Pipe(up[:3], up[3:]))
    origin = house.origin(answered(101, upgrade=protocol))
    origin.pipe = Pipe(down)
    await house.exchange.run(client, asked(upgrade=protocol))
    assert client.sent == [("head", 101), ("end", None)]
    assert (origin.pipe.written, client.pipe.written) == (up, down)
    flow = house.flow
    assert (flow.kind, flow.state, flow.error) == (FlowKind.WEBSOCKET, FlowState.DONE, None)
    assert (flow.request_body.size, flow.response_body.size) == (len(up), len(down))
    assert flow.web_socket is not None
    assert {message.payload for message in flow.web_socket.snapshot()} == {b"hello", b"welcome"}
    for pipe in (client.pipe, origin.pipe):
        assert pipe.ends == ["eof", "close"]


@pytest.mark.parametrize("extensions", [b"x-unheard-of", b"permessage-deflate; and=more"])
async def test_a_web_socket_whose_messages_nobody_can_read_is_carried_as_bytes(
    house: House, extensions: bytes
) -> None:
    client = FakeClient(Pipe(b"\xff\xff"))
    fields = [(b"Sec-WebSocket-Extensions", extensions)]
    origin = house.origin(answered(101, upgrade=b"websocket", fields=fields))
    await house.exchange.run(client, asked(upgrade=b"websocket"))
    assert origin.pipe.written == b"\xff\xff"
    flow = house.flow
    assert (flow.kind, flow.error, flow.web_socket) == (FlowKind.WEBSOCKET, None, None)
    assert flow.notes[0].startswith("carried as bytes, messages not read: ")


async def test_upgrade_is_news_before_its_bytes_pass_and_while_they_do(house: House) -> None:
    origin = house.origin(answered(101, upgrade=b"other/1"))
    origin.pipe = Pipe(b"welcome")
    await house.exchange.run(FakeClient(), asked(upgrade=b"other/1"))
    assert house.news.items == [
        (1, FlowState.ACTIVE, 0),
        (1, FlowState.ACTIVE, 0),
        (1, FlowState.ACTIVE, 7),
        (1, FlowState.DONE, 7),
    ]


async def test_upgrade_that_the_origin_ignores_is_an_ordinary_exchange(house: House) -> None:
    client, origin = FakeClient(), house.origin(answered(length=1), body=(b"x", b""))
    await house.exchange.run(client, asked(upgrade=b"websocket"))
    assert (client.kinds, house.flow.kind) == (["head", "data", "end"], FlowKind.HTTP)
    assert origin.ends == ["release"]


@pytest.mark.parametrize("protocol", [b"websocket", b"other/1"])
async def test_connection_that_breaks_after_a_101_fails_the_flow(
    house: House, protocol: bytes
) -> None:
    hello = frame(TEXT, b"hello", mask=MASK)
    client = FakeClient(Pipe(hello, ConnectionLost("it was reset")))
    origin = house.origin(answered(101, upgrade=protocol))
    await house.exchange.run(client, asked(upgrade=protocol))
    assert house.flow.error == "from the client: it was reset"
    assert house.flow.request_body.size == len(hello)
    assert client.pipe.ends[-1] == origin.pipe.ends[-1] == "abort"


async def test_edits_of_a_101_reach_the_client(house: House) -> None:
    async def edit(flow: Flow) -> Verdict:
        assert flow.response is not None
        flow.response_received = flow.response
        flow.response = flow.response.replace(headers=Headers([(b"X", b"1")]))
        return CONTINUE

    house.hooks.response = edit
    client = FakeClient()
    house.origin(answered(101, upgrade=b"websocket"))
    await house.exchange.run(client, asked(upgrade=b"websocket"))
    assert client.head is house.flow.response
    assert client.head.headers.get(b"x") == b"1"


async def test_origin_that_switches_before_it_has_the_whole_request_is_a_502(
    house: House,
) -> None:
    client, origin = FakeClient(), house.origin(answered(101, upgrade=b"websocket"))
    client.body(b"half")
    await house.exchange.run(client, asked(b"POST", 8, upgrade=b"websocket"))
    assert client.kinds == ["head", "data", "end"]
    assert client.sent[0] == ("head", 502)
    assert origin.ends == ["abort"]
    assert "switched protocols before" in (house.flow.error or "")
