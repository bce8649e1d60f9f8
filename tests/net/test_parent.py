"""CONNECT through another proxy, which may do anything but what it was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy_core.config import Limits
from proxy_core.errors import UpstreamError
from proxy_core.exchange.ports import Parent
from proxy_core.net.channel import Channel
from proxy_core.net.clock import Clock
from proxy_core.net.parent import ask_for_tunnel, via_line
from tests.net.wires import Wires

PARENT = Parent("http", "parent.example", 3128, "me:secret")
LIMITS = Limits(head_bytes=4096, header_count=10, connect_timeout=10.0, informational_heads=3)
REQUEST = (
    b"CONNECT origin.example:443 HTTP/1.1\r\nHost: origin.example:443\r\n"
    b"Proxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
)
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


async def ask(channel: Channel) -> None:
    await ask_for_tunnel(channel, PARENT, "origin.example", 443, LIMITS)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nProxy-Agent: x\r\n\r\n",
        b"HTTP/1.1 299 Fine\r\nContent-Length: 5\r\n\r\n",  # of no meaning here (RFC 9110, 9.3.6)
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        HINT * 3 + b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
async def test_bytes_behind_the_parents_consent_are_the_tunnels(
    wires: Wires, answer: bytes
) -> None:
    channel, peer = await wires.open()
    asked = wires.start(ask(channel))
    assert await peer.read_exactly(len(REQUEST)) == REQUEST
    await peer.send(answer + b"hello")
    await asked
    assert await channel.receive() == b"hello"
    assert not channel.closed


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n", "407 Who.; write its credentials"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "refused to connect .* 403 No$"),
        (b"HTTP/1.1 301 There\r\nLocation: x\r\n\r\n", "refused to connect .* 301 There"),
        (b"HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\n", "refused to connect .* 101 Go"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "failed: not an HTTP/1 status line"),
        (b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", "failed: .*a bare LF"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 5000, "failed: a head of more than 4096 bytes"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 11 + b"\r\n", "failed: 11 header fields"),
        (HINT * 4, "more than 3 informational answers"),
        (HINT * 100, "more than 3 informational answers"),
        (b"", "failed: it closed the connection without an answer"),
        (b"HTTP/1.1 200 O", "failed: the connection ended in the middle of a head"),
    ],
)
async def test_parent_that_does_not_consent_is_told_and_its_connection_closed(
    wires: Wires, answer: bytes, reason: str
) -> None:
    channel, peer = await wires.open()
    asked = wires.start(ask(channel))
    await peer.read_exactly(len(REQUEST))
    if answer:
        await peer.send(answer)
    peer.end()
    with pytest.raises(UpstreamError, match=reason) as refusal:
        await asked
    assert "the upstream proxy parent.example:3128" in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert refusal.value.status == 502
    await wires.turn()
    assert channel.closed


@pytest.mark.parametrize(("status", "told"), [(508, 508), (504, 504), (503, 502), (403, 502)])
async def test_parent_that_is_late_or_in_a_circle_is_told_as_such(
    wires: Wires, status: int, told: int
) -> None:
    channel, peer = await wires.open()
    asked = wires.start(ask(channel))
    await peer.read_exactly(len(REQUEST))
    await peer.send(b"HTTP/1.1 %d No\r\n\r\n" % status)
    with pytest.raises(UpstreamError, match=f"{status} No") as refusal:
        await asked
    assert refusal.value.status == told


@pytest.mark.parametrize(
    ("passed", "line"),
    [
        (b"", b"Via: 1.1 deadbeef\r\n"),
        (b"2 one, 1.0 two (x)", b"Via: 2 one, 1.0 two (x), 1.1 deadbeef\r\n"),
    ],
)
async def test_parent_is_told_by_pseudonym_whom_it_serves(
    wires: Wires, passed: bytes, line: bytes
) -> None:
    channel, peer = await wires.open()
    parent = replace(PARENT, pseudonym="deadbeef", passed=passed)
    wires.start(ask_for_tunnel(channel, parent, "origin.example", 443, LIMITS))
    assert await peer.read_head() == REQUEST[:-2] + line + b"\r\n"


@pytest.mark.parametrize(
    ("version", "line"),
    [("HTTP/1.0", b"Via: 1.0 x\r\n"), ("HTTP/1.1", b"Via: 1.1 x\r\n"), ("HTTP/2", b"Via: 2 x\r\n")],
)
def test_via_names_what_a_message_came_in(version: str, line: bytes) -> None:
    assert via_line(replace(PARENT, pseudonym="x"), version) == line
    assert via_line(PARENT, version) == b""


async def test_parent_that_resets_is_told(wires: Wires) -> None:
    channel, peer = await wires.open()
    asked = wires.start(ask(channel))
    await peer.read_exactly(len(REQUEST))
    peer.reset()
    with pytest.raises(UpstreamError, match="the connection was reset"):
        await asked


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200", HINT])
async def test_parent_that_does_not_answer_in_time_is_a_504(
    wires: Wires, clock: Clock, begun: bytes
) -> None:
    channel, peer = await wires.open()
    asked = wires.start(ask(channel))
    await peer.read_exactly(len(REQUEST))
    if begun:
        await peer.send(begun)
    await wires.turn()
    clock.sweep(11.0)
    with pytest.raises(UpstreamError, match="did not answer CONNECT in time") as refusal:
        await asked
    assert refusal.value.status == 504
    await wires.turn()
    assert channel.closed


async def test_request_given_up_leaves_no_connection_to_the_parent(wires: Wires) -> None:
    channel, peer = await wires.open()
    asked = wires.start(ask(channel))
    await peer.read_exactly(len(REQUEST))
    asked.cancel()
    await wires.turn()
    assert channel.closed
