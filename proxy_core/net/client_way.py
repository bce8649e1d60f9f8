"""What a listener's mode makes of its clients: where they are led, and whom they take us for."""

from __future__ import annotations

from proxy_core.config import ReverseMode, UpstreamMode
from proxy_core.exchange.ports import Parent, Route
from proxy_core.model.headers import Headers
from proxy_core.model.message import RequestHead, join_authority
from proxy_core.net.client_parts import ClientParts
from proxy_core.net.client_tunnel import Tunnel
from proxy_core.net.routing import ReverseRouter, Router, shared_router

_HTTP = ("h2", "http/1.1")
_HTTP1 = ("http/1.1",)


class Way:
    """The ways from one listener."""

    __slots__ = ("_parts", "via")

    def __init__(self, parts: ClientParts) -> None:
        self._parts = parts
        self.via: Parent | None = None
        """The proxy that everything goes on through, where there is one."""
        mode = parts.mode
        if isinstance(mode, UpstreamMode):
            self.via = Parent(mode.scheme, mode.host, mode.port, mode.credentials, parts.pseudonym)

    @property
    def takes_connect(self) -> bool:
        """Whether clients may ask for tunnels."""
        return not isinstance(self._parts.mode, ReverseMode)

    def tunnel_to(self, host: str, port: int) -> Tunnel:
        """Return a tunnel that no CONNECT asked for."""
        mode = self._parts.mode
        secured = isinstance(mode, ReverseMode) and mode.scheme == "tls"
        authority = join_authority(host, port, "")
        head = RequestHead(b"CONNECT", "https", authority, b"", Headers())
        return Tunnel(host, port, head, self.via, secured)

    def router(self, scheme: str, tunnel: Tunnel | None, sni: str, owner: int) -> Router:
        """Return what routes requests; `owner` is as in `Route`."""
        parts = self._parts
        if tunnel is not None:
            return shared_router(scheme, tunnel.host, tunnel.port, sni, tunnel.via, owner)
        mode = parts.mode
        if isinstance(mode, ReverseMode):
            origin = Route(
                mode.scheme, mode.host, mode.port, address=parts.connect_address, owner=owner
            )
            return ReverseRouter(scheme, origin, parts.keep_host)
        return Router("http", self.via, parts.passwords, owner)

    def bytes_route(self, tunnel: Tunnel) -> Route:
        """Return the way for what is neither HTTP nor TLS of ours."""
        reverse = isinstance(self._parts.mode, ReverseMode)
        return tunnel.route(address=self._parts.connect_address if reverse else None)

    def protocols(self, tunnel: Tunnel | None) -> tuple[str, ...]:
        """Return what a client may speak in TLS.

        With the proxy itself it is HTTP/1.1 only: what such a client asks for next is CONNECT.
        """
        return _HTTP1 if tunnel is None and self.takes_connect else _HTTP

    def passed_through(self, tunnel: Tunnel | None, sni: str | None) -> Tunnel | None:
        """Return where TLS goes that is to stay as it is, or None."""
        if tunnel is None:
            mode = self._parts.mode
            if not isinstance(mode, ReverseMode):
                return None
            tunnel = self.tunnel_to(mode.host, mode.port)
        wanted = self._parts.passthrough.wants(tunnel.host, tunnel.port, sni)
        return tunnel if wanted else None

    def carries_bytes_only(self, tunnel: Tunnel) -> bool:
        """Tell whether it is sure, before a word was said, that a tunnel is not looked into."""
        return tunnel.carries_no_http or self.passed_through(tunnel, None) is not None

    def default_host(self, tunnel: Tunnel | None, local: str) -> str:
        """Return the name to certify for a client that asks for none; `local` is where it came."""
        if tunnel is not None:
            return tunnel.host
        mode = self._parts.mode
        return mode.host if isinstance(mode, ReverseMode) else local
