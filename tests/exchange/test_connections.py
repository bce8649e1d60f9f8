from __future__ import annotations

import asyncio

import pytest

from proxy_core.errors import ConnectionLost, UpstreamError
from proxy_core.exchange.hooks import ConnectAttempt
from proxy_core.exchange.ports import Route
from proxy_core.model.connection import ServerConnection
from proxy_core.model.flow import FlowKind, FlowState
from proxy_core.model.ids import ConnectionId
from proxy_core.model.message import RequestHead
from proxy_core.model.verdict import CONTINUE, Block, Hold, Verdict
from tests.exchange.fakes import FakeClient, Pipe
from tests.exchange.house import House

CONNECT = RequestHead(b"CONNECT", "https", b"origin:443", b"")
ROUTE = Route("tcp", "origin", 443)


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [(CONTINUE, None), (Block("plugin a"), Block("plugin a")), (Hold("plugin a"), None)],
)
async def test_connection_is_admitted_unless_it_is_blocked(
    house: House, verdict: Verdict, outcome: Block | None
) -> None:
    attempts: list[ConnectAttempt] = []

    async def hook(attempt: ConnectAttempt) -> Verdict:
        attempts.append(attempt)
        return verdict

    client = FakeClient().client
    assert await house.connections.admit(client, b"origin:443") is None
    house.hooks.connect = hook
    assert await house.connections.admit(client, b"origin:443") == outcome
    assert attempts == [ConnectAttempt(client, b"origin:443")]


async def test_tunnel_is_a_flow_that_counts_its_bytes(house: House) -> None:
    side, server = Pipe(b"up", b"load"), Pipe(b"download")
    house.upstreams.pipes.append(server)
    await house.connections.tunnel(FakeClient().client, CONNECT, side, ROUTE)
    assert house.upstreams.asked == [("bytes", ROUTE)]
    assert (server.written, side.written) == (b"upload", b"download")
    flow = house.flow
    assert (flow.kind, flow.state, flow.request) == (FlowKind.TUNNEL, FlowState.DONE, CONNECT)
    assert (flow.request_body.size, flow.response_body.size) == (6, 8)
    assert flow.first_byte is not None
    assert flow.server is not None
    assert (flow.server.host, flow.server.port) == ("origin", 443)


async def test_tunnel_uses_the_connection_that_is_there(house: House) -> None:
    side, dialled = Pipe(b"x"), ServerConnection(ConnectionId(7), "origin", 443)
    server = Pipe()
    await house.connections.tunnel(FakeClient().client, CONNECT, side, ROUTE, (dialled, server))
    assert house.upstreams.asked == []
    assert (house.flow.server, server.written) == (dialled, b"x")


async def test_tunnel_to_where_nobody_listens_fails_and_closes_the_client(house: House) -> None:
    side = Pipe(b"x")
    house.upstreams.pipes.append(UpstreamError("origin:443 refused"))
    await house.connections.tunnel(FakeClient().client, CONNECT, side, ROUTE)
    assert side.ends == ["close"]
    assert (house.flow.state, house.flow.error) == (FlowState.FAILED, "origin:443 refused")
    assert (house.flow.first_byte, house.flow.server) == (None, None)


async def test_tunnel_that_breaks_fails_and_says_on_which_side(house: House) -> None:
    side, server = Pipe(b"x"), Pipe(ConnectionLost("it was reset"))
    house.upstreams.pipes.append(server)
    await house.connections.tunnel(FakeClient().client, CONNECT, side, ROUTE)
    assert house.flow.error == "from the server: it was reset"
    assert side.ends[-1] == server.ends[-1] == "abort"


async def test_tunnel_that_is_cancelled_is_a_flow_whose_client_went_away(house: House) -> None:
    house.upstreams.pipes.append(Pipe())
    tunnel = house.connections.tunnel(FakeClient().client, CONNECT, Pipe(), ROUTE)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(tunnel)
        await asyncio.sleep(0)
        assert house.counters.active == 1
        running.cancel()
    assert house.flow.error == "the client went away"


async def test_fault_of_the_proxy_in_a_tunnel_is_told_and_not_hidden(house: House) -> None:
    house.upstreams.pipes.append(ValueError("a bug"))
    side = Pipe()
    with pytest.raises(ValueError, match="a bug"):
        await house.connections.tunnel(FakeClient().client, CONNECT, side, ROUTE)
    assert house.flow.error == "a fault of the proxy: ValueError('a bug')"
    assert side.ends == ["abort"]


@pytest.mark.parametrize("status", [None, 405])
def test_refused_request_is_a_failed_flow_with_the_answer_it_got(
    house: House, status: int | None
) -> None:
    house.connections.refuse(FakeClient().client, CONNECT, "CONNECT is not taken here", status)
    flow = house.flow
    assert (flow.state, flow.error) == (FlowState.FAILED, "CONNECT is not taken here")
    assert (flow.response and flow.response.status) == status
