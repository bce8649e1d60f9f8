from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_core.errors import RemoteProtocolError
from proxy_core.exchange.ports import OWN_NAME, Parent, Route
from proxy_core.model.headers import Headers
from proxy_core.model.message import HTTP_2, RequestHead
from proxy_core.net.passwords import Passwords
from proxy_core.net.routing import FixedRouter, ReverseRouter, Router
from proxy_core.wire.events import RequestReceived
from proxy_core.wire.http1 import RequestReader

TUNNEL = Route("https", "origin.example", 443, "sni.example")
ORIGIN = Route("http", "origin.example", 8000)


def parse(raw: bytes, scheme: str = "http") -> RequestReceived:
    reader = RequestReader(scheme)
    reader.receive_data(raw)
    event = reader.next_event()
    assert isinstance(event, RequestReceived)
    return event


def routed(router: Router, received: RequestReceived, http1_only: bool = False) -> Route:
    head = router.adopt(received).head
    return router.route(head, head, http1_only)


# --- as the request says


@pytest.mark.parametrize(
    ("url", "route"),
    [
        (b"http://origin.example/", Route("http", "origin.example", 80)),
        (b"http://ORIGIN.example:8080/x", Route("http", "origin.example", 8080)),
        (b"https://origin.example/", Route("https", "origin.example", 443)),
        (b"http://[2001:db8::1]:81/", Route("http", "2001:db8::1", 81)),
    ],
)
def test_absolute_target_says_where_to_go(url: bytes, route: Route) -> None:
    host = url.split(b"/")[2]
    received = parse(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (url, host))
    assert routed(Router(), received) == route


@pytest.mark.parametrize("target", [b"/", b"/http://origin.example/"])
def test_origin_form_asks_the_proxy_itself(target: bytes) -> None:
    received = parse(b"GET %b HTTP/1.1\r\nHost: origin.example\r\n\r\n" % target)
    assert Router().adopt(received).head.authority == OWN_NAME


async def test_a_proxy_with_passwords_asks_for_one_and_passes_none_on() -> None:
    router = Router(passwords=Passwords("me:secret"))
    ask = b"GET http://o.example/ HTTP/1.1\r\nHost: o.example\r\n%b\r\n"
    for field in (b"", b"Proxy-Authorization: Basic bWU6d3Jvbmc=\r\n", b"Authorization: x\r\n"):
        with pytest.raises(RemoteProtocolError) as refusal:
            await router.let_in(parse(ask % field).head)
        assert refusal.value.status == 407
        assert refusal.value.fields[0][0] == b"Proxy-Authenticate"
    received = parse(ask % b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n")
    await router.let_in(received.head)
    received = router.adopt(received)
    assert received.clean is not None
    assert b"bWU6" not in received.clean


async def test_the_proxys_own_pages_are_for_all() -> None:
    await Router(passwords=Passwords("me:secret")).let_in(
        parse(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").head
    )


def test_routes_of_one_client_are_its_own_where_that_is_wanted() -> None:
    url = b"GET http://o.example/ HTTP/1.1\r\nHost: o.example\r\n\r\n"
    assert routed(Router(owner=7), parse(url)).owner == 7
    assert routed(Router(), parse(url)).owner == 0


def test_every_route_goes_through_the_parent() -> None:
    via = Parent("http", "proxy", 3128)
    url = b"GET http://o.example/ HTTP/1.1\r\nHost: o.example\r\n\r\n"
    assert routed(Router(via=via), parse(url)) == Route("http", "o.example", 80, via=via)


def test_http2_request_goes_to_its_authority() -> None:
    head = RequestHead(b"GET", "http", b"origin.example:81", b"/", Headers(), HTTP_2)
    assert routed(Router(), RequestReceived(head, 0)) == Route("http", "origin.example", 81)


def test_request_that_names_no_origin_is_refused() -> None:
    head = RequestHead(b"GET", "http", b"", b"/", Headers(), HTTP_2)
    with pytest.raises(RemoteProtocolError, match="neither the request's target nor a Host"):
        Router().adopt(RequestReceived(head, 0))


def test_upgrade_keeps_http2_out() -> None:
    received = parse(b"GET https://origin.example/ HTTP/1.1\r\nHost: origin.example\r\n\r\n")
    assert routed(Router(), received, http1_only=True).http1_only


def test_edit_of_the_authority_moves_the_request() -> None:
    received = parse(b"GET http://origin.example/ HTTP/1.1\r\nHost: origin.example\r\n\r\n")
    edited = received.head.replace(authority=b"other.example:99", scheme="https")
    assert Router().route(edited, received.head) == Route("https", "other.example", 99)


# --- inside a tunnel


def test_request_in_a_tunnel_goes_where_the_tunnel_leads_whatever_its_host() -> None:
    received = parse(b"GET / HTTP/1.1\r\nHost: fronted.example\r\n\r\n", "https")
    assert routed(FixedRouter("https", TUNNEL), received) == TUNNEL
    assert received.head.authority == b"fronted.example"


def test_request_in_a_tunnel_without_a_host_gets_the_tunnels() -> None:
    received = parse(b"GET / HTTP/1.0\r\n\r\n", "https")
    assert routed(FixedRouter("https", TUNNEL), received) == TUNNEL
    assert received.head.authority == b"origin.example"
    assert received.clean is None  # the head must be rebuilt, with that Host


def test_upgrade_in_a_tunnel_keeps_http2_out_and_the_name() -> None:
    received = parse(b"GET / HTTP/1.1\r\nHost: origin.example\r\n\r\n", "https")
    route = routed(FixedRouter("https", TUNNEL), received, http1_only=True)
    assert route == Route("https", "origin.example", 443, "sni.example", True)


@pytest.mark.parametrize(
    ("scheme", "authority", "asks_proxy"),
    [
        ("https", b"other.example", False),  # whose certificate names both
        ("http", b"origin.example", False),  # who says so whatever it speaks in
        ("http", b"SNI.example", False),
        ("http", b"other.example", True),
    ],
)
def test_http2_in_a_tunnel_asks_a_proxy_for_http_elsewhere(
    scheme: str, authority: bytes, asks_proxy: bool
) -> None:
    head = RequestHead(b"GET", scheme, authority, b"/", Headers(), HTTP_2)
    route = routed(FixedRouter("https", TUNNEL), RequestReceived(head, 0))
    assert route == replace(TUNNEL, asks_proxy=asks_proxy)


def test_absolute_target_asks_no_origin_in_reverse_mode_for_a_proxy() -> None:
    received = parse(b"GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n")
    assert routed(ReverseRouter("http", ORIGIN, keep_host=True), received) == ORIGIN


def test_edit_of_the_authority_leaves_the_tunnel() -> None:
    router = FixedRouter("https", TUNNEL)
    received = router.adopt(parse(b"GET / HTTP/1.1\r\nHost: origin.example\r\n\r\n", "https"))
    edited = received.head.replace(authority=b"other.example")
    assert router.route(edited, received.head) == Route("https", "other.example", 443)


def test_other_edits_stay_in_the_tunnel() -> None:
    router = FixedRouter("https", TUNNEL)
    received = router.adopt(parse(b"GET / HTTP/1.1\r\nHost: fronted.example\r\n\r\n", "https"))
    edited = received.head.replace(path=b"/other")
    assert router.route(edited, received.head) == TUNNEL


# --- in front of one origin


@pytest.mark.parametrize("name", [b"Host", b"host", b"HOST"])
def test_reverse_mode_sends_requests_on_under_the_origins_name(name: bytes) -> None:
    received = parse(b"GET /x HTTP/1.1\r\n%b: proxy.example\r\nA: b\r\n\r\n" % name)
    assert routed(ReverseRouter("https", ORIGIN), received) == ORIGIN
    assert received.head.authority == b"origin.example:8000"
    assert received.head.scheme == "http"
    if received.clean is not None:
        assert received.clean == b"%b: origin.example:8000\r\nA: b\r\n\r\n" % name
    assert received.head.raw.startswith(b"GET /x HTTP/1.1\r\n%b: proxy.example\r\n" % name)


def test_reverse_mode_changes_the_host_line_alone() -> None:
    received = parse(
        b"GET / HTTP/1.1\r\nX-Host: proxy.example\r\nHost: proxy.example\r\nReferer: x\r\n\r\n"
    )
    ReverseRouter("http", ORIGIN).adopt(received)
    assert received.clean == (
        b"X-Host: proxy.example\r\nHost: origin.example:8000\r\nReferer: x\r\n\r\n"
    )


def test_reverse_mode_names_the_origin_where_the_client_named_none() -> None:
    received = parse(b"GET / HTTP/1.0\r\n\r\n")
    assert routed(ReverseRouter("http", ORIGIN), received) == ORIGIN
    assert received.head.authority == b"origin.example:8000"
    assert received.clean is None
