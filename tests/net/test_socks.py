"""Clients that speak SOCKS 5, well or not, up to the point where their tunnel begins."""

from __future__ import annotations

import pytest

from proxy_core.errors import ConnectionLost, ConnectionTimeout
from proxy_core.net.clock import Clock
from proxy_core.net.passwords import Passwords
from proxy_core.net.socks import accept_socks
from proxy_core.wire.socks import SocksError, SocksRequest
from tests.net.wires import Wires

OPEN = b"\x05\x01\x00"
KNOWN = b"\x05\x02\x00\x02" + b"\x01\x02me\x06secret"
CONNECT = b"\x05\x01\x00\x03\x06origin\x01\xbb"
WANTED = SocksRequest("origin", 443)
PASSWORDS = Passwords("me:secret")


@pytest.mark.parametrize(
    ("passwords", "hello", "answers"),
    [(None, OPEN, b"\x05\x00"), (PASSWORDS, KNOWN, b"\x05\x02\x01\x00")],
)
@pytest.mark.parametrize("whole", [True, False], ids=["at once", "byte by byte"])
async def test_request_is_read_however_it_arrives(
    wires: Wires, passwords: Passwords | None, hello: bytes, answers: bytes, whole: bool
) -> None:
    channel, peer = await wires.open()
    accepting = wires.start(accept_socks(channel, passwords))
    data = hello + CONNECT
    for piece in [data] if whole else [data[i : i + 1] for i in range(len(data))]:
        await peer.send(piece)
        await wires.turn()
    await peer.send(b"first words")
    assert await accepting == WANTED
    assert await peer.read_exactly(len(answers)) == answers
    assert await channel.receive() == b"first words"


@pytest.mark.parametrize("end", range(len(KNOWN + CONNECT)))
async def test_client_that_goes_before_it_has_asked_is_let_go(wires: Wires, end: int) -> None:
    channel, peer = await wires.open()
    await peer.send((KNOWN + CONNECT)[:end])
    peer.end()
    assert await accept_socks(channel, PASSWORDS) is None


@pytest.mark.parametrize("begun", [b"", OPEN[:1], OPEN, OPEN + CONNECT[:7]])
async def test_client_that_resets_is_lost(wires: Wires, begun: bytes) -> None:
    channel, peer = await wires.open()
    accepting = wires.start(accept_socks(channel, None))
    await peer.send(begun)
    await wires.turn()
    peer.reset()
    with pytest.raises(ConnectionLost):
        await accepting


@pytest.mark.parametrize("begun", [b"", OPEN[:1], OPEN, OPEN + CONNECT[:7]])
async def test_client_that_stalls_is_late_however_slowly_it_goes_on(
    wires: Wires, clock: Clock, begun: bytes
) -> None:
    channel, peer = await wires.open()
    channel.allow(30.0, "the request's head took too long")
    accepting = wires.start(accept_socks(channel, None))
    for byte in begun:
        await peer.send(bytes((byte,)))
        await wires.turn()
        clock.sweep(clock.now + 1.0)
    clock.sweep(31.0)
    with pytest.raises(ConnectionTimeout, match="took too long"):
        await accepting


@pytest.mark.parametrize(
    ("passwords", "data", "answers"),
    [
        (None, b"\x04\x01\x01\xbb\x01\x02\x03\x04\x00", b""),
        (None, b"GET / HTTP/1.1\r\n\r\n", b""),
        (None, b"\x05\x01\x02", b"\x05\xff"),
        (None, b"\x05\x00", b"\x05\xff"),
        (PASSWORDS, OPEN, b"\x05\xff"),
        (PASSWORDS, b"\x05\x01\x02\x01\x02me\x05wrong", b"\x05\x02\x01\x01"),
        (PASSWORDS, b"\x05\x01\x02\x05\x01\x00", b"\x05\x02"),
        (None, OPEN + b"\x05\x02" + CONNECT[2:], b"\x05\x00\x05\x07\x00\x01" + bytes(6)),
        (None, OPEN + b"\x05\x01\x00\x09\x01", b"\x05\x00\x05\x08\x00\x01" + bytes(6)),
    ],
)
async def test_client_that_asks_for_something_else_is_told(
    wires: Wires, passwords: Passwords | None, data: bytes, answers: bytes
) -> None:
    channel, peer = await wires.open()
    await peer.send(data)
    with pytest.raises(SocksError):
        await accept_socks(channel, passwords)
    channel.close()
    assert await peer.read_to_end() == answers
