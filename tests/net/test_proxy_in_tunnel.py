"""A client that reaches another HTTP proxy through this one: that proxy reads what it asked."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from h2.events import RequestReceived, ResponseReceived

from proxy_core.config import Limits, SocksMode
from proxy_core.model.flow import Flow
from proxy_core.model.verdict import CONTINUE, Verdict
from tests.ca.certificates import make, server_context
from tests.net.h2_peer import REQUEST, H2Peer
from tests.net.house import House
from tests.net.wires import Peer, TlsPeer, Wires

CA = make("The CA", ca=True)
LEAF = make("proxy.example", issuer=CA)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CREDENTIALS = b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"
ASK = b"GET http://origin.example/x?y HTTP/1.1\r\nHost: origin.example\r\n" + CREDENTIALS + b"\r\n"
WHO = b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"


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
    made = House(wires, server, Limits())
    await made.open()
    yield made
    await made.close()
    assert made.faults == []


async def tunnel(house: House, authority: bytes = b"proxy.example:3128") -> Peer:
    peer = house.client()
    await peer.send(b"CONNECT %b HTTP/1.1\r\nHost: x\r\n\r\n" % authority)
    await peer.read_head()
    return peer


async def heard(house: House, peer: Peer, request: bytes) -> bytes:
    """Send a request and return the head that reaches the tunnel's other end."""
    await peer.send(request)
    other = await house.origin()
    head = await other.read_head()
    await other.send(OK)
    await peer.read_until(b"ok")
    return head


async def test_request_for_a_proxy_in_a_connect_tunnel_goes_on_in_absolute_form(
    house: House,
) -> None:
    head = await heard(house, await tunnel(house), ASK)
    assert head == (
        b"GET http://origin.example/x?y HTTP/1.1\r\n"
        + CREDENTIALS
        + b"Host: origin.example\r\n\r\n"
    )
    (flow,) = house.flows()
    assert flow.request.url == "http://origin.example/x?y"
    assert flow.server is not None
    assert (flow.server.host, flow.server.port) == ("proxy.example", 3128)


async def test_request_for_a_proxy_in_a_socks_tunnel_goes_on_in_absolute_form(
    wires: Wires, server: ssl.SSLContext
) -> None:
    house = House(wires, server, Limits(), SocksMode())
    await house.open()
    peer = house.client()
    await peer.send(b"\x05\x01\x00\x05\x01\x00\x03\x0dproxy.example\x0c\x38")
    await peer.read_exactly(12)
    head = await heard(house, peer, ASK)
    assert head.startswith(b"GET http://origin.example/x?y HTTP/1.1\r\n")
    (route,) = house.dialer.dialled
    assert (route.host, route.port) == ("proxy.example", 3128)
    await house.close()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (b"GET http://origin.example:81", b"GET http://origin.example:81/"),
        (b"GET https://origin.example/", b"GET https://origin.example/"),
        (b"GET http://proxy.example/", b"GET http://proxy.example/"),
        (b"OPTIONS http://origin.example", b"OPTIONS http://origin.example"),
        (b"GET http://proxy.example:3128/x", b"GET /x"),
        (b"GET http://PROXY.example:3128/", b"GET /"),
        (b"GET /x", b"GET /x"),
        (b"OPTIONS *", b"OPTIONS *"),
    ],
)
async def test_only_what_is_for_another_host_goes_on_in_absolute_form(
    house: House, asked: bytes, told: bytes
) -> None:
    peer = await tunnel(house)
    head = await heard(house, peer, asked + b" HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n")
    assert head.startswith(told + b" HTTP/1.1\r\n")
    host = asked.split(b"/")[2] if b"://" in asked else b"elsewhere.example"
    assert b"\r\nHost: %b\r\n" % host in head


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (b"http://proxy.example/", b"http://proxy.example/"),  # which is port 80
        (b"https://proxy.example/", b"/"),
        (b"https://proxy.example:443/", b"/"),
    ],
)
async def test_request_for_a_proxy_that_speaks_tls_names_its_url(
    house: House, client: ssl.SSLContext, asked: bytes, told: bytes
) -> None:
    peer = await house.tls_client(client, "proxy.example", tunnel=True)
    await peer.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % asked)
    other = await house.origin()
    assert (await other.read_head()).startswith(b"GET %b HTTP/1.1\r\n" % told)


async def test_tunnel_to_an_address_with_the_name_in_tls_is_no_other_host(
    house: House, client: ssl.SSLContext
) -> None:
    sock = house.connect()
    clear = Peer(sock)
    await clear.send(b"CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    await clear.read_head()
    peer = TlsPeer(sock, client, "proxy.example")
    await peer.handshake()
    await peer.send(b"GET https://proxy.example/ HTTP/1.1\r\nHost: proxy.example\r\n\r\n")
    other = await house.origin()
    assert (await other.read_head()).startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("alpn", [None, "h2"])
async def test_http2_request_in_another_scheme_than_its_connections_is_for_a_proxy(
    house: House, client: ssl.SSLContext, alpn: str | None
) -> None:
    client.set_alpn_protocols(["h2"])
    house.dialer.alpn = alpn
    peer = H2Peer(await house.tls_client(client, "proxy.example", tunnel=True), client_side=True)
    await peer.begin()
    credentials = (b"proxy-authorization", b"Basic bWU6c2VjcmV0")
    peer.h2.send_headers(1, [*REQUEST, credentials], end_stream=True)
    await peer.flush()
    other = await house.origin()
    if alpn is None:
        head = await other.read_head()
        assert head.startswith(b"GET http://origin.example/ HTTP/1.1\r\n")
        assert b"\r\n%b: %b\r\n" % credentials in head
    else:
        far = H2Peer(other, client_side=False)
        await far.begin()
        assert (await far.next(RequestReceived)).headers == [*REQUEST, credentials]


async def test_question_of_a_proxy_in_a_tunnel_reaches_the_client(house: House) -> None:
    peer = await tunnel(house)
    await peer.send(ASK)
    other = await house.origin()
    await other.read_head()
    await other.send(WHO)
    assert await peer.read_head() == (
        b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\nProxy-Authenticate: Basic\r\n\r\n"
    )
    assert (await heard(house, peer, ASK)).startswith(b"GET http://origin.example/x?y ")


async def test_question_of_a_proxy_reaches_an_http2_client(
    house: House, client: ssl.SSLContext
) -> None:
    client.set_alpn_protocols(["h2"])
    peer = H2Peer(await house.tls_client(client, "proxy.example", tunnel=True), client_side=True)
    await peer.begin()
    peer.h2.send_headers(1, REQUEST, end_stream=True)
    await peer.flush()
    other = await house.origin()
    await other.read_head()
    await other.send(WHO)
    fields = (await peer.next(ResponseReceived)).headers or []
    assert (b"proxy-authenticate", b"Basic") in fields


async def test_nobody_but_a_proxy_learns_or_asks_a_proxys_password(house: House) -> None:
    peer = await tunnel(house)
    await peer.send(b"GET / HTTP/1.1\r\nHost: proxy.example:3128\r\n" + CREDENTIALS + b"\r\n")
    other = await house.origin()
    assert await other.read_head() == b"GET / HTTP/1.1\r\nHost: proxy.example:3128\r\n\r\n"
    await other.send(WHO)
    assert b"Proxy-Authenticate" not in await peer.read_head()


async def test_edits_change_what_the_proxy_is_asked_for(house: House) -> None:
    async def edit(flow: Flow) -> Verdict:
        flow.request = flow.request.replace(authority=b"other.example", path=b"/edited")
        return CONTINUE

    house.hooks.request = edit
    head = await heard(house, await tunnel(house), ASK)
    assert head.startswith(b"GET http://other.example/edited HTTP/1.1\r\n")
    assert [route.host for route in house.dialer.dialled] == ["proxy.example"]
