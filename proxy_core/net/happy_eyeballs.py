"""A connection to the first of several addresses that takes it (RFC 8305, sections 4 and 5).

A host may have an address that nothing answers at, of IPv6 most often. So each gets a head start of
a quarter of a second, or until it fails; then the next is tried beside it, families in turn.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy_core.net.descriptors import EXHAUSTED

HEAD_START = 0.25
_MOST = 16  # what is tried of a name with more addresses


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a host, as `getaddrinfo` told it."""

    family: int
    place: tuple[Any, ...]

    def __str__(self) -> str:
        return str(self.place[0])


async def addresses_of(host: str, port: int) -> list[Address]:
    """Return where a host is, in the order to try. Raises socket.gaierror."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return in_turn([Address(family, place) for family, _, _, _, place in found])[:_MOST]


def in_turn(addresses: Sequence[Address]) -> list[Address]:
    """Return addresses with families alternating, the first one's first, none twice."""
    families: dict[int, list[Address]] = {}
    for address in dict.fromkeys(addresses):
        families.setdefault(address.family, []).append(address)
    rounds = itertools.zip_longest(*families.values())
    return [address for turn in rounds for address in turn if address is not None]


async def connect_first(addresses: Sequence[Address], tried: dict[str, str]) -> socket.socket:
    """Return a socket that is connected to one of `addresses`; the other attempts are ended.

    `tried` learns what became of each, for people. Raises the first failure where all fail, and at
    once where descriptors run out.
    """
    loop = asyncio.get_running_loop()
    waiting = deque(addresses)
    attempts: dict[asyncio.Task[socket.socket], str] = {}
    failure: OSError | None = None
    try:
        while waiting or attempts:
            if waiting:
                address = waiting.popleft()
                tried[str(address)] = "no answer"
                attempts[loop.create_task(_connect(address))] = str(address)
            head_start = HEAD_START if waiting else None
            done, _ = await asyncio.wait(
                attempts, timeout=head_start, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                name = attempts.pop(task)
                try:
                    return task.result()
                except OSError as error:
                    if error.errno in EXHAUSTED:
                        raise
                    tried[name] = reason_of(error)
                    failure = failure or error
        raise failure or OSError("the name has no address")
    finally:
        for task in attempts:
            task.add_done_callback(_close_unwanted)
            task.cancel()


async def _connect(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address.place)
    except BaseException:
        sock.close()
        raise
    return sock


def _close_unwanted(attempt: asyncio.Task[socket.socket]) -> None:
    """Close what an attempt has connected that came too late."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


def reason_of(error: Exception) -> str:
    """Say why an attempt failed, in the bare words that people know."""
    # The loop puts addresses into strerror.
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error)
