"""NTLM and Negotiate authenticate a connection: it is one client's from then on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy_core.config import Limits
from tests.e2e.inside import Inside
from tests.net.wires import Peer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHALLENGE = b"HTTP/1.1 401 No\r\nWWW-Authenticate: %b\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
async def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inside]:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Inside(tmp_path / "data", Limits())
    await made.open()
    yield made
    await made.close()


async def ask(client: Peer, *lines: bytes) -> None:
    await client.send(b"\r\n".join([b"GET / HTTP/1.1", b"Host: h", *lines, b"", b""]))


async def answer(origin: Peer, data: bytes) -> bytes:
    head = await origin.read_head()
    await origin.send(data)
    return head


@pytest.mark.parametrize("scheme", [b"NTLM", b"Negotiate"])
async def test_handshake_stays_on_its_connection_which_no_other_client_gets(
    inside: Inside, scheme: bytes
) -> None:
    client, other = inside.client(reverse=True), inside.client(reverse=True)
    await ask(client)
    origin = await inside.origin.accept()
    await answer(origin, CHALLENGE % scheme)
    await client.read_head()
    await ask(client, b"Authorization: " + scheme + b" one")
    await answer(origin, CHALLENGE % (scheme + b" two"))  # the same connection
    await client.read_head()
    await ask(client, b"Authorization: " + scheme + b" three")
    assert b"three" in await answer(origin, OK)
    await client.read_until(b"ok")
    # It is authenticated now, and lies idle: whoever got it would be the first client.
    await ask(other)
    another = await inside.origin.accept()
    assert b"Authorization" not in await answer(another, OK)
    await other.read_until(b"ok")
    await ask(client)
    await answer(origin, OK)
    await client.read_until(b"ok")


async def test_credentials_that_nobody_asked_for_are_sent_on_a_connection_of_their_own(
    inside: Inside,
) -> None:
    client, other = inside.client(reverse=True), inside.client(reverse=True)
    await ask(other)
    shared = await inside.origin.accept()
    await answer(shared, OK)
    await other.read_until(b"ok")
    await ask(client, b"Authorization: Negotiate token")
    own = await inside.origin.accept()
    assert b"token" in await answer(own, OK)
    await client.read_until(b"ok")
    await ask(other)
    await answer(shared, OK)
    assert await other.read_until(b"ok") == OK


async def test_other_schemes_share_connections(inside: Inside) -> None:
    client, other = inside.client(reverse=True), inside.client(reverse=True)
    await ask(client, b"Authorization: Basic bnRsbTpudGxt")
    origin = await inside.origin.accept()
    await answer(origin, CHALLENGE % b'Basic realm="NTLM"')
    await client.read_head()
    await ask(other)
    await answer(origin, OK)
    assert await other.read_until(b"ok") == OK
