"""TLS with a client: its ClientHello, the certificate it is shown, what is known of it then."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import lru_cache
from ssl import SSLContext
from typing import NamedTuple

from proxy_core.errors import CaError, TlsError
from proxy_core.model.connection import TlsFacts
from proxy_core.net.channel import Channel
from proxy_core.net.client_parts import ServerContextSource
from proxy_core.net.tls_session import TlsSession
from proxy_core.wire.tls_hello import ClientHello, read_client_hello


async def read_hello(channel: Channel) -> ClientHello:
    """Read a ClientHello, which stays unread. Raises TlsError, or what `receive` raises."""
    data = b""
    while True:
        more = await channel.receive()
        if not more:
            raise TlsError("the connection ended in the middle of a ClientHello")
        data += more
        hello = read_client_hello(data)
        if hello is not None:
            channel.unread(data)
            return hello


def speaks_no_http(hello: ClientHello) -> bool:
    """Tell whether a client offers protocols (RFC 7301), none of which is HTTP."""
    offered = hello.alpn
    return (
        bool(offered)
        and all(name.isascii() and name for name in offered)  # all that Python can offer
        and not any(name == "h2" or name.startswith("http/") for name in offered)
    )


def certify(contexts: ServerContextSource, sni: str | None, host: str) -> tuple[SSLContext, str]:
    """Return a context for the name a client asks for, and that name; else for `host`, and "".

    Some clients ask for what is no host name, "127.0.0.1:443" for one. Raises CaError.
    """
    if sni:
        with contextlib.suppress(CaError):
            return contexts.for_host(sni), sni
    return contexts.for_host(host), ""


def offer_of(hello: ClientHello) -> TlsFacts:
    """Return what a hello says of the client, whatever becomes of it."""
    return _facts(_describe(replace(hello, sni=None)), hello.sni, "", "", None)


def facts_of(session: TlsSession, offer: TlsFacts) -> TlsFacts:
    """Return what an established session says of the client, and its offer."""
    tls = session.object
    cipher = tls.cipher()
    return _facts(
        _Offer(offer.ja3 or "", offer.ja4 or "", offer.offered_alpn, offer.offered_versions),
        offer.sni,
        tls.version() or "",
        cipher[0] if cipher else "",
        tls.selected_alpn_protocol(),
    )


class _Offer(NamedTuple):
    ja3: str
    ja4: str
    alpn: tuple[str, ...]
    versions: tuple[str, ...]


@lru_cache(maxsize=256)
def _describe(hello: ClientHello) -> _Offer:
    """Describe a hello but for its name: a client says the same each time, and it takes 40 us."""
    return _Offer(hello.ja3, hello.ja4, hello.alpn, hello.version_names)


@lru_cache(maxsize=1024)
def _facts(offer: _Offer, sni: str | None, version: str, cipher: str, alpn: str | None) -> TlsFacts:
    """Return facts; many connections have the same, and each keeps them."""
    return TlsFacts(
        version=version,
        cipher=cipher,
        alpn=alpn,
        sni=sni,
        ja3=offer.ja3,
        ja4=offer.ja4,
        offered_alpn=offer.alpn,
        offered_versions=offer.versions,
    )
