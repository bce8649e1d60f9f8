"""A client that calls the API's application itself: no sockets, every message seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from proxy_core.api.app import Guarded

SECRET = b"correct-horse-battery-staple"


@dataclass
class Reply:
    """What the application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


@dataclass
class Connection:
    """One request under way: what was sent so far, and whether the client is still there."""

    messages: list[MutableMapping[str, Any]] = field(default_factory=list)
    incoming: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared while the client does not read."""

    def __post_init__(self) -> None:
        self.reads.set()

    async def receive(self) -> dict[str, Any]:
        return await self.incoming.get()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self.reads.wait()
        self.messages.append(message)

    def leave(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.messages).decode()

    @property
    def is_over(self) -> bool:
        return bool(self.messages) and not self.messages[-1].get("more_body", True)

    def reply(self) -> Reply:
        start = self.messages[0]
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return Reply(start["status"], headers, self.text.encode())


class Client:
    """Speaks to the application, with the right Host and token unless told otherwise."""

    def __init__(self, app: Guarded, server: str = "127.0.0.1") -> None:
        self._app = app
        self._server = server

    def _scope(
        self, method: str, target: str, headers: Mapping[str, str | list[str]]
    ) -> dict[str, Any]:
        path, _, query = target.partition("?")
        fields: dict[str, str | list[str]] = {
            "host": "localhost:3000",
            "authorization": f"Bearer {SECRET.decode()}",
            **headers,
        }
        raw = [
            (name.encode(), value.encode("latin-1"))
            for name, values in fields.items()
            for value in ([values] if isinstance(values, str) else values)
        ]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": (self._server, 3000),
            "client": ("127.0.0.1", 50_000),
            "scheme": "http",
            "method": method,
            "root_path": "",
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query.encode(),
            "headers": raw,
            "state": {},
        }

    async def begin(
        self,
        connection: Connection,
        method: str,
        target: str,
        headers: Mapping[str, str | list[str]] | None = None,
    ) -> None:
        """Run one request to its end."""
        scope = self._scope(method, target, headers or {})
        await self._app(scope, connection.receive, connection.send)

    async def __call__(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str | list[str]] | None = None,
        body: bytes = b"",
    ) -> Reply:
        connection = Connection()
        connection.incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})
        await self.begin(connection, method, target, headers)
        return connection.reply()

    async def get(self, target: str, **headers: str | list[str]) -> Reply:
        return await self("GET", target, headers)

    async def post(self, target: str) -> Reply:
        return await self("POST", target)
