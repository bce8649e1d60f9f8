"""Where a connection wanted to go before the firewall turned it here (Linux)."""

from __future__ import annotations

import ipaddress
import socket
import struct

_SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h, and IP6T_SO_ORIGINAL_DST is the same
_SOL_IPV6 = 41


def original_destination(sock: socket.socket) -> tuple[str, int] | None:
    """Return the address and port that a redirected client dialled, or None where none is known."""
    try:
        if sock.family == socket.AF_INET6 and "." not in sock.getpeername()[0]:
            raw = sock.getsockopt(_SOL_IPV6, _SO_ORIGINAL_DST, 28)
            port, address = struct.unpack_from("!2xH4x16s", raw)
            return str(ipaddress.IPv6Address(address)), port
        raw = sock.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
    except OSError:
        return None
    port, address = struct.unpack_from("!2xH4s", raw)
    return str(ipaddress.IPv4Address(address)), port
