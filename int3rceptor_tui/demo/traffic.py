"""Traffic for the demo: a few visitors who use the demo site through the proxy, at 5-10 requests/s.

An app that polls an API in cleartext, a browser on HTTP/2, a script that posts over TLS, a chat on
a WebSocket, and somebody who meets every trouble an origin can make.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Awaitable, Callable

from int3rceptor_tui.demo.client import FAILURES, Http2Session, ProxyClient
from int3rceptor_tui.demo.content import pattern
from int3rceptor_tui.demo.messages import Fields

_BROWSER = (
    b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/131.0.0.0 Safari/537.36"
)
_VISIT_TIMEOUT = 20.0
_PATIENCE = 1.5
"""Seconds before somebody gives up on an answer that does not come."""

_TROUBLES = (
    "/status/500",
    "/reset",
    "/status/404",
    "/cut",
    "/redirect/2",
    "/stall",
    "/status/503",
    "/trailers",
)


class Traffic:
    """Visitors of the site whose ports are `http`, `https` and `https1` on this machine."""

    def __init__(
        self,
        client: ProxyClient,
        http: int,
        https: int,
        https1: int,
        rng: random.Random,
    ) -> None:
        """Send through `client`; `rng` decides what varies."""
        self._client = client
        self._plain = f"127.0.0.1:{http}"
        self._secure = f"localhost:{https}"
        self._secure1 = f"localhost:{https1}"
        self._rng = rng
        self._trouble = 0

    async def run(self) -> None:
        """Visit until cancelled. What fails in a visit is what the demo shows: it goes on."""
        async with asyncio.TaskGroup() as visitors:
            for visit, pause in (
                (self._app, 0.5),
                (self._browse, 2.0),
                (self._post, 1.0),
                (self._chat, 6.0),
                (self._meet_trouble, 1.5),
                (self._watch_a_stream, 9.0),
            ):
                visitors.create_task(self._again_and_again(visit, pause))

    async def _again_and_again(self, visit: Callable[[], Awaitable[None]], pause: float) -> None:
        while True:
            try:
                async with asyncio.timeout(_VISIT_TIMEOUT):
                    await visit()
            except FAILURES:
                pass
            await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._rng.uniform(0.6, 1.4))

    async def _app(self) -> None:
        """A cleartext API client on one connection, kept alive."""
        fields = [(b"user-agent", b"demo-app/2.1"), (b"accept", b"application/json")]
        async with self._client.plain() as session:
            for _ in range(self._rng.randint(4, 10)):
                path = self._rng.choice(
                    (
                        f"/api/users?page={self._rng.randint(1, 9)}",
                        f"/api/users/{self._rng.randint(1, 400)}",
                        "/pages/zstd",
                        "/connection",
                        "/status/304",
                    )
                )
                await session.request("GET", f"http://{self._plain}{path}", fields)
                await self._rest(0.4)

    async def _browse(self) -> None:
        """A page and what belongs to it, at once on one HTTP/2 connection."""
        fields = [
            (b"user-agent", _BROWSER),
            (b"accept-language", b"en"),
            (b"cookie", b"theme=dark"),
        ]
        parts = ["/assets/style.css", "/assets/app.js", "/images/logo.png", "/api/users?page=1"]
        parts.append(self._rng.choice(("/pages/br", "/bytes/300000", "/hints", "/cookies")))
        async with self._client.tunnel(self._secure) as session:
            await session.request("GET", "/", fields)
            if isinstance(session, Http2Session):
                await _at_once(session, parts, fields)
            else:
                for path in parts:
                    await session.request("GET", path, fields)

    async def _post(self) -> None:
        """A script that logs in, orders and uploads over TLS and HTTP/1.1."""
        fields = [(b"user-agent", b"order-bot/0.3"), (b"content-type", b"application/json")]
        async with self._client.tunnel(self._secure1) as session:
            login = {"user": "ada", "password": "correct horse battery staple"}
            await session.request("POST", "/api/login", fields, json.dumps(login).encode())
            await self._rest(0.5)
            order = {"article": self._rng.randint(100, 999), "count": self._rng.randint(1, 5)}
            await session.request("POST", "/api/orders", fields, json.dumps(order).encode())
            await self._rest(0.5)
            kind: Fields = [(b"content-type", b"application/octet-stream")]
            size = self._rng.randint(1_000, 200_000)
            await session.request("PUT", "/upload", kind, b"".join(pattern(size)))
            await self._rest(0.5)
            await session.request("DELETE", f"/api/users/{self._rng.randint(1, 400)}", fields)

    async def _chat(self) -> None:
        async with self._client.web_socket(self._secure1, "/chat") as socket:
            for line in ("hello", "is this intercepted?", "of course", "bye"):
                await socket.say(line)
                await self._rest(0.5)
            await socket.close()

    async def _meet_trouble(self) -> None:
        """One trouble after the other, each over another kind of connection."""
        path = _TROUBLES[self._trouble % len(_TROUBLES)]
        kind = self._trouble // len(_TROUBLES) % 3
        self._trouble += 1
        async with asyncio.timeout(_PATIENCE):
            if kind == 0:
                async with self._client.plain() as session:
                    await session.request("GET", f"http://{self._plain}{path}")
            else:
                authority = self._secure if kind == 1 else self._secure1
                async with self._client.tunnel(authority) as secure:
                    await secure.request("GET", path, [(b"user-agent", b"curl/8.11.0")])

    async def _watch_a_stream(self) -> None:
        """Server-sent events, then a page that trickles in."""
        async with self._client.plain() as session:
            fields = [(b"accept", b"text/event-stream")]
            await session.request("GET", f"http://{self._plain}/events?count=6", fields)
            await session.request("GET", f"http://{self._plain}/slow?pieces=8&delay=0.3")


async def _at_once(session: Http2Session, paths: list[str], fields: Fields) -> None:
    """Ask for several paths together; one that fails leaves the others alone."""

    async def ask(path: str) -> None:
        with contextlib.suppress(*FAILURES):
            await session.request("GET", path, fields)

    async with asyncio.TaskGroup() as requests:
        for path in paths:
            requests.create_task(ask(path))
