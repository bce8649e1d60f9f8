"""Exchanges in which hooks take their time, answer, hold, read whole bodies, or go through them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from proxy_core.exchange.fetch import Fetcher
from proxy_core.exchange.held import Decision
from proxy_core.exchange.hooks import AnsweredByHook, BodyFilter, TrailersToo
from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Headers
from proxy_core.model.message import ResponseHead
from proxy_core.model.verdict import CONTINUE, Block, Hold, Respond, Verdict
from tests.faults.openings import OK, answer, ask, head, keep_one
from tests.faults.world import LIMITS, ORIGIN, ORIGIN_ADDRESS, Scenario, World
from tests.net.wires import Peer


def _slowly(verdict: Verdict) -> Callable[[object], object]:
    async def decide(_: object) -> Verdict:
        await asyncio.sleep(0)
        return verdict

    return decide


def everything(world: World) -> None:
    """Put something into every slot of an exchange."""
    hooks = world.core.hooks

    async def capture(flow: Flow) -> bool:
        await asyncio.sleep(0)
        return True

    def through(flow: Flow) -> BodyFilter:
        async def each(data: bytes, ended: bool) -> bytes:
            await asyncio.sleep(0)
            return data

        return each

    hooks.connect = hooks.request = hooks.response = _slowly(CONTINUE)  # type: ignore[assignment]
    hooks.request_body = hooks.response_body = lambda flow: True
    hooks.request_stream = hooks.response_stream = through
    hooks.capture = capture


async def _upload(world: World, size: int = 6) -> tuple[Peer, Peer]:
    """Send a request, and two pieces of its body, some time apart."""
    client = world.client()
    await client.send(head(world, b"POST", b"Content-Length: %d" % size) + b"abc")
    await asyncio.sleep(0.01)
    await client.send(b"def")
    return client, await world.accept()


async def _download(origin: Peer, size: int = 6) -> None:
    """Send an answer in the same way."""
    await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nabc" % size)
    await asyncio.sleep(0.01)
    await origin.send(b"def")


async def post(world: World) -> None:
    """A request and an answer whose bodies come in two pieces, and need both."""
    client, origin = await _upload(world)
    await origin.read_until(b"def")
    await _download(origin)
    await client.read_until(b"def")
    world.answered += 1
    client.close()
    await world.until(lambda: not world.core.counters.client_connections)


def piece_by_piece(world: World) -> None:
    everything(world)
    world.core.hooks.request_body = world.core.hooks.response_body = None


def too_large(world: World) -> None:
    """Bodies of which a part is kept when it turns out that there is more than may be."""
    everything(world)
    world.core.hooks.request_stream = world.core.hooks.response_stream = None


async def large_bodies(world: World) -> None:
    client, origin = await _upload(world, 9)
    await origin.read_until(b"def")
    await client.send(b"ghi")
    await origin.read_until(b"ghi")
    await _download(origin, 9)
    await client.read_until(b"def")
    await origin.send(b"ghi")
    await client.read_until(b"ghi")
    world.answered += 1


def edited(world: World) -> None:
    """A hook that puts another body in the place of one that is not there yet."""
    everything(world)
    hooks = world.core.hooks

    async def edit(flow: Flow) -> Verdict:
        if flow.whole is not None:
            flow.whole.data = b"other"
        return CONTINUE

    hooks.request = hooks.response = edit
    hooks.request_stream = hooks.response_stream = None


async def other_bodies(world: World) -> None:
    client, origin = await _upload(world)
    await origin.read_until(b"other")
    await _download(origin)
    await client.read_until(b"other")
    world.answered += 1


def edited_unread(world: World) -> None:
    """A hook that puts another body in the place of one that nobody has read."""

    async def edit(flow: Flow) -> Verdict:
        flow.whole = WholeBody(b"")
        flow.whole.data = b"other"
        return CONTINUE

    world.core.hooks.request = edit


async def unread_body(world: World) -> None:
    client = world.client()
    await client.send(head(world, b"POST", b"Content-Length: 6") + b"abc")
    origin = await world.accept()
    await origin.read_head()
    await client.send(b"def")
    await origin.read_until(b"other")
    await answer(world, client, origin)


class _Trailers(TrailersToo):
    """Sees trailers with the end."""

    async def __call__(self, data: bytes, ended: bool) -> bytes:
        await asyncio.sleep(0)
        return data


def with_trailers(world: World) -> None:
    piece_by_piece(world)
    hooks = world.core.hooks
    hooks.request_stream = hooks.response_stream = lambda flow: _Trailers()


def reading_ahead(world: World) -> None:
    """Hooks that keep heads back until they have read the body behind them."""
    everything(world)
    hooks = world.core.hooks

    async def through(data: bytes, ended: bool) -> bytes:
        return data

    async def read(flow: Flow) -> Verdict:
        opened = flow.open_body
        if opened is not None:
            pieces: list[bytes] = []
            while piece := await opened.next(asyncio.Event().wait()):
                pieces.append(piece)
            opened.pass_through("a test", through, b"".join(pieces), True, opened.trailers)
        return CONTINUE

    hooks.request = hooks.response = read
    hooks.request_body = hooks.response_body = lambda flow: False


async def invited(world: World) -> None:
    """The client waits to be asked for its body, which a hook does."""
    client = world.client()
    await client.send(head(world, b"POST", b"Content-Length: 6", b"Expect: 100-continue"))
    await client.read_head()
    await client.send(b"abc")
    await asyncio.sleep(0.01)
    await client.send(b"def")
    origin = await world.accept()
    await origin.read_until(b"def")
    await _download(origin)
    await client.read_until(b"def")
    world.answered += 1


def reading_some(world: World) -> None:
    """Hooks that stop reading while a piece is still on its way, and let the heads go."""
    reading_ahead(world)

    async def through(data: bytes, ended: bool) -> bytes:
        return data

    async def read(flow: Flow) -> Verdict:
        opened = flow.open_body
        if opened is not None:
            first = await opened.next(asyncio.Event().wait()) or b""
            assert await opened.next(asyncio.sleep(0)) is None
            opened.pass_through("a test", through, first)
        return CONTINUE

    world.core.hooks.request = world.core.hooks.response = read


async def in_three(world: World) -> None:
    """Bodies of three pieces, each of which is waited for."""
    client = world.client()
    await client.send(head(world, b"POST", b"Content-Length: 9") + b"abc")
    origin = await world.accept()
    await client.send(b"def")
    await origin.read_until(b"def")
    await client.send(b"ghi")
    await origin.read_until(b"ghi")
    await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    await client.read_until(b"abc")
    for word in (b"def", b"ghi"):
        await origin.send(word)
        await client.read_until(word)
    world.answered += 1


ANSWER = Respond("a test", ResponseHead(200, b"OK", Headers([(b"content-length", b"2")])), b"ok")


def answering(world: World) -> None:
    """A hook answers in the place of the origin, and others see its answer."""
    everything(world)
    world.core.hooks.request = _slowly(ANSWER)  # type: ignore[assignment]


async def answered(world: World) -> None:
    client = world.client()
    await client.send(head(world))
    await client.read_until(b"ok")
    world.answered += 1


def answering_midway(world: World) -> None:
    """A hook answers when it has seen some of the body."""
    piece_by_piece(world)

    def through(flow: Flow) -> BodyFilter:
        async def each(data: bytes, ended: bool) -> bytes:
            await asyncio.sleep(0)
            raise AnsweredByHook(ANSWER)

        return each

    world.core.hooks.request_stream = through


async def answered_midway(world: World) -> None:
    client = world.client()
    await client.send(head(world, b"POST", b"Content-Length: 6") + b"abc")
    await client.read_until(b"ok")
    world.answered += 1


def blocked(world: World) -> None:
    everything(world)
    world.core.hooks.response = _slowly(Block("a test"))  # type: ignore[assignment]


async def blocked_answer(world: World) -> None:
    client, origin = await ask(world)
    await origin.send(OK)
    assert (await client.read_head()).startswith(b"HTTP/1.1 403 ")
    world.answered += 1


def held(world: World) -> None:
    world.core.hooks.request = _slowly(Hold("a test"))  # type: ignore[assignment]
    world.core.hooks.response = _slowly(Hold("a test"))  # type: ignore[assignment]


async def let_go(world: World) -> None:
    """Both messages wait for the user, who lets them go on."""
    client = world.client()
    await client.send(head(world))
    await _resume(world)
    origin = await world.accept()
    await origin.read_head()
    await origin.send(OK)
    await _resume(world)
    await client.read_until(b"ok")
    world.answered += 1


async def _resume(world: World) -> None:
    await world.until(world.core.held.ids)
    for flow_id in world.core.held.ids():
        world.core.held.decide(flow_id, Decision.RESUME)


async def fetches(world: World) -> None:
    """What a plugin asks for itself: on a new connection, a kept one, and one that has died."""
    fetcher = Fetcher(world.pool)
    url = f"http://{ORIGIN_ADDRESS}:{world.origin.port}/"
    origin = None
    for turn in range(3):
        fetching = world.start(fetcher.fetch(b"PUT", url, (), b"body", 60.0))
        if origin is None:
            origin = await world.accept()
        await origin.read_until(b"body")
        if turn == 2:
            origin.close()
            origin = await world.accept()
            await origin.read_until(b"body")
        await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\non")
        await asyncio.sleep(0.01)
        await origin.send(b"ce")
        assert (await fetching).body == b"once"


async def slow_fetch(world: World) -> None:
    """The origin does not read for a while."""
    _, origin = await keep_one(world)
    url = f"http://{ORIGIN}:{world.origin.port}/"
    world.slow(world.origins())
    fetching = world.start(Fetcher(world.pool).fetch(b"PUT", url, (), b"body", 60.0))
    await world.speed(world.origins())
    await origin.read_until(b"body")
    await origin.send(OK)
    assert (await fetching).body == b"ok"


SMALL = {"limits": replace(LIMITS, body_buffer=4)}
SCENARIOS = [
    Scenario("whole bodies", post, prepare=everything),
    Scenario("piece by piece", post, prepare=piece_by_piece),
    Scenario("bodies that are too large", large_bodies, settings=SMALL, prepare=too_large),
    Scenario("other bodies", other_bodies, prepare=edited),
    Scenario("another body unread", unread_body, prepare=edited_unread),
    Scenario("trailers", post, prepare=with_trailers),
    Scenario("bodies that are read ahead", invited, prepare=reading_ahead),
    Scenario("bodies of which some is read ahead", in_three, prepare=reading_some),
    Scenario("an answer of a hook", answered, prepare=answering),
    Scenario("an answer of a hook to a part of a body", answered_midway, prepare=answering_midway),
    Scenario("an answer that is blocked", blocked_answer, prepare=blocked),
    Scenario("messages that are held", let_go, prepare=held),
    Scenario("a plugin's own requests", fetches),
    Scenario("a plugin's own request that is not read", slow_fetch),
]
