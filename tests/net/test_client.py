from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy_core.config import Limits, ReverseMode
from proxy_core.errors import UpstreamError
from proxy_core.exchange.hooks import ConnectAttempt
from proxy_core.model.flow import FlowKind, FlowState
from proxy_core.model.verdict import CONTINUE, Block, Verdict
from proxy_core.net import client as client_module
from proxy_core.net.passthrough import Passthrough
from tests.ca.certificates import client_hello, make, server_context
from tests.net.h2_peer import REQUEST, H2Peer
from tests.net.house import House
from tests.net.wires import Wires
from tests.waiting import until

CA = make("The CA", ca=True)
LEAF = make("origin.example", issuer=CA)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: origin.example\r\n\r\n"
ABSOLUTE = b"GET http://origin.example/ HTTP/1.1\r\nHost: origin.example\r\n\r\n"


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    context = server_context(LEAF, tmp_path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@pytest.fixture
def client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=CA.pem.decode())
    return context


@pytest.fixture
async def house(wires: Wires, server: ssl.SSLContext) -> AsyncIterator[House]:
    made = House(wires, server, Limits(head_timeout=30.0))
    await made.open()
    yield made
    await made.close()
    assert made.faults == []


async def test_plain_request_is_carried(house: House) -> None:
    client = house.client()
    await client.send(ABSOLUTE)
    origin = await house.origin()
    assert await origin.read_head() == GET
    await origin.send(OK)
    assert await client.read_until(b"ok") == OK
    (flow,) = house.flows()
    assert flow.state is FlowState.DONE


async def test_http2_with_prior_knowledge_is_carried(house: House) -> None:
    client = H2Peer(house.client(), client_side=True)
    await client.begin()
    client.h2.send_headers(1, REQUEST, end_stream=True)
    await client.flush()
    origin = await house.origin()
    assert (await origin.read_head()).startswith(b"GET / HTTP/1.1\r\n")
    await origin.send(OK)
    assert await client.body(1) == b"ok"


@pytest.mark.parametrize("alpn", ["h2", "http/1.1", None])
async def test_tls_in_a_tunnel_speaks_what_the_client_offers(
    house: House, client: ssl.SSLContext, alpn: str | None
) -> None:
    if alpn:
        client.set_alpn_protocols([alpn])
    peer = await house.tls_client(client, "origin.example", tunnel=True)
    assert peer.tls.selected_alpn_protocol() == alpn
    if alpn == "h2":
        http2 = H2Peer(peer, client_side=True)
        await http2.begin()
        http2.h2.send_headers(1, [*REQUEST[:1], (b":scheme", b"https"), *REQUEST[2:]], True)
        await http2.flush()
    else:
        await peer.send(GET)
    origin = await house.origin()
    await origin.read_head()
    await origin.send(OK)
    if alpn == "h2":
        assert await http2.body(1) == b"ok"
    else:
        assert await peer.read_until(b"ok") == OK
    (route,) = house.dialer.dialled
    assert (route.scheme, route.host, route.port) == ("https", "origin.example", 443)
    assert route.sni == "origin.example"
    assert house.contexts.asked == ["origin.example"]
    (flow,) = house.flows()
    facts = flow.client.tls
    assert facts is not None
    assert (facts.sni, facts.alpn) == ("origin.example", alpn)
    assert facts.offered_alpn == ((alpn,) if alpn else ())
    assert facts.offered_versions[0] == facts.version == "TLSv1.3"
    ends = {"h2": "h2", "http/1.1": "h1", None: "00"}[alpn]
    assert re.fullmatch(rf"t13d\d{{4}}{ends}_[0-9a-f]{{12}}_[0-9a-f]{{12}}", facts.ja4 or "")
    assert re.fullmatch(r"[0-9a-f]{32}", facts.ja3 or "")


async def test_tls_client_that_leaves_without_goodbye_ends_its_stalled_exchange(
    house: House, client: ssl.SSLContext
) -> None:
    peer = await house.tls_client(client, "origin.example", tunnel=True)
    await peer.send(GET)
    origin = await house.origin()
    await origin.read_head()  # and no answer
    peer.end()
    await until(lambda: not house.counters.active)
    (flow,) = house.flows()
    assert flow.state is FlowState.FAILED
    assert flow.error == "the client went away"
    assert await origin.read_to_end() == b""
    await until(lambda: not house.counters.client_connections)


async def test_plain_client_that_ends_its_side_still_gets_its_answer(house: House) -> None:
    client = house.client()
    await client.send(ABSOLUTE)
    client.end()
    origin = await house.origin()
    await origin.read_head()
    assert house.counters.active == 1
    await origin.send(OK)
    assert await client.read_to_end() == OK


async def test_client_that_resets_ends_its_stalled_exchange(house: House) -> None:
    client = house.client()
    await client.send(ABSOLUTE)
    origin = await house.origin()
    await origin.read_head()
    client.reset()
    await until(lambda: not house.counters.active)
    assert await origin.read_to_end() == b""


async def test_bytes_of_another_protocol_are_carried_through_a_tunnel(house: House) -> None:
    client = house.client()
    await client.send(b"CONNECT origin.example:22 HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.read_head()
    await client.send(b"\x00\x01\x02")
    origin = await house.origin()
    assert await origin.read_exactly(3) == b"\x00\x01\x02"
    await origin.send(b"\x03")
    assert await client.read_exactly(1) == b"\x03"
    client.end()
    assert await origin.read_to_end() == b""
    origin.end()
    assert await client.read_to_end() == b""
    await until(lambda: not house.counters.active)
    (flow,) = house.flows()
    assert flow.kind is FlowKind.TUNNEL
    assert (flow.request_body.size, flow.response_body.size) == (3, 1)


async def test_server_may_have_the_first_word_in_a_tunnel(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_SERVER_FIRST_GRACE", 0.0)
    client = house.client()
    await client.send(b"CONNECT origin.example:25 HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.read_head()
    origin = await house.origin()
    await origin.send(b"220 hello\r\n")
    assert await client.read_until(b"\r\n") == b"220 hello\r\n"
    await client.send(b"EHLO x\r\n")
    assert await origin.read_until(b"\r\n") == b"EHLO x\r\n"
    client.end()
    origin.end()


INNER = b"CONNECT inner.example:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic YTpi\r\n\r\n"
"""What is said to another proxy, through a tunnel to it."""


async def test_connect_inside_a_tunnel_is_for_the_server_there(house: House) -> None:
    client = house.client()
    await client.send(b"CONNECT origin.example:3128 HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.read_head()
    await client.send(INNER + b"behind")
    origin = await house.origin()
    assert await origin.read_until(b"behind") == INNER + b"behind"
    for answer in (b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"):
        await origin.send(answer)
        assert await client.read_head() == answer
        await client.send(INNER)
        assert await origin.read_exactly(len(INNER)) == INNER
    client.end()
    origin.end()
    await until(lambda: house.counters.active == 0)
    (flow,) = house.flows()
    assert (flow.kind, flow.request.authority) == (FlowKind.TUNNEL, b"inner.example:443")
    assert flow.server is not None
    assert (flow.server.host, flow.server.port) == ("origin.example", 3128)


async def test_connect_inside_a_tunnel_may_be_blocked(house: House) -> None:
    async def block(attempt: ConnectAttempt) -> Verdict:
        return Block("plugin x") if attempt.authority == b"inner.example:443" else CONTINUE

    house.hooks.connect = block
    client = house.client()
    await client.send(b"CONNECT origin.example:3128 HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.read_head()
    await client.send(INNER)
    assert (await client.read_head()).startswith(b"HTTP/1.1 403 ")
    assert not house.dialer.dialled


async def test_connect_inside_a_tunnel_to_nobody_is_told_so(house: House) -> None:
    house.dialer.failure = UpstreamError("nobody is there")
    client = house.client()
    await client.send(b"CONNECT origin.example:3128 HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.read_head()
    await client.send(INNER)
    assert (await client.read_head()).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("authority", [None, b"origin.example:443"])
async def test_blocked_connection_gets_no_further(house: House, authority: bytes | None) -> None:
    async def block(attempt: ConnectAttempt) -> Verdict:
        return Block("plugin x") if attempt.authority == authority else CONTINUE

    house.hooks.connect = block
    client = house.client()
    try:
        await client.send(b"CONNECT origin.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await client.read_some()
    except ConnectionError:
        answer = b""
    if authority is None:
        assert answer == b""
    else:
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"blocked by plugin x" in answer
    assert not house.dialer.dialled


async def test_failed_handshake_with_the_client_is_a_flow_that_says_why(house: House) -> None:
    client = house.client()
    await client.send(b"CONNECT origin.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    await client.read_head()
    await client.send(b"\x16\x03\x01\x00\x05hello")
    await client.read_to_end()
    (flow,) = house.flows()
    assert flow.state is FlowState.FAILED
    assert (flow.error or "").startswith("TLS with the client failed for origin.example: ")


async def test_client_that_refuses_the_certificate_is_told_by_its_hello(
    house: House, client: ssl.SSLContext
) -> None:
    peer = house.client()
    await peer.send(b"CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    await peer.read_head()
    await peer.send(client_hello(client, "origin.example"))
    await peer.read_some()
    await peer.send(b"\x15\x03\x03\x00\x02\x02\x30")  # unknown CA
    await peer.read_to_end()
    (flow,) = house.flows()
    assert "unknown ca" in (flow.error or "")
    facts = flow.client.tls
    assert facts is not None
    assert (facts.version, facts.sni) == ("", "origin.example")
    assert facts.ja4


async def test_tls_that_is_passed_through_is_told_by_its_hello(
    wires: Wires, server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    house = House(wires, server, Limits(), passthrough=Passthrough(ignore=["^origin"]))
    await house.open()
    client.set_alpn_protocols(["h2"])
    hello = client_hello(client, "origin.example")
    peer = house.client()
    await peer.send(b"CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    await peer.read_head()
    await peer.send(hello)
    origin = await house.origin()
    assert await origin.read_exactly(len(hello)) == hello
    origin.close()
    peer.close()
    await until(lambda: not house.counters.client_connections)
    (flow,) = house.flows()
    assert flow.kind is FlowKind.TUNNEL
    assert flow.request_body.size == len(hello)
    facts = flow.client.tls
    assert facts is not None
    assert (facts.version, facts.sni, facts.offered_alpn) == ("", "origin.example", ("h2",))
    assert facts.ja3
    assert facts.ja4
    await house.close()


async def test_client_that_says_nothing_is_closed(house: House, wires: Wires) -> None:
    client = house.client()
    await until(lambda: house.counters.client_connections)
    await wires.turn()
    wires.clock.sweep(31.0)
    assert await client.read_to_end() == b""
    await until(lambda: not house.counters.client_connections)
    assert not house.flows()


async def test_reverse_mode_sends_everything_to_its_origin(
    wires: Wires, server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    house = House(wires, server, Limits(), ReverseMode("http", "origin.example", 8000))
    await house.open()
    peer = await house.tls_client(client, "origin.example", tunnel=False)
    await peer.send(GET)
    origin = await house.origin()
    assert b"Host: origin.example:8000\r\n" in await origin.read_head()
    await origin.send(OK)
    assert await peer.read_until(b"ok") == OK
    await house.close()


async def test_tls_with_the_proxy_itself_is_http_1_where_connect_is_taken(
    house: House, client: ssl.SSLContext
) -> None:
    client.set_alpn_protocols(["h2", "http/1.1"])
    peer = await house.tls_client(client, "origin.example", tunnel=False)
    assert peer.tls.selected_alpn_protocol() == "http/1.1"
    await peer.send(b"CONNECT origin.example:80 HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
    assert (await peer.read_head()).startswith(b"HTTP/1.1 200 ")
    origin = await house.origin()
    await origin.read_head()
    await origin.send(OK)
    assert await peer.read_until(b"ok") == OK
    inner = await house.tls_client(client, "origin.example", tunnel=True)
    assert inner.tls.selected_alpn_protocol() == "h2"


async def test_reverse_mode_speaks_http_2_in_tls(
    wires: Wires, server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    house = House(wires, server, Limits(), ReverseMode("http", "origin.example", 8000))
    await house.open()
    client.set_alpn_protocols(["h2", "http/1.1"])
    peer = await house.tls_client(client, "origin.example", tunnel=False)
    assert peer.tls.selected_alpn_protocol() == "h2"
    peer.close()
    await house.close()


async def test_dead_kept_connection_is_replaced_without_the_client_noticing(
    house: House,
) -> None:
    client = house.client()
    await client.send(ABSOLUTE)
    first = await house.origin()
    await first.read_head()
    await first.send(OK)
    await client.read_until(b"ok")
    await client.send(ABSOLUTE)
    await first.read_head()
    first.close()
    second = await house.origin(1)
    await second.read_head()
    await second.send(OK)
    assert await client.read_until(b"ok") == OK


async def test_continue_passes_from_the_origin_to_the_client(house: House) -> None:
    client = house.client()
    await client.send(
        b"POST http://origin.example/ HTTP/1.1\r\nHost: origin.example\r\n"
        b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    origin = await house.origin()
    assert b"Expect: 100-continue" in await origin.read_head()
    await origin.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert await client.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"hi")
    assert await origin.read_exactly(2) == b"hi"
    await origin.send(OK)
    assert await client.read_until(b"ok") == OK
