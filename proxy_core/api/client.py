"""Asking a core over its API, as the command line does: blocking, one connection a request.

Before the token goes anywhere, who listens there must say that it is a core: any program may have
taken the port.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from proxy_core.config import join_host_port
from proxy_core.errors import ApiError, ApiUnreachable

_PATIENCE: Final = 120.0  # seconds: a large plugin takes some to compile
_SILENCE: Final = 60.0  # of an event stream, which says something every 15
_HEALTH_PATIENCE: Final = 5.0
_MOST_BYTES: Final = 256 * 1024 * 1024
_LINE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream."""

    kind: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ApiClient:
    """Asks the core at an address. Everything raises ApiUnreachable and ApiError."""

    host: str
    port: int
    secret: bytes = field(repr=False)

    @property
    def where(self) -> str:
        """`host:port`."""
        return join_host_port(self.host, self.port)

    def check(self) -> None:
        """Raise ApiUnreachable unless a core listens there; the token is not shown for it."""
        connection = self._open(_HEALTH_PATIENCE)
        try:
            response = self._send(connection, "GET", "/api/health", None)
            document = _document(response, self._read(response))
        finally:
            connection.close()
        if response.status == 403:
            raise ApiUnreachable(
                f"what answers at {self.where} does not go by that name; pass --api with its "
                "address, or start the core with --api-hosts"
            )
        if document.get("program") != "int3rceptor":
            raise ApiUnreachable(f"what answers at {self.where} is no core; pass --api")

    def ask(
        self, method: str, path: tuple[str, ...], query: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """Return the document that answers; `path` is what comes behind /api, unescaped."""
        connection = self._open(_PATIENCE)
        try:
            response = self._send(connection, method, _target(path, query or {}), self.secret)
            document = _document(response, self._read(response))
        finally:
            connection.close()
        self._judge(response.status, document)
        if not document:
            raise ApiUnreachable(f"what answers at {self.where} is no core; pass --api")
        return document

    def follow(self, path: tuple[str, ...], query: Mapping[str, object]) -> Iterator[Event]:
        """Yield the events of a stream until the core ends it."""
        connection = self._open(_SILENCE)
        try:
            response = self._send(connection, "GET", _target(path, query), self.secret)
            if response.status != 200:
                self._judge(response.status, _document(response, self._read(response)))
            yield from self._events(response)
        finally:
            connection.close()

    def _events(self, response: http.client.HTTPResponse) -> Iterator[Event]:
        kind, data = "", ""
        while line := self._line(response):
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data = value
            elif not name and kind and data:
                yield Event(kind, _parsed(data.encode()))
                kind = data = ""

    def _line(self, response: http.client.HTTPResponse) -> str:
        try:
            return response.readline(_LINE_BYTES).decode()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiUnreachable(f"the core at {self.where} has gone; start it again") from error

    def _judge(self, status: int, document: dict[str, Any]) -> None:
        if status == 200:
            return
        said = str(document.get("error") or f"it answered {status}")
        if status in (401, 403):
            raise ApiUnreachable(
                f"the core at {self.where} refuses: {said}; --data-dir or --api-token-file says "
                "where its token is"
            )
        raise ApiError(said, status)

    def _open(self, patience: float) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=patience)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        secret: bytes | None,
    ) -> http.client.HTTPResponse:
        fields = {"Accept": "application/json", "Connection": "close"}
        if secret is not None:
            fields["Authorization"] = f"Bearer {secret.decode('ascii')}"
        try:
            connection.request(method, target, headers=fields)
            return connection.getresponse()
        except TimeoutError as error:
            raise ApiUnreachable(f"the core at {self.where} does not answer in time") from error
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise ApiUnreachable(
                f"no core answers at {self.where}; start one with int3rceptor-tui serve --api, "
                "or pass --api"
            ) from error

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            body = response.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise ApiUnreachable(f"the core at {self.where} went amid its answer") from error
        return body


def _target(path: tuple[str, ...], query: Mapping[str, object]) -> str:
    target = "/".join(("/api", *(quote(part, safe="") for part in path)))
    given = {name: str(value) for name, value in query.items() if value is not None}
    return f"{target}?{urlencode(given)}" if given else target


def _document(response: http.client.HTTPResponse, body: bytes) -> dict[str, Any]:
    is_json = response.headers.get_content_type() == "application/json"
    return _parsed(body) if is_json else {}


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
