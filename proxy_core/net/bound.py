"""Sockets that listen, for the proxy's own servers and others that take them ready-made.

Their addresses are told to `OwnAddresses` before anybody is served: the proxy never dials them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from dataclasses import dataclass

from proxy_core.config import join_host_port
from proxy_core.errors import ListenError
from proxy_core.net.guard import OwnAddresses, parse_address

_BACKLOG = 128
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True, slots=True)
class Bound:
    """Listening sockets of one name; whoever serves on them closes them, or `close` does."""

    sockets: list[socket.socket]
    host: str
    """As it was asked for."""
    address: str
    """`host:port` of the first, with the real port."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        addresses = [parse_address(str(sock.getsockname()[0])) for sock in self.sockets]
        return all(address is not None and address.is_loopback for address in addresses)

    def close(self) -> None:
        """Close what is still open; idempotent."""
        for sock in self.sockets:
            sock.close()


async def bind(host: str, port: int, option: str, own: OwnAddresses) -> Bound:
    """Listen at every address of `host`; `option` is what the user would set it with.

    Port 0 takes one that is free, the same for all of them. `::` is all of IPv4 as well. Raises
    ListenError.
    """
    where = join_host_port(host, port)
    sockets: list[socket.socket] = []
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        absent: OSError | None = None
        for family, kind, protocol, _, address in dict.fromkeys(found):
            real = sockets[0].getsockname()[1] if sockets else port
            try:
                sockets.append(_listen(family, kind, protocol, (address[0], real, *address[2:])))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                absent = error
        if not sockets:
            raise absent or OSError(errno.EADDRNOTAVAIL, "no address")
    except (OSError, UnicodeError) as error:
        for sock in sockets:
            sock.close()
        raise ListenError(why_not(error, where, port, option)) from error
    for sock in sockets:
        own.add(*sock.getsockname()[:2])
    name = sockets[0].getsockname()
    return Bound(sockets, host, join_host_port(str(name[0]), int(name[1])))


def _listen(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # whatever the system's default is
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        sock.bind(address)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def why_not(error: OSError | UnicodeError, where: str, port: int, option: str) -> str:
    """Say why an address cannot be listened at, and what to do."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"the name in {where} has no address; pass {option} with an address of this machine"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken ({where}); pass {option} or stop the other listener"
    if error.errno == errno.EACCES:
        return f"{where} needs more rights than you have; pass {option} with a port above 1023"
    # From Python 3.13 on, asyncio raises one without a number where no address could be bound.
    if error.errno in (errno.EADDRNOTAVAIL, None):
        return f"{where} is no address of this machine; pass {option} with one that is"
    reason = os.strerror(error.errno).lower() if error.errno > 0 else str(error)
    return f"cannot listen on {where}: {reason}; pass {option} HOST:PORT"
