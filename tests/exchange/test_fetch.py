"""An exchange of the proxy's own: what is sent, what comes back, and every way it fails."""

from __future__ import annotations

import asyncio

import pytest

from proxy_core.errors import UpstreamError, UpstreamGone
from proxy_core.exchange.fetch import Fetched, Fetcher
from proxy_core.exchange.ports import Route
from tests.exchange.fakes import FakeUpstream, FakeUpstreams, answered


async def fetch(
    upstreams: FakeUpstreams,
    method: bytes = b"GET",
    url: str = "https://Origin.example:8443/a?b",
    body: bytes = b"",
    seconds: float = 5.0,
) -> Fetched:
    return await Fetcher(upstreams, 10).fetch(method, url, [(b"X", b"1")], body, seconds)


def there(*upstreams: FakeUpstream) -> FakeUpstreams:
    made = FakeUpstreams()
    made.new.extend(upstreams)
    return made


async def test_a_request_is_sent_and_its_answer_comes_whole() -> None:
    upstream = FakeUpstream(answered(100), answered(200, 4, fields=[(b"Y", b"2")]))
    upstream.body(b"ab", b"cd", b"")
    upstream.coming_trailers = [(b"T", b"3")]
    upstreams = there(upstream)
    fetched = await fetch(upstreams)
    assert upstreams.asked == [("fresh", Route("https", "Origin.example", 8443))]
    assert (upstream.head.method, upstream.head.path) == (b"GET", b"/a?b")
    assert upstream.head.headers.fields == [(b"Host", b"Origin.example:8443"), (b"X", b"1")]
    assert (fetched.head.status, fetched.body, fetched.trailers) == (200, b"abcd", ((b"T", b"3"),))
    assert upstream.ends == ["release"]


async def test_a_body_is_sent_with_its_length() -> None:
    upstream = FakeUpstream(answered(204))
    fetched = await fetch(there(upstream), b"POST", body=b"data")
    assert upstream.head.headers.get(b"content-length") == b"4"
    assert (upstream.length, upstream.data, upstream.kinds) == (4, b"data", ["head", "data", "end"])
    assert (fetched.head.status, fetched.body) == (204, b"")


@pytest.mark.parametrize(
    ("method", "unseen", "again"),
    [(b"GET", False, True), (b"POST", True, True), (b"POST", False, False)],
)
async def test_a_kept_connection_that_had_died_is_replaced(
    method: bytes, unseen: bool, again: bool
) -> None:
    upstreams = there(FakeUpstream(answered(204)))
    upstreams.kept.append(FakeUpstream(UpstreamGone("gone", unseen=unseen), reused=True))
    if again:
        assert (await fetch(upstreams, method)).head.status == 204
    else:
        with pytest.raises(UpstreamGone):
            await fetch(upstreams, method)
    assert upstreams.given[0].ends == ["abort"]


async def test_an_answer_that_is_too_large_is_given_up() -> None:
    upstream = FakeUpstream(answered(200, 11))
    upstream.body(b"x" * 11, b"")
    with pytest.raises(UpstreamError, match="more than 10 bytes"):
        await fetch(there(upstream))
    assert upstream.ends == ["abort"]


async def test_an_answer_that_does_not_come_is_given_up() -> None:
    upstream = FakeUpstream()
    with pytest.raises(UpstreamError, match=r"Origin\.example:8443 did not answer in 0\.02 s"):
        await fetch(there(upstream), seconds=0.02)
    assert upstream.ends == ["abort"]


async def test_what_is_no_answer_is_given_up() -> None:
    for upstream in (
        FakeUpstream(answered(101, upgrade=b"websocket")),
        FakeUpstream(*[answered(103)] * 100),
        FakeUpstream(UpstreamError("broken")),
    ):
        with pytest.raises(UpstreamError):
            await fetch(there(upstream))
        assert upstream.ends == ["abort"]


async def test_a_fetch_can_be_cancelled() -> None:
    upstream = FakeUpstream()
    task = asyncio.get_running_loop().create_task(fetch(there(upstream)))
    while not upstream.sent:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert upstream.ends == ["abort"]
