"""Where a connection's requests go: as they say, where its CONNECT said, or to one fixed origin."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from proxy_core.errors import RemoteProtocolError
from proxy_core.exchange.ports import OWN_NAME, Parent, Route
from proxy_core.model.message import HTTP_2, RequestHead, join_authority, split_authority
from proxy_core.net.client_tunnel import Tunnel
from proxy_core.net.passwords import Passwords
from proxy_core.wire.events import RequestReceived

_CHALLENGE = ((b"Proxy-Authenticate", b'Basic realm="int3rceptor", charset="UTF-8"'),)


class Router:
    """Routes the requests of a client that names the origin in each (RFC 9112, section 3.2.2).

    `scheme` is what an origin-form target means on the connection; `via` the proxy that everything
    goes on through; `passwords` what clients must know (RFC 9110, section 11.7); `owner` is as in
    `Route`.
    """

    __slots__ = ("_owner", "_via", "passwords", "scheme")

    def __init__(
        self,
        scheme: str = "http",
        via: Parent | None = None,
        passwords: Passwords | None = None,
        owner: int = 0,
    ) -> None:
        self.scheme = scheme
        self._owner = owner
        self._via = via
        self.passwords = passwords

    async def let_in(self, head: RequestHead) -> None:
        """Ask who sent a request, where there are `passwords`; the proxy's own pages are for all.

        Raises RemoteProtocolError (407) where it is nobody.
        """
        if self.passwords is None or _opens_the_proxy(head):
            return
        if not await self.passwords.admit_header(head.headers.get(b"proxy-authorization")):
            raise RemoteProtocolError("this proxy asks for a password", 407, _CHALLENGE)

    def adopt(self, received: RequestReceived) -> RequestReceived:
        """Check a request against the connection it came on, and complete it.

        Raises RemoteProtocolError for one that does not say where it wants to go.
        """
        head = received.head
        if _opens_the_proxy(head):
            head.authority = OWN_NAME
            received.clean = None
        if not head.authority:
            raise RemoteProtocolError("neither the request's target nor a Host names an origin")
        return received

    def asks_proxy(self, arrived: RequestHead) -> bool:
        """Tell whether a request is for a proxy that the client goes through beyond this one."""
        return False

    def route(self, head: RequestHead, arrived: RequestHead, http1_only: bool = False) -> Route:
        """Return where `head` goes, which came as `arrived` and may have been edited since."""
        return _route_to(head.authority, head.scheme, http1_only, self._via, self._owner)


def _opens_the_proxy(head: RequestHead) -> bool:
    """Tell whether somebody has opened the proxy's own address: a target in origin form."""
    return head.version != HTTP_2 and _form(head) == b"/"


def _form(head: RequestHead) -> bytes:
    """Return what an HTTP/1 target begins with: `/` in origin form."""
    after = len(head.method) + 1
    return head.raw[after : after + 1]


class FixedRouter(Router):
    """Routes everything to one origin: inside a CONNECT tunnel, to the tunnel's target.

    Where an edit has changed a request's authority, that request goes there instead. One that names
    the URL of somebody else is for a proxy, which the tunnel leads to: it goes there whatever its
    edits, and names its URL there too.
    """

    __slots__ = ("_authority", "_origin")

    def __init__(self, scheme: str, origin: Route) -> None:
        super().__init__(scheme, origin.via, None, origin.owner)
        self._origin = origin
        self._authority = _authority_of(origin)

    def adopt(self, received: RequestReceived) -> RequestReceived:
        """See `Router.adopt`; a request that names no authority gets the tunnel's."""
        if not received.head.authority:
            received.head.authority = self._authority
            received.clean = None
        return received

    def route(self, head: RequestHead, arrived: RequestHead, http1_only: bool = False) -> Route:
        """See `Router.route`."""
        origin = self._origin
        if self.asks_proxy(arrived):
            origin = _asking_proxy(origin)
        elif head is not arrived and head.authority != arrived.authority:
            return _route_to(head.authority, head.scheme, http1_only, self._via, self._owner)
        return _only_http1(origin) if http1_only else origin

    def asks_proxy(self, arrived: RequestHead) -> bool:
        """See `Router.asks_proxy`; HTTP/2 tells by the scheme, and for other hosts only.

        Its connections are for all authorities that their certificate has (RFC 9113, section
        9.1.1), and some clients say `http` whatever they speak in.
        """
        origin = self._origin
        same_scheme = arrived.scheme == origin.scheme
        if same_scheme and arrived.authority == self._authority:
            return False
        host, port = split_authority(arrived.authority, arrived.scheme)
        same_host = host.lower() in (origin.host, origin.sni)
        if arrived.version == HTTP_2:
            return not (same_scheme or same_host)
        if _form(arrived) in (b"/", b"*"):
            return False
        return not (same_scheme and same_host and port == origin.port)

    def tunnel(self, connect: RequestHead) -> Tunnel:
        """Return the tunnel that a CONNECT came through, as one for what it asks for."""
        origin = self._origin
        secured = origin.scheme == "https"
        return Tunnel(origin.host, origin.port, connect, origin.via, secured, origin.sni)


class ReverseRouter(FixedRouter):
    """Routes everything to one origin, under whose name the requests are sent on."""

    __slots__ = ("_keep_host",)

    def __init__(self, scheme: str, origin: Route, keep_host: bool = False) -> None:
        """With `keep_host` requests are sent on under the name that the client used."""
        super().__init__(scheme, origin)
        self._keep_host = keep_host

    def asks_proxy(self, arrived: RequestHead) -> bool:
        """See `Router.asks_proxy`: clients take us for the origin."""
        return False

    def adopt(self, received: RequestReceived) -> RequestReceived:
        """See `Router.adopt`; scheme and authority become the origin's."""
        head = received.head
        _ = head.raw  # as it came: rendered before it changes
        head.scheme = self._origin.scheme
        if head.authority != self._authority and not (self._keep_host and head.authority):
            if received.clean is not None:
                received.clean = _with_host(received.clean, head.authority, self._authority)
            head.authority = self._authority
        return received


@lru_cache(maxsize=1024)
def shared_router(
    scheme: str, host: str, port: int, sni: str, via: Parent | None, owner: int
) -> FixedRouter:
    """Return a router; many connections lead to the same place, and each keeps its router."""
    return FixedRouter(scheme, Route(scheme, host, port, sni, via=via, owner=owner))


@lru_cache(maxsize=1024)
def _only_http1(route: Route) -> Route:
    return replace(route, http1_only=True)


@lru_cache(maxsize=1024)
def _asking_proxy(route: Route) -> Route:
    return replace(route, asks_proxy=True)


@lru_cache(maxsize=1024)
def _authority_of(route: Route) -> bytes:
    return join_authority(route.host, route.port, route.scheme)


@lru_cache(maxsize=1024)
def _route_to(
    authority: bytes, scheme: str, http1_only: bool, via: Parent | None, owner: int
) -> Route:
    host, port = split_authority(authority, scheme)
    return Route(scheme, host.lower(), port, "", http1_only, via, None, owner)


def _with_host(lines: bytes, old: bytes, new: bytes) -> bytes | None:
    """Replace the Host line, or return None where it is not spelled the usual way."""
    padded = b"\r\n" + lines
    for name in (b"Host", b"host"):
        changed = padded.replace(
            b"\r\n%b: %b\r\n" % (name, old), b"\r\n%b: %b\r\n" % (name, new), 1
        )
        if changed != padded:
            return changed[2:]
    return None
