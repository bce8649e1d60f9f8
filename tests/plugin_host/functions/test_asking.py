"""`host_http_request`: only what is granted is asked, and only once for each answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from proxy_core.errors import UpstreamError
from proxy_core.exchange.fetch import Fetched
from proxy_core.model.headers import Field, Headers
from proxy_core.model.log_line import LogLevel
from proxy_core.model.message import ResponseHead
from proxy_core.model.plugin_status import AskedPermission, PermissionState
from proxy_core.model.verdict import CONTINUE
from proxy_core.plugin_host.belongings.grants import Permits
from proxy_core.plugin_host.codes import (
    ABSENT,
    BAD_POINTER,
    NOT_IN_HOOK,
    NOT_PERMITTED,
    OVER_LIMIT,
    Hook,
)
from proxy_core.plugin_host.functions.asking import (
    ASKING,
    MOST_REQUESTS,
    REQUEST_BYTES,
    Asked,
    parse_request,
    write_head,
)
from tests.plugin_host.caller import PAGE, Caller
from tests.plugin_host.guests import Host, guest, importing, make_flow

URL = "http://api.test:81/a?b"
ASK = b"GET http://api.test:81/a?b\nX: 1\n\nbody"
ANSWER = Fetched(ResponseHead(201, b"Made", Headers([(b"A", b"1"), (b"a", b"2")])), b"data", ())
WRITTEN = b"201 Made\nA: 1\na: 2\n\ndata"


class FakeFetcher:
    """Answers ANSWER, or fails; waits for `gate` where there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.gate: asyncio.Event | None = None
        self.begun = asyncio.Event()
        self.asked: list[tuple[bytes, str, list[Field], bytes]] = []
        self.cancelled = asyncio.Event()

    async def fetch(
        self, method: bytes, url: str, headers: Sequence[Field], body: bytes, seconds: float
    ) -> Fetched:
        self.asked.append((method, url, list(headers), body))
        self.begun.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.error is not None:
            raise self.error
        return ANSWER


class Asker(Caller):
    """A guest that may ask api.test:81."""

    def __init__(self, hook: Hook = Hook.REQUEST, error: Exception | None = None) -> None:
        super().__init__(hook)
        asked = AskedPermission("network", ("api.test:81",), PermissionState.GRANTED)
        self.fetcher = FakeFetcher(error)
        self.call.belongings.permits = Permits("00", [asked])
        self.call.belongings.fetcher = self.fetcher

    async def ask(self, request: bytes, cap: int = 1000) -> int:
        self.room = 0
        got: Any = ASKING.run(self.host, *self.put(request), 32768, cap)
        return int(await got if isinstance(got, Coroutine) else got)

    def written(self, length: int) -> bytes:
        return bytes(self.buffer[32768 : 32768 + length])


async def test_the_answer_is_written_as_the_request_is() -> None:
    asker = Asker()
    assert asker.written(await asker.ask(ASK)) == WRITTEN
    assert asker.fetcher.asked == [(b"GET", URL, [(b"X", b"1")], b"body")]
    assert asker.lines == [(LogLevel.DEBUG, f"GET {URL}: 201")]


async def test_an_answer_that_does_not_fit_is_read_again_without_asking_twice() -> None:
    asker = Asker()
    assert await asker.ask(b"") == ABSENT
    assert await asker.ask(ASK, 5) == len(WRITTEN)
    assert asker.written(5) == bytes(5)
    assert asker.written(await asker.ask(b"")) == WRITTEN
    assert len(asker.fetcher.asked) == 1


async def test_a_request_that_fails_is_absent_and_leaves_no_older_answer() -> None:
    asker = Asker()
    await asker.ask(ASK)
    asker.fetcher.error = UpstreamError("no route")
    assert await asker.ask(ASK) == ABSENT
    assert await asker.ask(b"") == ABSENT
    assert asker.lines[-1] == (LogLevel.WARN, f"GET {URL}: no route")


async def test_what_is_not_granted_is_not_asked() -> None:
    asker = Asker()
    for url in (b"http://api.test/", b"http://other.test:81/", b"https://api.test/"):
        assert await asker.ask(b"GET " + url) == NOT_PERMITTED
    asker.call.belongings.fetcher = None
    assert await asker.ask(ASK) == NOT_PERMITTED
    assert asker.fetcher.asked == []
    denied = asker.call.belongings.profile.records[Hook.REQUEST.index].denied
    assert denied == {"host_http_request": 4}


async def test_the_log_tells_what_is_no_request_from_what_is_not_granted() -> None:
    asker = Asker()
    assert await asker.ask(b"GET http://api.test:81/ HTTP/1.1\n\n") == NOT_PERMITTED
    ((level, text),) = asker.lines
    assert level is LogLevel.WARN
    assert text.startswith(
        "host_http_request: 'GET http://api.test:81/ HTTP/1.1' begins no request"
    )
    assert asker.call.belongings.profile.records[Hook.REQUEST.index].denied == {}
    assert await asker.ask(b"GET http://other.test/") == NOT_PERMITTED
    assert len(asker.lines) == 1


async def test_limits_pointers_and_loading() -> None:
    asker = Asker()
    assert ASKING.run(asker.host, 0, REQUEST_BYTES + 1, 0, 1) == OVER_LIMIT
    assert ASKING.run(asker.host, PAGE, 1, 0, 1) == BAD_POINTER
    assert ASKING.run(asker.host, 0, 1, PAGE, 1) == BAD_POINTER
    assert asker.fetcher.asked == []
    assert await Asker(Hook.START).ask(ASK) == NOT_IN_HOOK
    got = [await asker.ask(ASK) for _ in range(MOST_REQUESTS + 1)]
    assert got == [len(WRITTEN)] * MOST_REQUESTS + [OVER_LIMIT]


@pytest.mark.parametrize(
    "text",
    [
        b"GET",
        b"GET /path\n\n",
        b"CONNECT http://a/\n\n",
        b"GET ftp://a/\n\n",
        b"GET http://u@a/\n\n",
        b"GET http://a/ HTTP/1.1\n\n",
        b"GET http://a/\nno colon\n\n",
        b"GET http://a/\nHost: b\n\n",
        b"GET http://a/\nContent-Length: 5\n\n",
        b"GET http://a/\nX: a\rb\n\n",
    ],
)
def test_what_is_no_request_is_refused(text: bytes) -> None:
    assert parse_request(text) == NOT_PERMITTED


def test_requests_may_have_crlf_and_a_body_of_any_bytes() -> None:
    text = b"PUT https://[::1]/\r\nA:1\r\nB: \r\n\r\n\r\nx\n\0"
    fields = ((b"A", b"1"), (b"B", b""))
    assert parse_request(text) == Asked(b"PUT", "https://[::1]/", "::1", 443, fields, b"\r\nx\n\0")
    many = b"".join(b"a: b\n" for _ in range(201))
    assert parse_request(b"GET http://a/\n" + many) == OVER_LIMIT
    assert write_head(Fetched(ResponseHead(200, b"", Headers([])), b"", ())) == b"200 \n\n"


ASKS = importing("host_http_request", 4) + importing("host_set_header", 4)
DATA = '(data (i32.const 0) "GET http://api.test:81/\\n\\n") (data (i32.const 40) "X-Status")'
BODY = (
    "(drop (call $http_request (i32.const 0) (i32.const 25) (i32.const 64) (i32.const 99)))"
    "(drop (call $set_header (i32.const 40) (i32.const 8) (i32.const 64) (i32.const 3)))"
    "i32.const 0"
)


async def _loaded(host: Host, fetcher: FakeFetcher, limits: str = "") -> None:
    host.manager.fetcher = fetcher
    manifest = '[permissions]\nmodify_requests = true\nnetwork = ["api.test"]\n'
    await host.load("a", guest(BODY, imports=ASKS + DATA), manifest + limits)
    await host.manager.decide_permission("a", "network", True)


async def test_a_hook_waits_for_its_answer_while_others_go_on(any_host: Host) -> None:
    fetcher = FakeFetcher()
    fetcher.gate = asyncio.Event()
    await _loaded(any_host, fetcher)
    flow = make_flow()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(any_host.request(flow))
        await fetcher.begun.wait()
        assert not waiting.done()
        fetcher.gate.set()
    assert waiting.result() is CONTINUE
    assert flow.request.headers.get(b"x-status") == b"201"
    assert any_host.status("a").traps == 0


async def test_the_deadline_ends_a_request_that_is_not_answered(any_host: Host) -> None:
    fetcher = FakeFetcher()
    fetcher.gate = asyncio.Event()
    await _loaded(any_host, fetcher, "[limits]\ndeadline_ms = 50")
    flow = make_flow()
    assert await any_host.request(flow) is CONTINUE
    assert flow.request.headers.get(b"x-status") is None
    assert any("did not return within 50 ms" in text for text in any_host.texts())
    await fetcher.cancelled.wait()
