"""What HTTP/2 says and HTTP/1 reads, both ways: a recording origin sees only what is sound."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import h2.events
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy_core.config import Limits
from tests.ca.certificates import make, server_context
from tests.net.h2_peer import REQUEST, Fields, H2Peer
from tests.net.house import House
from tests.net.pair_ends import BrokenOff, client_of, origin_of
from tests.net.wires import Wires
from tests.waiting import until
from tests.wire.test_http1_refusals import CHUNKS

CA = make("The CA", ca=True)
LEAF = make("origin.example", issuer=CA)

GOAWAY = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00"
PING = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00leaving."
PING_SEEN = b"\x00\x00\x08\x06\x01\x00\x00\x00\x00leaving."
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: evil\r\n\r\n"


@pytest.fixture
async def house(wires: Wires, tmp_path: Path) -> AsyncIterator[House]:
    server: ssl.SSLContext = server_context(LEAF, tmp_path)
    made = House(wires, server, Limits())
    await made.open()
    yield made
    await made.close()
    assert made.faults == []


def having(**changed: bytes) -> Fields:
    """The plain request with some pseudo-header fields changed."""
    return [(name, changed.get(name[1:].decode(), value)) for name, value in REQUEST]


def with_field(name: bytes, value: bytes) -> Fields:
    return [*REQUEST, (name, value)]


BAD_REQUESTS: dict[str, Fields] = {
    "LF in a value": with_field(b"x", b"a\nb: c"),
    "CR in a value": with_field(b"x", b"a\rb: c"),
    "CRLF and a request in a value": with_field(b"x", b"a\r\n\r\n" + SMUGGLED),
    "NUL in a value": with_field(b"x", b"a\0b"),
    "a space before a value": with_field(b"x", b" a"),
    "a tab after a value": with_field(b"x", b"a\t"),
    "LF in a name": with_field(b"x\ny", b"a"),
    "CRLF in a name": with_field(b"x: a\r\ny", b"b"),
    "NUL in a name": with_field(b"x\0", b"a"),
    "a space in a name": with_field(b"x y", b"a"),
    "a space after a name": with_field(b"x ", b"a"),
    "a colon in a name": with_field(b"x:y", b"a"),
    "an empty name": with_field(b"", b"a"),
    "an upper-case name": with_field(b"X", b"a"),
    "transfer-encoding": with_field(b"transfer-encoding", b"chunked"),
    "connection": with_field(b"connection", b"close"),
    "upgrade": with_field(b"upgrade", b"h2c"),
    "two lengths": [*with_field(b"content-length", b"0"), (b"content-length", b"5")],
    "a length that is no number": with_field(b"content-length", b"+0"),
    "two hosts": [*with_field(b"host", b"a"), (b"host", b"b")],
    "a pseudo-header after a field": [*with_field(b"x", b"a"), (b":path", b"/b")],
    "a pseudo-header twice": [*REQUEST, (b":path", b"/b")],
    "an unknown pseudo-header": [*REQUEST, (b":status", b"200")],
    "CRLF in the path": having(path=b"/ HTTP/1.1\r\nHost: evil\r\n\r\n" + SMUGGLED),
    "LF in the path": having(path=b"/a\nb"),
    "NUL in the path": having(path=b"/a\0b"),
    "a space in the path": having(path=b"/a b"),
    "a tab in the path": having(path=b"/a\tb"),
    "bytes beyond ASCII in the path": having(path="/ä".encode()),
    "a path that does not begin with a slash": having(path=b"a"),
    "an absolute path": having(path=b"http://evil/"),
    "an empty path": having(path=b""),
    "a fragment": having(path=b"/#a"),
    "a space in the method": having(method=b"GET /smuggled"),
    "CRLF in the method": having(method=b"GET / HTTP/1.1\r\nx: y\r\n\r\nGET"),
    "an empty method": having(method=b""),
    "NUL in the method": having(method=b"GE\0T"),
    "CRLF in the authority": having(authority=b"origin.example\r\nx: y"),
    "a space in the authority": having(authority=b"origin.example x"),
    "NUL in the authority": having(authority=b"origin\0.example"),
    "a path in the authority": having(authority=b"origin.example/x"),
    "somebody in the authority": having(authority=b"me@origin.example"),
    "another scheme": having(scheme=b"http\r\nx: y"),
    "a protocol without CONNECT": [*REQUEST[:1], (b":protocol", b"websocket"), *REQUEST[1:]],
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_unsound_request_reaches_no_origin(house: House, name: str) -> None:
    client = H2Peer(house.client(), client_side=True)
    await client.begin()
    client.h2.send_headers(1, BAD_REQUESTS[name], end_stream=True)
    client.h2.send_headers(3, with_field(b"x-sound", b"yes"), end_stream=True)
    await client.flush()
    reset = await client.next(h2.events.StreamReset, 1)
    assert reset.error_code == ErrorCodes.PROTOCOL_ERROR
    origin = await house.origin()
    seen = await origin.read_head()
    assert seen == b"GET / HTTP/1.1\r\nHost: origin.example\r\nx-sound: yes\r\n\r\n"
    await origin.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    await client.next(h2.events.StreamEnded, 3)
    assert len(house.dialer.dialled) == 1
    assert origin.buffer == b""
    assert [flow.error is None for flow in house.flows()].count(False) == 1


@pytest.mark.parametrize("protocol", [b"websocket\r\nx: y", b"a b", b"", b"h2c", b"websocket\0"])
async def test_unsound_protocol_reaches_no_origin(house: House, protocol: bytes) -> None:
    client = H2Peer(house.client(), client_side=True)
    await client.begin()
    fields = [(b":method", b"CONNECT"), (b":protocol", protocol), *REQUEST[1:]]
    client.h2.send_headers(1, fields)
    await client.flush()
    answer = await client.next(h2.events.ResponseReceived, 1)
    assert (answer.headers or [])[0] == (b":status", b"501")
    assert house.dialer.dialled == []


async def test_unsound_trailers_reach_no_origin(house: House) -> None:
    client = H2Peer(house.client(), client_side=True)
    await client.begin()
    client.h2.send_headers(1, having(method=b"POST"))
    client.h2.send_data(1, b"body")
    await client.flush()
    origin = await house.origin()
    head = await origin.read_head()
    assert b"transfer-encoding: chunked" in head.lower()
    client.h2.send_headers(1, [(b"x", b"a\r\n\r\n" + SMUGGLED)], end_stream=True)
    await client.flush()
    await client.next(h2.events.StreamReset, 1)
    assert (await origin.read_to_end()) in (b"", b"4\r\nbody\r\n")


BAD_ANSWERS: dict[str, Fields] = {
    "LF in a value": [(b":status", b"200"), (b"x", b"a\nb: c")],
    "CR in a value": [(b":status", b"200"), (b"x", b"a\rb: c")],
    "an answer in a value": [(b":status", b"200"), (b"x", b"a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")],
    "NUL in a value": [(b":status", b"200"), (b"x", b"a\0b")],
    "CRLF in a name": [(b":status", b"200"), (b"x: a\r\ny", b"b")],
    "a space in a name": [(b":status", b"200"), (b"x y", b"a")],
    "a colon in a name": [(b":status", b"200"), (b"x:y", b"a")],
    "transfer-encoding": [(b":status", b"200"), (b"transfer-encoding", b"chunked")],
    "connection": [(b":status", b"200"), (b"connection", b"close")],
    "two lengths": [
        (b":status", b"200"),
        (b"content-length", b"1"),
        (b"content-length", b"2"),
    ],
    "CRLF in the status": [(b":status", b"200 OK\r\nx: y")],
    "a status of two digits": [(b":status", b"20")],
    "a status of letters": [(b":status", b"2OO")],
    "101": [(b":status", b"101")],
    "no status": [(b"x", b"a")],
    "a request's pseudo-header": [(b":status", b"200"), (b":path", b"/")],
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_unsound_answer_reaches_no_client(house: House, name: str) -> None:
    house.dialer.alpn = "h2"
    client = house.client()
    await client.send(b"GET https://origin.example/ HTTP/1.1\r\nHost: origin.example\r\n\r\n")
    origin = H2Peer(await house.origin(), client_side=False)
    await origin.begin()
    number = await origin.next_id()
    origin.h2.send_headers(number, BAD_ANSWERS[name])
    await origin.flush()
    reset = await origin.next(h2.events.StreamReset, number)
    assert reset.error_code == ErrorCodes.PROTOCOL_ERROR
    head = await client.read_head()
    assert head.startswith(b"HTTP/1.1 502 ")
    assert b"\r\nx" not in head.lower()
    assert head.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "lengths",
    [[b"1", b"2"], [b"1", b"1"], [b"x"], [b""], [b"-1"]],
    ids=lambda values: b",".join(values),
)
@pytest.mark.parametrize(("method", "status"), [("HEAD", b"200"), ("GET", b"304"), ("GET", b"204")])
async def test_unsound_length_reaches_no_client_where_it_frames_nothing_either(
    house: House, lengths: list[bytes], method: str, status: bytes
) -> None:
    house.dialer.alpn = "h2"
    client = house.client()
    url = b"https://origin.example/"
    await client.send(b"%b %b HTTP/1.1\r\nHost: origin.example\r\n\r\n" % (method.encode(), url))
    origin = H2Peer(await house.origin(), client_side=False)
    await origin.begin()
    number = await origin.next_id()
    fields = [(b":status", status), *[(b"content-length", value) for value in lengths]]
    origin.h2.send_headers(number, fields, end_stream=True)
    await origin.flush()
    assert (await client.read_head()).startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("body", [b"abc", b"abcdefg", b""])
async def test_request_of_another_length_than_it_says_is_never_whole_at_the_origin(
    house: House, body: bytes
) -> None:
    client = H2Peer(house.client(), client_side=True)
    await client.begin()
    client.h2.send_headers(1, [*having(method=b"POST"), (b"content-length", b"5")])
    await client.flush()
    origin = await house.origin()
    assert b"content-length: 5" in await origin.read_head()
    client.h2.send_data(1, body, end_stream=True)
    await client.flush()
    assert len(await origin.read_to_end()) < 5
    await client.next(h2.events.StreamReset, 1)


@pytest.mark.parametrize("client_version", ["h1", "h2"])
@pytest.mark.parametrize("body", [b"abc", b"abcdefg", b""])
async def test_answer_of_another_length_than_it_says_is_never_whole_at_the_client(
    house: House, body: bytes, client_version: str
) -> None:
    house.dialer.alpn = "h2"
    client = await client_of(house, client_version)
    await client.ask(b"GET", bare=True)
    origin = await origin_of(house, "h2")
    await origin.head()
    await origin.answer(200, (b"content-length", b"5"))
    assert (await client.head())[0] == 200
    if body:
        await origin.send(body)
    if len(body) < 5:
        await origin.end()
    with pytest.raises(BrokenOff):
        await client.rest()
    (flow,) = house.flows()
    assert "content-length" in (flow.error or "")


async def test_trailers_that_are_announced_pass_to_http_1_beside_a_length(house: House) -> None:
    house.dialer.alpn = "h2"
    client = await client_of(house, "h1")
    await client.ask(b"GET", bare=True)
    origin = await origin_of(house, "h2")
    await origin.head()
    await origin.answer(200, (b"content-length", b"4"), (b"trailer", b"x-down"))
    await origin.send(b"down")
    await origin.end([(b"x-down", b"1")])
    await client.head()
    assert await client.rest() == (b"down", [(b"x-down", b"1")])


async def test_trailers_that_are_announced_come_from_http_2_beside_a_length(house: House) -> None:
    client = H2Peer(house.client(), client_side=True)
    await client.begin()
    fields = [*having(method=b"POST"), (b"content-length", b"2"), (b"trailer", b"x-up")]
    client.h2.send_headers(1, fields)
    client.h2.send_data(1, b"up")
    client.h2.send_headers(1, [(b"x-up", b"1")], end_stream=True)
    await client.flush()
    origin = await house.origin()
    head = await origin.read_head()
    assert b"content-length" not in head
    assert b"\r\nTransfer-Encoding: chunked\r\n" in head
    assert await origin.read_until(b"\r\n\r\n") == b"2\r\nup\r\n0\r\nx-up: 1\r\n\r\n"


BAD_TRAILERS: dict[str, Fields] = {
    "CRLF in a value": [(b"x", b"a\r\nb: c")],
    "LF in a name": [(b"x\ny", b"a")],
    "a pseudo-header": [(b":status", b"200")],
    "transfer-encoding": [(b"transfer-encoding", b"chunked")],
    "NUL in a value": [(b"x", b"\0")],
    "a space in a name": [(b"x y", b"a")],
}


@pytest.mark.parametrize("client_version", ["h1", "h2"])
@pytest.mark.parametrize("name", BAD_TRAILERS)
async def test_unsound_trailers_reach_no_client(
    house: House, name: str, client_version: str
) -> None:
    house.dialer.alpn = "h2"
    client = await client_of(house, client_version)
    await client.ask(b"GET", bare=True)
    origin = await origin_of(house, "h2")
    await origin.head()
    await origin.answer(200)
    await origin.send(b"body")
    await client.head()
    assert await client.some() == b"body"
    await origin.end(BAD_TRAILERS[name])
    with pytest.raises(BrokenOff):
        await client.rest()
    (flow,) = house.flows()
    assert flow.response_body.trailers is None
    assert flow.error is not None


@pytest.mark.parametrize("name", CHUNKS)
async def test_bad_chunks_from_an_http_1_client_are_no_whole_request_in_http_2(
    house: House, name: str
) -> None:
    house.dialer.alpn = "h2"
    client = house.client()
    await client.send(
        b"POST https://origin.example/ HTTP/1.1\r\nHost: origin.example\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS[name]
    )
    client.end()
    assert (await client.read_head()).startswith(b"HTTP/1.1 400 ")
    sound = await client_of(house, "h1")
    await sound.ask(b"GET", bare=True)
    origin = H2Peer(await house.origin(), client_side=False)
    await origin.begin()
    posted: set[int] = set()  # it may have been given up before a byte of it went
    while True:
        event = await origin.next(h2.events.Event)
        if isinstance(event, h2.events.RequestReceived):
            assert event.stream_id is not None
            if (b":method", b"GET") in (event.headers or []):
                await origin.answer(event.stream_id)
                break
            posted.add(event.stream_id)
        assert not (isinstance(event, h2.events.StreamEnded) and event.stream_id in posted)
    assert (await sound.head())[0] == 200


@pytest.mark.parametrize("name", CHUNKS)
async def test_bad_chunks_from_an_http_1_origin_are_no_whole_answer_in_http_2(
    house: House, name: str
) -> None:
    client = await client_of(house, "h2")
    await client.ask(b"GET", bare=True)
    origin = await house.origin()
    await origin.read_head()
    await origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS[name])
    origin.end()
    await client.head()
    with pytest.raises(BrokenOff):
        await client.rest()


async def test_websocket_goes_from_http2_to_http2(house: House) -> None:
    house.dialer.alpn = "h2"
    client = H2Peer(house.client(), client_side=True)
    await client.begin()
    secure = having(scheme=b"https")
    client.h2.send_headers(1, secure, end_stream=True)
    await client.flush()
    origin = H2Peer(await house.origin(), client_side=False)
    await origin.begin()
    origin.h2.update_settings({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
    await origin.answer(await origin.next_id())
    await client.next(h2.events.StreamEnded, 1)
    await until(lambda: all(group[0].takes_websockets for group in house.pool._shared.values()))
    fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *secure[1:]]
    client.h2.send_headers(3, fields)
    await client.flush()
    event = await origin.next(h2.events.RequestReceived)
    assert event.headers == fields
    assert event.stream_id == 3
    origin.h2.send_headers(3, [(b":status", b"200"), (b"x", b"y")])
    await origin.flush()
    answer = await client.next(h2.events.ResponseReceived, 3)
    assert answer.headers == [(b":status", b"200"), (b"x", b"y")]
    to_origin = b"\x82\x8d" + bytes(4) + b"to the origin"  # masked with zeros
    client.h2.send_data(3, to_origin, end_stream=True)
    await client.flush()
    assert (await origin.next(h2.events.DataReceived, 3)).data == to_origin
    to_client = b"\x82\x0dto the client"
    origin.h2.send_data(3, to_client, end_stream=True)
    await origin.flush()
    assert (await client.next(h2.events.DataReceived, 3)).data == to_client
    await client.next(h2.events.StreamEnded, 3)
    assert len(house.dialer.dialled) == 1


async def test_reset_in_the_middle_of_an_answer_keeps_its_code(house: House) -> None:
    house.dialer.alpn = "h2"
    client = H2Peer(house.client(), client_side=True)
    await client.begin()
    client.h2.send_headers(1, having(scheme=b"https"), end_stream=True)
    await client.flush()
    origin = H2Peer(await house.origin(), client_side=False)
    await origin.begin()
    number = await origin.next_id()
    origin.h2.send_headers(number, [(b":status", b"200")])
    origin.h2.send_data(number, b"begun")
    await origin.flush()
    await client.next(h2.events.DataReceived, 1)
    origin.h2.reset_stream(number, ErrorCodes.INADEQUATE_SECURITY)
    await origin.flush()
    reset = await client.next(h2.events.StreamReset, 1)
    assert reset.error_code == ErrorCodes.INADEQUATE_SECURITY


@pytest.mark.parametrize("how", ["REFUSED_STREAM", "GOAWAY"])
async def test_request_that_the_origin_has_not_seen_goes_to_it_again_with_its_body(
    house: House, how: str
) -> None:
    house.dialer.alpn = "h2"
    client = H2Peer(house.client(), client_side=True)
    await client.begin()
    fields = [(n, {b":method": b"POST", b":scheme": b"https"}.get(n, v)) for n, v in REQUEST]
    client.h2.send_headers(1, fields)
    client.h2.send_data(1, b"the body", end_stream=True)
    await client.flush()
    first = H2Peer(await house.origin(), client_side=False)
    await first.begin()
    number = await first.next_id()
    if how == "GOAWAY":
        first.h2.close_connection(last_stream_id=0)
    else:
        first.h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
    await first.flush()
    second = H2Peer(await house.origin(1), client_side=False)
    await second.begin()
    assert await second.body(await second.next_id()) == b"the body"
    await second.answer(1, b"answered")
    assert await client.body(1) == b"answered"
    (flow,) = house.flows()
    assert flow.error is None


@pytest.mark.parametrize("how", ["RST_STREAM", "GOAWAY"])
async def test_origin_that_requires_http_1_1_is_spoken_to_in_it_from_then_on(
    house: House, how: str
) -> None:
    house.dialer.alpn = "h2"
    client = H2Peer(house.client(), client_side=True)
    await client.begin()
    post = [(n, {b":method": b"POST", b":scheme": b"https"}.get(n, v)) for n, v in REQUEST]
    client.h2.send_headers(1, post)
    client.h2.send_data(1, b"the body", end_stream=True)
    await client.flush()
    first = H2Peer(await house.origin(), client_side=False)
    await first.begin()
    number = await first.next_id()
    if how == "GOAWAY":
        first.h2.close_connection(ErrorCodes.HTTP_1_1_REQUIRED, last_stream_id=0)
    else:
        first.h2.reset_stream(number, ErrorCodes.HTTP_1_1_REQUIRED)
    await first.flush()
    second = await house.origin(1)
    asked = await second.read_until(b"0\r\n\r\n")
    assert asked.startswith(b"POST / HTTP/1.1\r\n")
    assert b"\r\nthe body\r\n" in asked
    await second.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes")
    assert await client.body(1) == b"yes"
    client.h2.send_headers(3, having(scheme=b"https"), end_stream=True)
    await client.flush()
    assert (await second.read_head()).startswith(b"GET / HTTP/1.1\r\n")
    await second.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntoo")
    assert await client.body(3) == b"too"
    assert len(house.dialer.dialled) == 2
    assert [flow.error for flow in house.flows()] == [None, None]


async def test_flood_leaves_a_flow_that_says_so(house: House) -> None:
    client = H2Peer(house.client(), client_side=True)
    await client.begin()
    for _ in range(500):
        client.h2.ping(b"12345678")
    await client.flush()
    await client.next(h2.events.ConnectionTerminated)
    (flow,) = house.flows()
    assert flow.error is not None
    assert "too many PING frames: more than 2000 points of nuisance" in flow.error


async def test_stopping_listener_says_goodbye_twice_and_lets_answers_end(
    house: House, wires: Wires
) -> None:
    client = H2Peer(house.client(), client_side=True)
    await client.begin()
    client.h2.send_headers(1, REQUEST, end_stream=True)
    await client.flush()
    origin = await house.origin()
    await origin.read_head()
    stopping = wires.start(house.listener.stop())
    # The library takes a GOAWAY for the end of everything: read what comes by hand.
    seen = b""
    while PING not in seen:
        seen += await client.peer.read_some()
    assert GOAWAY + (2**31 - 1).to_bytes(4, "big") in seen
    await client.peer.send(PING_SEEN)
    while GOAWAY + (1).to_bytes(4, "big") not in seen:
        seen += await client.peer.read_some()
    await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole")
    seen = await client.peer.read_to_end()
    assert b"whole" in seen
    await stopping
    (flow,) = house.flows()
    assert flow.error is None
