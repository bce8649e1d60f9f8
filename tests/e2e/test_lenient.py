"""`--lenient` through a whole core: what is odd passes and is noted, what frames stays refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import h11
import pytest

from proxy_core.config import Limits
from proxy_core.wire.http1 import RequestReader
from tests.e2e.inside import Inside
from tests.wire.http1_reading import read_requests
from tests.wire.test_http1_refusals import REQUESTS

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inside]:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Inside(tmp_path / "data", Limits(upstream_idle_total=0), lenient=True)
    await made.open()
    yield made
    await made.close()


async def test_odd_messages_pass_made_regular_and_the_flow_says_so(inside: Inside) -> None:
    client = inside.client(reverse=True)
    await client.send(b"GET  /a b HTTP/1.1\r\nHost: h\r\nA : b\r\nC: d\r\n e\r\n\r\n")
    origin = await inside.origin.accept()
    assert await origin.read_head() == b"GET /a%20b HTTP/1.1\r\nHost: h\r\nA: b\r\nC: d e\r\n\r\n"
    await origin.send(b"HTTP/1.1  200  OK\r\nA : b\r\nContent-Length: 2\r\n\r\nok")
    head, body = await inside.answer(client)
    assert (head, body) == (b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\n", b"ok")
    notes = (await inside.flow()).notes
    for note in (
        "request: the first line was 'GET  /a b HTTP/1.1'",
        "request: there was a space before the colon of 'A'",
        "request: a line was folded: ' e'",
        "response: the first line was 'HTTP/1.1  200  OK'",
        "response: there was a space before the colon of 'A'",
    ):
        assert note in notes
    client.close()
    origin.close()


FRAMED = {
    name: data
    for name, data in REQUESTS.items()
    if any(
        word in name
        for word in ("length", "coding", "chunked", "Host", "CONNECT", "bare", "identity")
    )
    and name not in ("the same length twice", "Host twice", "Host twice in HTTP/1.0")
}


async def test_what_frames_or_routes_is_refused_all_the_same(inside: Inside) -> None:
    assert len(FRAMED) > 30
    for name, data in FRAMED.items():
        client = inside.client(reverse=True)
        await client.send(data)
        client.end()
        assert (await client.read_to_end())[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5"), name
        assert inside.origin.accept_nowait() is None, name
        client.close()
    await inside.still_serves()


async def test_whatever_passes_is_one_sound_request_for_the_origin(inside: Inside) -> None:
    passed: list[str] = []
    for name, data in REQUESTS.items():
        reading = read_requests([data, b""], RequestReader("http", lenient=True))
        if reading.messages and not reading.messages[0].complete:
            data += b"abc"  # the body that its length speaks of
            reading = read_requests([data, b""], RequestReader("http", lenient=True))
        client = inside.client(reverse=True)
        await client.send(data)
        client.end()
        if reading.refusal is None and reading.messages[0].start[0] != b"CONNECT":
            origin = await inside.origin.accept()
            sent = await origin.read_head()
            side = h11.Connection(h11.SERVER)
            side.receive_data(sent)
            assert isinstance(side.next_event(), h11.Request), (name, sent)
            assert not read_requests([sent]).refusal, (name, sent)
            await origin.send(OK)
            assert (await inside.answer(client))[1] == b"ok", name
            origin.close()
            passed.append(name)
        else:
            assert (await client.read_to_end())[9:10] in (b"4", b"5"), name
            assert inside.origin.accept_nowait() is None, name
        client.close()
    assert "obs-fold with a space" in passed
    assert "a space in the target" in passed
