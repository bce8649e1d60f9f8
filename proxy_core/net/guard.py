"""Which addresses are ours, and which clients are served: an open proxy is an accident."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache

from proxy_core.model.host_names import to_a_labels

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_address(text: str) -> Address | None:
    """Return an IP address, IPv4 out of its IPv6 mapping, without its zone; None for a name."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


class ClientGuard:
    """Says why a client is not served, by its address."""

    def __init__(self, allow_public: bool = False, refuse_private: bool = False) -> None:
        self._allow_public = allow_public
        self._refuse_private = refuse_private

    def refusal(self, host: str) -> str | None:
        """Return why a client from this address is turned away, with the remedy, or None."""
        address = parse_address(host)
        if address is None or address.is_loopback:  # or a socket that has no IP address
            return None
        if not _is_private(address):
            if self._allow_public:
                return None
            return f"{host} is a public address; pass --allow-public-clients to serve it"
        if self._refuse_private:
            return f"{host} is not this machine; leave out --refuse-private-clients to serve it"
        return None


_SHARED = ipaddress.ip_network("100.64.0.0/10")  # carriers' NAT, and tunnels such as Tailscale's


def _is_private(address: Address) -> bool:
    return not address.is_global or (address.version == 4 and address in _SHARED)


class OwnAddresses:
    """Where this proxy listens, and dials from: it never serves itself."""

    def __init__(self) -> None:
        self._bound: dict[int, list[Address]] = {}
        self._dialled: set[tuple[tuple[str, int], tuple[str, int]]] = set()

    def dials(self, local: tuple[str, int], remote: tuple[str, int]) -> None:
        """Note the two ends of a connection to an origin."""
        self._dialled.add((local, remote))

    def dials_no_more(self, local: tuple[str, int], remote: tuple[str, int]) -> None:
        """Forget a connection that is over."""
        self._dialled.discard((local, remote))

    def has_dialled(self, peer: tuple[str, int], wanted: tuple[str, int]) -> bool:
        """Tell whether a client that a firewall has turned here is this proxy itself.

        `wanted` is where it wanted to go: a port by itself may be two programs' at a time. Sure
        once the client has sent something: before, it may not know yet that it is connected.
        """
        return (peer, wanted) in self._dialled

    def add(self, host: str, port: int) -> None:
        """Note a listening socket's address."""
        address = parse_address(host)
        if address is not None:
            self._bound.setdefault(port, []).append(address)

    def listens_at(self, port: int) -> bool:
        """Tell whether some listener has this port: whether to look closer at all."""
        return port in self._bound

    def is_own(self, host: str, port: int) -> bool:
        """Tell whether dialling this IP address and port would reach one of our listeners."""
        address = parse_address(host)
        if address is None:
            return False
        if address.is_unspecified:  # the kernel dials loopback instead
            address = parse_address("127.0.0.1" if address.version == 4 else "::1") or address
        for bound in self._bound.get(port, ()):
            if address == bound or (address.is_loopback and bound.is_loopback):
                return True
            if bound.is_unspecified and _is_local(str(address), address.version):
                return True
        return False


@lru_cache(maxsize=256)
def _is_local(address: str, version: int) -> bool:
    """Tell whether an address is one of this machine's: only those can be bound."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def dialled_name(host: str) -> str:
    """Return a host as the resolver takes it. Raises ValueError for what no DNS name can be."""
    return host if parse_address(host) is not None else to_a_labels(host)
