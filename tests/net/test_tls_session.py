from __future__ import annotations

import contextlib
import random
import ssl
from pathlib import Path

import pytest

from proxy_core.errors import ConnectionLost, TlsError
from proxy_core.net.channel import Channel
from proxy_core.net.tls_session import TlsBuffers, TlsSession
from tests.ca.certificates import make, server_context
from tests.net.wires import Peer, TlsPeer, Wires
from tests.waiting import until

CA = make("The CA", ca=True)
GOOD = make("good.example", issuer=CA)


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    return server_context(GOOD, tmp_path)


@pytest.fixture
def client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=CA.pem.decode())
    return context


def both(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    *,
    shaken: bool = True,
    buffers: TlsBuffers | None = None,
) -> tuple[TlsSession, TlsSession]:
    """A client's session and a server's, after their handshake, over the same buffers."""
    buffers = buffers or TlsBuffers()
    near = TlsSession(client, server_side=False, server_hostname="good.example", buffers=buffers)
    far = TlsSession(server, server_side=True, buffers=buffers)
    if shaken:
        shake(near, far)
    return near, far


def shake(near: TlsSession, far: TlsSession) -> None:
    near.handshake()
    while not (near.established and far.established):
        far.handshake(near.take())
        near.handshake(far.take())
    near.decrypt(far.take())  # the tickets of TLS 1.3


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@VERSIONS
def test_bytes_go_both_ways_after_the_handshake(
    server: ssl.SSLContext, client: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    client.maximum_version = client.minimum_version = version
    near, far = both(server, client)
    assert far.decrypt(near.encrypt(b"question")) == b"question"
    assert near.decrypt(far.encrypt(b"answer")) == b"answer"
    assert near.take() == far.take() == b""


def test_handshake_may_come_byte_by_byte(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    near, far = both(server, client, shaken=False)
    near.handshake()
    hello = near.take()
    assert not any(far.handshake(hello[place : place + 1]) for place in range(len(hello)))
    assert near.handshake(far.take())
    assert far.handshake(near.take())


def test_data_behind_the_handshakes_last_message_is_not_lost(
    server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    near, far = both(server, client, shaken=False)
    near.handshake()
    far.handshake(near.take())
    near.handshake(far.take())
    assert far.handshake(near.take() + near.encrypt(b"at once"))
    assert far.decrypt(b"") == b"at once"


@pytest.mark.parametrize("size", [1, 16384, 16385, 100_000])
def test_data_of_any_size_comes_out_whole(
    server: ssl.SSLContext, client: ssl.SSLContext, size: int
) -> None:
    near, far = both(server, client)
    data = bytes(range(256)) * (size // 256 + 1)
    assert far.decrypt(near.encrypt(data[:size])) == data[:size]


def test_part_of_a_record_waits_for_the_rest(
    server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    near, far = both(server, client)
    records = near.encrypt(b"a" * 100) + near.encrypt(b"b" * 100)
    assert far.decrypt(records[:150]) == b"a" * 100
    assert far.decrypt(records[150:200]) == b""
    assert far.decrypt(records[200:]) == b"b" * 100


@pytest.mark.parametrize(
    ("offered", "spoken", "chosen"),
    [
        (["h2", "http/1.1"], ["h2", "http/1.1"], "h2"),
        (["http/1.1"], ["h2", "http/1.1"], "http/1.1"),
        (["h2"], ["http/1.1"], None),
        ([], ["h2"], None),
    ],
)
def test_protocol_is_the_servers_choice_of_what_is_offered(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    offered: list[str],
    spoken: list[str],
    chosen: str | None,
) -> None:
    if offered:
        client.set_alpn_protocols(offered)
    server.set_alpn_protocols(spoken)
    near, far = both(server, client)
    assert near.object.selected_alpn_protocol() == chosen
    assert far.object.selected_alpn_protocol() == chosen


@VERSIONS
def test_goodbye_ends_the_peers_side_after_its_last_bytes(
    server: ssl.SSLContext, client: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    client.maximum_version = client.minimum_version = version
    near, far = both(server, client)
    last = near.encrypt(b"last") + near.say_goodbye()
    assert far.decrypt(last) == b"last"
    if not far.ended:  # the alert is seen when there is nothing before it
        assert far.decrypt(b"") == b""
    assert far.ended
    assert not near.ended


def test_goodbye_alone_ends_the_peers_side(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    near, far = both(server, client)
    assert far.decrypt(near.say_goodbye()) == b""
    assert far.ended


def test_peer_that_said_goodbye_can_still_be_answered(
    server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    near, far = both(server, client)
    far.decrypt(near.say_goodbye())
    assert far.encrypt(b"you forgot this")


def test_goodbye_before_the_handshake_says_nothing(client: ssl.SSLContext) -> None:
    near = TlsSession(client, server_side=False, server_hostname="good.example")
    assert near.say_goodbye() == b""


@pytest.mark.parametrize("wire", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello"])
def test_client_that_speaks_no_tls_is_an_error(server: ssl.SSLContext, wire: bytes) -> None:
    far = TlsSession(server, server_side=True)
    with pytest.raises(TlsError):
        far.handshake(wire)
    assert not far.established


def test_distrust_is_an_error_and_an_alert_to_the_peer(server: ssl.SSLContext) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    near, far = both(server, stranger, shaken=False)
    near.handshake()
    far.handshake(near.take())
    with pytest.raises(TlsError, match="certificate verify failed"):
        near.handshake(far.take())
    with pytest.raises(TlsError, match="alert unknown ca"):
        far.handshake(near.take())


def test_changed_record_is_an_error(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    near, far = both(server, client)
    record = bytearray(near.encrypt(b"data"))
    record[-1] ^= 1
    with pytest.raises(TlsError):
        far.decrypt(bytes(record))


def test_data_before_a_changed_record_comes_out_and_then_the_failure(
    server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    near, far = both(server, client)
    good = near.encrypt(b"good")
    bad = bytearray(near.encrypt(b"bad"))
    bad[-1] ^= 1
    assert far.decrypt(good + bytes(bad)) == b"good"
    assert far.failure is not None
    assert not far.ended  # or a body cut short would look whole
    with pytest.raises(TlsError, match="bad record mac"):
        far.decrypt(near.encrypt(b"more"))


@pytest.mark.parametrize("name", ["a" * 300, "a..b", ""])
def test_name_that_tls_cannot_ask_for_is_an_error(client: ssl.SSLContext, name: str) -> None:
    with pytest.raises(TlsError, match="cannot begin TLS"):
        TlsSession(client, server_side=False, server_hostname=name)


@VERSIONS
def test_tickets_and_new_keys_between_data_are_no_data(
    server: ssl.SSLContext, client: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    client.maximum_version = client.minimum_version = version
    near, far = both(server, client, shaken=False)
    near.handshake()
    while not (near.established and far.established):
        far.handshake(near.take())
        near.handshake(far.take())
    # In TLS 1.3 the tickets are still to come: they arrive in front of the first data.
    assert near.decrypt(far.take() + far.encrypt(b"data")) == b"data"
    assert near.decrypt(far.encrypt(b"more")) == b"more"
    assert not near.ended


def test_server_that_asks_for_a_certificate_amid_data_is_answered(
    server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    for context in (server, client):
        context.post_handshake_auth = True
    server.verify_mode = ssl.CERT_OPTIONAL
    near, far = both(server, client)
    far.object.verify_client_post_handshake()
    assert near.decrypt(far.encrypt(b"data with the question")) == b"data with the question"
    answer = near.take()
    assert answer
    assert far.decrypt(answer + near.encrypt(b"data with the answer")) == b"data with the answer"


def test_sessions_that_share_buffers_know_nothing_of_each_other(
    server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    chance = random.Random(1)
    buffers = TlsBuffers()
    sessions = [
        (
            TlsSession(client, server_side=False, server_hostname="good.example", buffers=buffers),
            TlsSession(server, server_side=True, buffers=buffers),
        )
        for _ in range(4)
    ]
    for near, _ in sessions:
        near.handshake()
    hellos = [near.take() for near, _ in sessions]
    for place in range(max(map(len, hellos))):  # byte by byte, in turns
        for hello, (_, far) in zip(hellos, sessions, strict=True):
            if place < len(hello):
                far.handshake(hello[place : place + 1])
    wires = [b""] * 4
    sent = [chance.randbytes(40_000) for _ in sessions]
    for number, (near, far) in enumerate(sessions):
        assert near.handshake(far.take())
        wires[number] = near.take() + near.encrypt(sent[number][:999])
        wires[number] += near.encrypt(sent[number][999:]) + near.say_goodbye()
    came = [b""] * 4
    while any(wires):
        number = chance.randrange(4)
        far, cut = sessions[number][1], chance.randrange(9000)
        piece, wires[number] = wires[number][:cut], wires[number][cut:]
        if far.established:
            came[number] += far.decrypt(piece)
        elif far.handshake(piece):
            came[number] += far.decrypt(b"")
        assert not buffers.incoming.pending
        assert not buffers.outgoing.pending
    assert came == sent
    assert all(far.ended for _, far in sessions)


@pytest.mark.parametrize("how", ["change", "end"])
def test_what_is_behind_the_end_of_a_session_is_nobody_elses(
    server: ssl.SSLContext, client: ssl.SSLContext, how: str
) -> None:
    buffers = TlsBuffers()
    near, far = both(server, client, buffers=buffers)
    other_near, other_far = both(server, client, buffers=buffers)
    last = near.say_goodbye() if how == "end" else b"\x17\x03\x03\x00\x20" + b"x" * 32
    with contextlib.suppress(TlsError):
        far.decrypt(last + b"and more" * 20)
    assert other_far.decrypt(other_near.encrypt(b"good")) == b"good"
    assert far.take() == b"" or how == "change"
    assert other_near.decrypt(other_far.encrypt(b"as ever")) == b"as ever"


# --- on a channel


async def test_channel_speaks_tls_with_bytes_that_came_before(
    wires: Wires, server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    sock, far = wires.pair()
    channel = await wires.attach(sock)
    peer = TlsPeer(far, client, "good.example")
    shaking = wires.start(peer.handshake())
    hello = await channel.receive()
    channel.unread(hello)
    await channel.start_tls(TlsSession(server, server_side=True))
    await shaking
    await peer.send(b"question")
    assert await channel.receive() == b"question"
    channel.write(b"answer")
    channel.close()
    assert await peer.read_to_end() == b"answer"


async def test_channel_is_the_client_too(
    wires: Wires, server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    sock, far = wires.pair()
    channel = await wires.attach(sock)
    peer = TlsPeer(far, server)
    shaking = wires.start(peer.handshake())
    session = TlsSession(client, server_side=False, server_hostname="good.example")
    await channel.start_tls(session)
    await shaking
    assert channel.tls is session
    channel.write(b"x" * 100_000)
    assert await peer.read_exactly(100_000) == b"x" * 100_000


async def test_end_during_the_handshake_is_told(wires: Wires, server: ssl.SSLContext) -> None:
    channel, peer = await wires.open()
    starting = wires.start(channel.start_tls(TlsSession(server, server_side=True)))
    peer.end()
    with pytest.raises(TlsError, match="closed the connection during the TLS handshake"):
        await starting


async def test_refused_handshake_tells_the_peer_why(wires: Wires, server: ssl.SSLContext) -> None:
    channel, peer = await wires.open()
    starting = wires.start(channel.start_tls(TlsSession(server, server_side=True)))
    await peer.send(b"\x16\x03\x01\x00\x05hello")
    with pytest.raises(TlsError):
        await starting
    channel.close()
    alert = await peer.read_to_end()
    assert alert[:1] == b"\x15"


async def served(
    wires: Wires, server: ssl.SSLContext, client: ssl.SSLContext
) -> tuple[Channel, TlsPeer]:
    """A server's channel in TLS, and the client at its other end."""
    sock, far = wires.pair()
    channel = await wires.attach(sock)
    peer = TlsPeer(far, client, "good.example")
    shaking = wires.start(peer.handshake())
    await channel.start_tls(TlsSession(server, server_side=True))
    await shaking
    return channel, peer


async def test_client_that_said_goodbye_still_gets_its_answer(
    wires: Wires, server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    channel, peer = await served(wires, server, client)
    await peer.send(b"question")
    await peer.say_goodbye()
    peer.end()
    assert await channel.receive() == b"question"
    assert await channel.receive() == b""
    assert not channel.closed
    assert channel.error is None
    channel.write(b"answer")
    channel.close()
    await until(lambda: channel.closed)
    assert channel.error is None


async def test_client_that_ends_without_goodbye_is_gone(
    wires: Wires, server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    channel, peer = await served(wires, server, client)
    await peer.send(b"question")
    await until(lambda: channel._incoming_size)
    peer.end()
    await until(lambda: channel.closed)
    assert await channel.receive() == b"question"
    with pytest.raises(ConnectionLost, match="without closing its TLS session"):
        await channel.receive()


async def test_origin_that_ends_without_goodbye_has_ended(
    wires: Wires, server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    sock, far = wires.pair()
    channel = await wires.attach(sock)
    peer = TlsPeer(far, server)
    shaking = wires.start(peer.handshake())
    session = TlsSession(client, server_side=False, server_hostname="good.example")
    await channel.start_tls(session)
    await shaking
    await peer.send(b"all of it")
    peer.end()
    assert await channel.receive() == b"all of it"
    assert await channel.receive() == b""
    assert channel.error is None


async def test_data_before_a_changed_record_is_received_and_then_the_failure(
    wires: Wires, server: ssl.SSLContext, client: ssl.SSLContext
) -> None:
    channel, peer = await served(wires, server, client)
    peer.tls.write(b"good")
    good = peer._outgoing.read()
    peer.tls.write(b"bad")
    bad = bytearray(peer._outgoing.read())
    bad[-1] ^= 1
    await Peer.send(peer, good + bytes(bad))
    assert await channel.receive() == b"good"
    with pytest.raises(TlsError, match="bad record mac"):
        await channel.receive()
