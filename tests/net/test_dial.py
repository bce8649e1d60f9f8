from __future__ import annotations

import asyncio
import errno
import itertools
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy_core.config import Limits
from proxy_core.errors import UpstreamError
from proxy_core.exchange.ports import Parent, Route
from proxy_core.model.counters import Counters
from proxy_core.net import happy_eyeballs
from proxy_core.net.clock import Clock
from proxy_core.net.dial import Dialer
from proxy_core.net.guard import OwnAddresses
from proxy_core.net.upstream_tls import TlsPolicy, UpstreamTls
from tests.ca.certificates import make, server_context
from tests.net.wires import Peer, TlsPeer, Wires
from tests.waiting import until

CA = make("The CA", ca=True)


class Origins:
    """Listens on loopback, and dials there whatever name is asked for."""

    def __init__(self, dialer: Dialer, counters: Counters, wires: Wires) -> None:
        self.dialer = dialer
        self.counters = counters
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.setblocking(False)
        self.port: int = self.server.getsockname()[1]
        self._wires = wires

    async def accept(self) -> socket.socket:
        sock, _ = await asyncio.get_running_loop().sock_accept(self.server)
        self._wires.own(sock)
        return sock


@pytest.fixture
def tls(tmp_path: Path) -> UpstreamTls:
    file = tmp_path / "ca.pem"
    file.write_bytes(CA.pem)
    return UpstreamTls(TlsPolicy(file))


@pytest.fixture
def own() -> OwnAddresses:
    return OwnAddresses()


@pytest.fixture
async def origins(
    wires: Wires, clock: Clock, tls: UpstreamTls, own: OwnAddresses
) -> AsyncIterator[Origins]:
    counters = Counters()
    dialer = Dialer(clock, tls, Limits(connect_timeout=5.0), counters, itertools.count(1), own)
    made = Origins(dialer, counters, wires)
    yield made
    made.server.close()
    dialer.close()
    await until(lambda: not counters.server_connections)


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every name leads to 127.0.0.1; the list tells what was asked for."""
    asked: list[str] = []
    loop_class = asyncio.BaseEventLoop
    real = loop_class.getaddrinfo

    async def getaddrinfo(loop: Any, host: str, port: int, **options: Any) -> Any:
        asked.append(host)
        return await real(loop, "127.0.0.1", port, **options)

    monkeypatch.setattr(loop_class, "getaddrinfo", getaddrinfo)
    return asked


async def test_connection_is_counted_as_long_as_it_lasts(origins: Origins) -> None:
    server, channel = await origins.dialer.connect(Route("http", "127.0.0.1", origins.port))
    assert origins.counters.server_connections == 1
    assert server.peer == ("127.0.0.1", origins.port)
    assert server.connected is not None
    assert server.closed is None
    peer = Peer(await origins.accept())
    channel.write(b"hello")
    assert await peer.read_exactly(5) == b"hello"
    channel.abort()
    await until(lambda: server.closed)
    assert origins.counters.server_connections == 0


async def test_refused_port_is_told_in_words(origins: Origins) -> None:
    origins.server.close()
    with pytest.raises(
        UpstreamError, match=r"could not connect to 127\.0\.0\.1:.*connection refused"
    ):
        await origins.dialer.connect(Route("http", "127.0.0.1", origins.port))


async def test_name_without_an_address_is_told_with_the_name(
    origins: Origins, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    with pytest.raises(UpstreamError, match=r"the name 'no\.such\.name' has no address"):
        await origins.dialer.connect(Route("http", "no.such.name", 80))


async def test_connect_that_takes_too_long_is_a_504(
    origins: Origins, clock: Clock, tls: UpstreamTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    hasty = Dialer(
        clock, tls, Limits(connect_timeout=0.0), Counters(), itertools.count(1), OwnAddresses()
    )
    with pytest.raises(UpstreamError, match="within 0 s") as refusal:
        await hasty.connect(Route("http", "slow.example", 80))
    assert refusal.value.status == 504


@pytest.mark.parametrize(
    ("host", "spoken"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
    ],
)
async def test_dns_sni_and_certificate_have_the_same_name(
    origins: Origins, looked_up: list[str], tmp_path: Path, host: str, spoken: str
) -> None:
    context = server_context(make(spoken, issuer=CA), tmp_path)
    asked: list[str | None] = []

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        asked.append(name)

    context.sni_callback = note
    route = Route("https", host, origins.port)
    server, channel = await origins.dialer.connect(route)
    peer = TlsPeer(await origins.accept(), context)
    async with asyncio.TaskGroup() as group:
        group.create_task(peer.handshake())
        await origins.dialer.secure(route, server, channel)
    assert looked_up == [spoken]
    assert asked == [spoken]
    assert server.tls is not None
    assert server.tls.verified


async def test_name_that_dns_cannot_have_is_told_with_the_name(origins: Origins) -> None:
    with pytest.raises(UpstreamError, match="is no name that DNS can have"):
        await origins.dialer.connect(Route("https", "xn--\N{SNOWMAN}.example", 443))


@pytest.mark.parametrize(
    ("http1_only", "chosen"), [(False, "h2"), (True, "http/1.1")], ids=["any", "http/1 only"]
)
async def test_http2_is_offered_unless_only_http1_will_do(
    origins: Origins, tmp_path: Path, http1_only: bool, chosen: str
) -> None:
    context = server_context(make("127.0.0.1", issuer=CA), tmp_path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    route = Route("https", "127.0.0.1", origins.port, http1_only=http1_only)
    server, channel = await origins.dialer.connect(route)
    peer = TlsPeer(await origins.accept(), context)
    async with asyncio.TaskGroup() as group:
        group.create_task(peer.handshake())
        await origins.dialer.secure(route, server, channel)
    assert server.tls is not None
    assert server.tls.alpn == chosen
    assert server.tls.certificate is not None
    assert server.secured is not None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_resumed_where_the_origin_allows_it(
    origins: Origins, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    context = server_context(make("127.0.0.1", issuer=CA), tmp_path)
    context.maximum_version = version
    route = Route("https", "127.0.0.1", origins.port)
    resumed = []
    for _ in range(3):
        server, channel = await origins.dialer.connect(route)
        peer = TlsPeer(await origins.accept(), context)
        async with asyncio.TaskGroup() as group:
            group.create_task(peer.handshake())
            await origins.dialer.secure(route, server, channel)
        await peer.send(b"x")  # behind the ticket
        assert await channel.receive() == b"x"
        assert channel.tls is not None
        resumed.append(channel.tls.object.session_reused)
        assert server.tls is not None
        assert server.tls.verified
        assert server.tls.certificate is not None
        channel.close()
        await until(lambda: not origins.counters.server_connections)
    assert resumed == [False, True, True]


async def test_certificate_of_a_stranger_closes_the_connection(
    origins: Origins, wires: Wires, tmp_path: Path
) -> None:
    route = Route("https", "127.0.0.1", origins.port)
    server, channel = await origins.dialer.connect(route)
    peer = TlsPeer(await origins.accept(), server_context(make("127.0.0.1"), tmp_path))
    wires.start(peer.handshake())
    with pytest.raises(UpstreamError, match="self-signed; pass --upstream-ca FILE"):
        await origins.dialer.secure(route, server, channel)
    await until(lambda: channel.closed)


async def test_origin_that_says_nothing_during_the_handshake_is_a_504(
    origins: Origins, wires: Wires, clock: Clock
) -> None:
    route = Route("https", "127.0.0.1", origins.port)
    server, channel = await origins.dialer.connect(route)
    peer = Peer(await origins.accept())
    securing = wires.start(origins.dialer.secure(route, server, channel))
    assert await peer.read_some()
    clock.sweep(6.0)
    with pytest.raises(UpstreamError, match="did not finish the TLS handshake in time") as refusal:
        await securing
    assert refusal.value.status == 504
    await until(lambda: channel.closed)


async def test_cancelled_handshake_leaves_no_connection(origins: Origins, wires: Wires) -> None:
    route = Route("https", "127.0.0.1", origins.port)
    server, channel = await origins.dialer.connect(route)
    peer = Peer(await origins.accept())
    securing = wires.start(origins.dialer.secure(route, server, channel))
    assert await peer.read_some()
    securing.cancel()
    await until(lambda: channel.closed)
    assert origins.counters.server_connections == 0


def test_prepared_dialer_makes_no_context_when_it_dials(
    clock: Clock, tls: UpstreamTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    Dialer(clock, tls, Limits(), Counters(), itertools.count(1), OwnAddresses()).prepare()
    made: list[tuple[str, ...]] = []
    monkeypatch.setattr(tls, "_make", made.append)
    assert tls.context(("h2", "http/1.1")).get_ca_certs()
    tls.context(("http/1.1",))
    assert made == []


async def test_every_address_is_tried_where_a_listener_has_the_same_port(
    origins: Origins, monkeypatch: pytest.MonkeyPatch, own: OwnAddresses
) -> None:
    async def getaddrinfo(loop: Any, host: str, port: int, **options: Any) -> Any:
        addresses = ("127.0.0.9", "127.0.0.1") if host == "two.example" else (host,)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    own.add("192.0.2.1", origins.port)
    server, channel = await origins.dialer.connect(Route("http", "two.example", origins.port))
    assert server.peer == ("127.0.0.1", origins.port)
    channel.abort()


@pytest.fixture
def three_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(loop: Any, host: str, port: int, **options: Any) -> Any:
        addresses = ("127.0.0.7", "127.0.0.8", "127.0.0.9")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


async def test_every_address_that_refused_is_named(origins: Origins, three_addresses: None) -> None:
    with pytest.raises(
        UpstreamError,
        match=r"connect to three\.example:\d+: connection refused "
        r"\(127\.0\.0\.7, 127\.0\.0\.8, 127\.0\.0\.9\)$",
    ) as refusal:
        await origins.dialer.connect(Route("http", "three.example", origins.port))
    assert refusal.value.status == 502


async def test_every_address_that_said_nothing_in_time_is_named(
    clock: Clock, tls: UpstreamTls, three_addresses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(loop: Any, sock: socket.socket, address: tuple[str, int]) -> None:
        if address[0] == "127.0.0.8":
            raise OSError(errno.EHOSTUNREACH, "no")
        await loop.create_future()

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", connect)
    monkeypatch.setattr(happy_eyeballs, "HEAD_START", 0.001)
    hasty = Dialer(
        clock, tls, Limits(connect_timeout=0.2), Counters(), itertools.count(1), OwnAddresses()
    )
    with pytest.raises(
        UpstreamError,
        match=r"within 0.2 s \(127\.0\.0\.7: no answer, "
        r"127\.0\.0\.8: no route to host, 127\.0\.0\.9: no answer\)$",
    ) as refusal:
        await hasty.connect(Route("http", "three.example", 80))
    assert refusal.value.status == 504


async def test_the_one_address_of_a_name_is_told(origins: Origins, looked_up: list[str]) -> None:
    origins.server.close()
    with pytest.raises(UpstreamError, match=r"connection refused \(127\.0\.0\.1\)$"):
        await origins.dialer.connect(Route("http", "one.example", origins.port))


async def test_parent_that_is_not_reached_is_named_as_such(
    origins: Origins, own: OwnAddresses
) -> None:
    parent = Parent("http", "127.0.0.1", origins.port)
    route = Route("http", "origin.example", 80, via=parent)
    own.add("127.0.0.1", origins.port)
    with pytest.raises(
        UpstreamError, match=r"^on the way to the upstream proxy: .* itself"
    ) as loop:
        await origins.dialer.connect(route)
    assert loop.value.status == 508
    origins.server.close()
    route = replace(route, via=replace(parent, port=1))
    with pytest.raises(UpstreamError, match=r"^on the way to the upstream proxy: .* refused"):
        await origins.dialer.connect(route)


async def test_parent_is_asked_for_a_name_as_dns_knows_it(origins: Origins, wires: Wires) -> None:
    parent = Parent("http", "127.0.0.1", origins.port, "me:\udcff")
    route = Route("https", "bücher.example", 443, via=parent)
    asking = wires.start(origins.dialer.connect(route))
    peer = Peer(await origins.accept())
    head = await peer.read_head()
    assert head.startswith(b"CONNECT xn--bcher-kva.example:443 HTTP/1.1\r\n")
    assert b"Basic bWU6/w==\r\n" in head
    peer.close()
    with pytest.raises(UpstreamError):
        await asking


async def test_parent_connects_to_the_proxy_that_a_client_goes_through(
    origins: Origins, wires: Wires
) -> None:
    parent = Parent("http", "127.0.0.1", origins.port)
    route = Route("http", "proxy.example", 3128, via=parent, asks_proxy=True)
    asking = wires.start(origins.dialer.connect(route))
    peer = Peer(await origins.accept())
    assert (await peer.read_head()).startswith(b"CONNECT proxy.example:3128 HTTP/1.1\r\n")
    await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
    _, channel = await asking
    channel.close()
