"""The API as an ASGI application: the only place that knows Starlette.

Before a route is looked for, the request's Host, token and body are judged, in this order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy_core.api import openapi, routes_flows, routes_plugins
from proxy_core.api.calls import Answer, BadCall, Call, Endpoint, LogStream
from proxy_core.api.documents import Health, Problem, encode
from proxy_core.api.event_stream import MOST_FOLLOWERS, Followers, send_events
from proxy_core.api.gate import Gate, Refusal
from proxy_core.control.control import Control
from proxy_core.errors import Int3rceptorError

MOST_BODY: Final = 64 * 1024
"""No route wants a body; up to this much of one is read and forgotten."""
BODY_SECONDS: Final = 10.0
MOST_PARAMETERS: Final = 20


async def _health(desk: object, call: Call) -> Answer:
    return Answer(Health())


async def _describe(desk: object, call: Call) -> Answer:
    return Answer(openapi.describe(ENDPOINTS))


HEALTH: Final = Endpoint(
    "GET", "/api/health", _health, "Whether a core is there.", {200: Health}, is_open=True
)
ENDPOINTS: Final = (
    HEALTH,
    Endpoint("GET", "/api/openapi.json", _describe, "This description.", {200: dict}),
    *routes_plugins.ENDPOINTS,
    *routes_flows.ENDPOINTS,
)


class Desk:
    """What the routes share: the core, and what is under way."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.busy: set[str] = set()
        self.followers = Followers()


class Api(Protocol):
    """The application, and its event streams."""

    followers: Followers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""


class Guarded:
    """The application behind its gate."""

    def __init__(self, control: Control, gate: Gate) -> None:
        self._gate = gate
        self._desk = Desk(control)
        self.followers = self._desk.followers
        self._inner = _routed(self._desk)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope) or await _swallow(scope, receive)
        if refusal is not None:
            fields = {"connection": "close"}  # what is left of its body is not waited for
            if refusal.challenge:
                fields["www-authenticate"] = refusal.challenge
            await _respond(Problem(refusal.error), refusal.status, fields)(scope, receive, send)
            return
        await self._inner(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = scope["headers"]
        server = scope.get("server") or ("", 0)
        refusal = self._gate.check_host(headers, str(server[0]))
        if refusal is None and scope["path"] != HEALTH.path:
            refusal = self._gate.check_token(headers)
        return refusal


async def _swallow(scope: Scope, receive: Receive) -> Refusal | None:
    """Read a request's body to its end, or say why not."""
    lengths = {name for name, _ in scope["headers"]} & {b"content-length", b"transfer-encoding"}
    if not lengths:
        return None  # it has none
    if len(lengths) > 1:  # RFC 9112, section 6.1: somebody on the way may have read it differently
        return Refusal(400, "a body has two lengths; leave it out")
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return Refusal(400, "the request broke off")  # and is not carried out
                size += len(message.get("body", b""))
                if size > MOST_BODY:
                    return Refusal(413, f"a body of more than {MOST_BODY} bytes; leave it out")
                if not message.get("more_body", False):
                    return None
    except TimeoutError:
        return Refusal(408, "the request's body did not come in time; leave it out")


def _routed(desk: Desk) -> ASGIApp:
    routes = [
        Route(endpoint.path, _answering(endpoint, desk), methods=[endpoint.method])
        for endpoint in ENDPOINTS
    ]
    handlers: dict[Any, Any] = {HTTPException: _not_routed, Exception: _fault}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False  # there is one spelling of each route
    return app


def _answering(endpoint: Endpoint, desk: Desk) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            found = await endpoint(desk, _call(request))
        except BadCall as error:
            return _respond(Problem(str(error)), error.status)
        except Int3rceptorError as error:
            return _respond(Problem(str(error)), 503)
        if isinstance(found, Answer):
            return _respond(found.document, found.status)
        if not desk.followers.has_room():
            found.follower.close()
            text = f"{MOST_FOLLOWERS} clients follow a log already; end one of them"
            return _respond(Problem(text), 503)
        return _EventResponse(found, desk.followers)

    return answer


def _call(request: Request) -> Call:
    try:
        query = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError as error:
        raise BadCall(400, f"more than {MOST_PARAMETERS} query parameters") from error
    return Call(
        {name: str(value) for name, value in request.path_params.items()},
        query,
        request.headers.get("last-event-id", ""),
    )


class _EventResponse(Response):
    """A log that is followed, as Starlette calls a response."""

    def __init__(self, stream: LogStream, followers: Followers) -> None:
        super().__init__()
        self._stream = stream
        self._followers = followers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until somebody ends it."""
        await send_events(
            self._stream.follower,
            self._followers,
            receive,
            send,
            with_body=scope["method"] != "HEAD",
        )


def _respond(document: object, status: int, fields: dict[str, str] | None = None) -> Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff", **(fields or {})}
    return Response(encode(document), status, headers, media_type="application/json")


def _not_routed(request: Request, error: HTTPException) -> Response:
    path = request.url.path[:100]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        text = f"{request.method[:20]} is not for {path!r}; it takes {allowed}"
        return _respond(Problem(text), 405, {"allow": allowed})
    text = f"no route {path!r}; GET /api/openapi.json describes them"
    return _respond(Problem(text), error.status_code)


def _fault(request: Request, error: Exception) -> Response:
    return _respond(Problem("a bug in the program; its log says where"), 500)
