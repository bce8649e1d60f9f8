"""Mutated messages through a whole core: nobody behind it sees another message than it saw.

What an origin gets is read by h11, and held against what our reader makes of the client's bytes;
and the same for what a client gets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import h11
import pytest

from proxy_core.config import Limits
from tests.e2e.inside import Inside
from tests.net.wires import Peer
from tests.wire.http1_messages import ROUNDS, broken, request, response
from tests.wire.http1_reading import Message, read_requests, read_responses

LIMITS = Limits(
    head_timeout=2.0,
    body_timeout=2.0,
    idle_timeout=2.0,
    response_timeout=2.0,
    upstream_idle_total=0,  # each message has connections of its own
)
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
FRAMING = (b"content-length", b"transfer-encoding")


@dataclass
class Seen:
    """One message as h11 read it."""

    start: tuple[bytes, ...]
    names: list[bytes] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False


@pytest.fixture
async def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inside]:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Inside(tmp_path / "data", LIMITS)
    await made.open()
    yield made
    await made.close()


async def answer_all(origin: Peer, seen: list[Seen]) -> None:
    """Read requests with h11 until it will not go on, and answer each."""
    side = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
    while side.their_state is not h11.MUST_CLOSE:
        event = side.next_event()
        if event is h11.NEED_DATA:
            side.receive_data(await origin.read_some())
        elif isinstance(event, h11.Request):
            names = [name for name, _ in event.headers]
            seen.append(Seen((event.method, event.target), names))
        elif isinstance(event, h11.Data):
            seen[-1].body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            seen[-1].complete = True
            head = h11.Response(status_code=200, headers=[(b"Content-Length", b"0")])
            await origin.send((side.send(head) or b"") + (side.send(h11.EndOfMessage()) or b""))
            if side.our_state is not h11.DONE or side.their_state is not h11.DONE:
                return
            side.start_next_cycle()
        else:
            return


async def serve(inside: Inside, seen: list[Seen], refused: list[str]) -> None:
    """Be the origin, one connection after the other."""
    while True:
        origin = await inside.origin.accept()
        try:
            await answer_all(origin, seen)
        except h11.RemoteProtocolError as error:
            refused.append(str(error))
        except ConnectionError:
            pass
        finally:
            origin.close()


async def test_an_origin_sees_the_requests_that_were_accepted_and_no_others(
    inside: Inside,
) -> None:
    seen: list[Seen] = []
    refused: list[str] = []
    passed = 0
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve(inside, seen, refused))
        for data in broken(request, seed=11, rounds=ROUNDS // 5):
            seen.clear()
            refused.clear()
            client = inside.client(reverse=True)
            with contextlib.suppress(ConnectionError):
                await client.send(data)
                client.end()
                await client.read_to_end()
            client.close()
            accepted = [m for m in read_requests([data, b""]).messages if m.complete]
            expected = [(m.start[0], m.body) for m in accepted if m.start[0] != b"CONNECT"]
            whole = [message for message in seen if message.complete]
            passed += len(whole)
            assert [(m.start[0], m.body) for m in whole] == expected[: len(whole)], data
            # A body that was cut is all that h11 may ever complain of.
            assert not [reason for reason in refused if "peer" not in reason], (data, refused)
            for message in seen:
                assert message.names.count(b"host") == 1, data
                assert sum(message.names.count(name) for name in FRAMING) <= 1, data
        serving.cancel()
    assert passed > ROUNDS // 20


def read_answer(data: bytes) -> tuple[Seen | None, str, bytes]:
    """Read what a client got: the final answer, what h11 has against it, what is behind it."""
    side = h11.Connection(h11.CLIENT, max_incomplete_event_size=1_000_000)
    side.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    side.send(h11.EndOfMessage())
    side.receive_data(data)
    side.receive_data(b"")
    seen: Seen | None = None
    try:
        while not isinstance(event := side.next_event(), type | h11.ConnectionClosed):
            if isinstance(event, h11.Response):
                seen = Seen((b"%d" % event.status_code,), [name for name, _ in event.headers])
            elif isinstance(event, h11.Data) and seen is not None:
                seen.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and seen is not None:
                seen.complete = True
                break
    except h11.RemoteProtocolError as error:
        return seen, str(error), b""
    return seen, "", side.trailing_data[0]


def final(messages: list[Message]) -> Message:
    return next(m for m in messages if not m.start[1].startswith(b"1"))


async def test_a_client_sees_the_answer_that_was_accepted_or_a_502(inside: Inside) -> None:
    passed = 0
    for data in broken(response, seed=22, rounds=ROUNDS // 5):
        client = inside.client(reverse=True)
        await client.send(GET)
        client.end()
        origin = await inside.origin.accept()
        with contextlib.suppress(ConnectionError):
            await origin.read_head()
            await origin.send(data)
            origin.end()
        try:
            got = await client.read_to_end()
        except ConnectionResetError:
            continue  # a counted body that was cut short
        finally:
            client.close()
            origin.close()
        seen, complaint, behind = read_answer(got)
        assert not complaint or "peer" in complaint, (data, got)
        assert behind == b"", (data, got)
        if seen is not None and seen.complete and seen.start != (b"502",):
            accepted = final(read_responses([data, b""]).messages)
            assert accepted.complete, (data, got)
            assert accepted.body == seen.body, (data, got)
            passed += 1
    assert passed > ROUNDS // 20
