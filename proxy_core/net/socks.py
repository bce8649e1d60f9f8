"""A client that speaks SOCKS 5, up to the point where its tunnel begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from proxy_core.net.channel import Channel
from proxy_core.net.passwords import Passwords
from proxy_core.wire import socks
from proxy_core.wire.socks import SocksError, SocksRequest

T = TypeVar("T")


async def accept_socks(channel: Channel, passwords: Passwords | None) -> SocksRequest | None:
    """Serve a greeting, the password where one is asked for, and read the request.

    Returns None where the client goes before that. Raises SocksError, the client told already.
    """
    try:
        methods = await _read(channel, socks.read_methods)
        if methods is None:
            return None
        wanted = socks.NO_AUTHENTICATION if passwords is None else socks.PASSWORD
        if wanted not in methods:
            raise SocksError(
                "the client offers no SOCKS authentication that is taken here",
                socks.choose(socks.NO_ACCEPTABLE),
            )
        channel.write(socks.choose(wanted))
        if passwords is not None and not await _let_in(channel, passwords):
            return None
        return await _read(channel, socks.read_request)
    except SocksError as error:
        if error.answer:
            channel.write(error.answer)
        raise


async def _let_in(channel: Channel, passwords: Passwords) -> bool:
    """Ask for user and password; return whether the client answered. Raises SocksError."""

    def read(data: bytes) -> tuple[tuple[str, str], int] | None:
        found = socks.read_password(data)
        return None if found is None else (found[:2], found[2])

    given = await _read(channel, read)
    if given is None:
        return False
    if not await passwords.admit(*given):
        raise SocksError("wrong SOCKS user or password", socks.judge_password(False))
    channel.write(socks.judge_password(True))
    return True


async def _read(channel: Channel, parse: Callable[[bytes], tuple[T, int] | None]) -> T | None:
    """Read one message; None at an early end. What comes behind it stays unread."""
    data = b""
    while (found := parse(data)) is None:
        more = await channel.receive()
        if not more:
            return None
        data += more
    channel.unread(data[found[1] :])
    return found[0]
