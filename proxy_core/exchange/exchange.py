"""The story of one request, from its head to the end of its response.

scope -> request rules -> `on_request` plugins -> hold -> upstream -> response rules ->
`on_response` plugins -> hold -> client -> capture. Read `_story` top to bottom: it is the same
for HTTP/1 and HTTP/2, in the clear and in TLS.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import replace

from proxy_core.bus.bus import Bus
from proxy_core.bus.flow_ring import FlowRing
from proxy_core.config import Limits
from proxy_core.errors import (
    ClientDisconnected,
    RemoteProtocolError,
    UpstreamError,
    UpstreamGone,
)
from proxy_core.exchange.capture import CaptureQueue
from proxy_core.exchange.connection_auth import (
    asks_connection_to_authenticate,
    authenticates_connection,
)
from proxy_core.exchange.held import Decision, HeldFlows
from proxy_core.exchange.hooks import ConnectAttempt, Hooks
from proxy_core.exchange.ports import (
    OWN_NAME,
    ByteStream,
    ClientStream,
    OwnPages,
    Route,
    Upstreams,
    UpstreamStream,
)
from proxy_core.exchange.tunnel import TunnelTimes, join
from proxy_core.exchange.upload import Upload
from proxy_core.exchange.websocket import WebSockets, compression_of
from proxy_core.model.connection import ClientConnection, ServerConnection
from proxy_core.model.counters import Counters
from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.model.headers import Headers
from proxy_core.model.ids import FlowId
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.model.verdict import CONTINUE, Block, Hold, Respond, Verdict
from proxy_core.wire.events import RequestReceived, ResponseReceived

_IDEMPOTENT = (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE")
_LIVE_INTERVAL = 0.25  # seconds between two news of a body that streams


class Exchange:
    """Runs exchanges; one object serves all connections of a core."""

    def __init__(
        self,
        *,
        flows: FlowRing,
        bus: Bus,
        hooks: Hooks,
        upstreams: Upstreams,
        counters: Counters,
        held: HeldFlows,
        captures: CaptureQueue,
        body_limit: int,
        own_pages: OwnPages | None = None,
        max_informational: int = 100,
        tunnel_times: TunnelTimes | None = None,
        web_sockets: WebSockets | None = None,
    ) -> None:
        self._flows = flows
        self._news = bus.flows
        self._hooks = hooks
        self._upstreams = upstreams
        self._counters = counters
        self._held = held
        self._captures = captures
        self._web_sockets = web_sockets or WebSockets(hooks, Limits())
        self._body_limit = body_limit
        self._own_pages = own_pages
        self._max_informational = max_informational
        self._tunnel_times = tunnel_times or TunnelTimes()
        self._ids = itertools.count(1)

    async def run(self, client: ClientStream, received: RequestReceived) -> None:
        """Carry one request to its origin and the response back; failures end in the flow.

        When it returns the response was sent whole, or `client.abort` was called.
        """
        flow = self._begin(client.client, received.head)
        try:
            await self._story(client, received, flow)
        except UpstreamError as error:
            self._fail(flow, client, error.status, str(error), error.reset_code)
        except RemoteProtocolError as error:
            self._fail(flow, client, error.status, f"the client sent a bad body: {error}")
        except ClientDisconnected as error:
            flow.error = str(error)
            client.abort(flow.error)
        except asyncio.CancelledError:
            flow.error = flow.error or "the client went away"
            raise
        except Exception as error:
            flow.error = f"a fault of the proxy: {error!r}"
            client.abort(flow.error)
            raise
        finally:
            self._end(flow)

    async def _story(self, client: ClientStream, received: RequestReceived, flow: Flow) -> None:
        head = received.head
        clean = received.clean
        if received.oddities:
            flow.notes = (*flow.notes, *(f"request: {odd}" for odd in received.oddities))
        if head.authority == OWN_NAME and self._own_pages is not None:
            flow.notes = (*flow.notes, "answered by the proxy itself")
            self._respond(client, flow, *self._own_pages.answer(head.method, head.path))
            return
        hook = self._hooks.request
        if hook is not None:
            verdict = await hook(flow)
            if verdict is not CONTINUE and not await self._obey(verdict, client, flow):
                return
            if flow.request is not head:
                head, clean = flow.request, None

        route = self._route(client, head)
        if received.length == 0:
            upstream, response = await self._ask(client, route, received, clean, flow)
            try:
                await self._answer(client, upstream, response, flow)
            except BaseException:
                upstream.abort()
                raise
            return

        upstream = self._upstreams.acquire(route) or await self._upstreams.open(route)
        upload = Upload(client, upstream, flow)
        try:
            flow.server = upstream.server
            upstream.send_head(head, received.length, clean, received.upgrade)
            upload.start()
            try:
                response = await self._final_head(client, upstream)
            except UpstreamGone as error:
                if not error.unseen or not await upload.rewind():
                    raise
                upstream.abort()
                upstream = await self._upstreams.open(route, fresh=True)
                flow.server = upstream.server
                upstream.send_head(head, received.length, clean, received.upgrade)
                upload.start_again(upstream)
                response = await self._final_head(client, upstream)
            await self._answer(client, upstream, response, flow, upload)
        except UpstreamError:
            upstream.abort()
            if upload.error is not None:
                raise upload.error from None
            raise
        except BaseException:
            upstream.abort()
            raise
        finally:
            await upload.close()

    def _route(self, client: ClientStream, head: RequestHead) -> Route:
        route = client.route(head)
        connection = client.client
        if authenticates_connection(head):
            connection.authenticated = True
        return replace(route, owner=connection.id) if connection.authenticated else route

    async def _ask(
        self,
        client: ClientStream,
        route: Route,
        received: RequestReceived,
        clean: bytes | None,
        flow: Flow,
    ) -> tuple[UpstreamStream, ResponseReceived]:
        """Send a request that has no body and return the response's head.

        A kept connection may have died since it was used last, and an origin may refuse what it
        has not looked at (RFC 9113, section 8.7): then once more, on a new one.
        """
        head = flow.request
        again = False
        upstream = self._upstreams.acquire(route) or await self._upstreams.open(route)
        while True:
            flow.server = upstream.server
            try:
                upstream.send_head(head, 0, clean, received.upgrade)
                flow.request_sent = time.time()
                return upstream, await self._final_head(client, upstream)
            except UpstreamGone as error:
                upstream.abort()
                stale = upstream.reused and head.method in _IDEMPOTENT
                if again or not (error.unseen or stale):
                    raise
                again = True
            except BaseException:
                upstream.abort()
                raise
            upstream = await self._upstreams.open(route, fresh=True)

    async def _final_head(self, client: ClientStream, upstream: UpstreamStream) -> ResponseReceived:
        response = await upstream.read_head()
        informational = 0
        while response.informational:
            informational += 1
            if informational > self._max_informational:
                raise UpstreamError(
                    f"{_name(upstream)} sent more than {self._max_informational} informational"
                    " answers (1xx) before the final one"
                )
            client.send_informational(response.head)
            response = await upstream.read_head()
        return response

    async def _answer(
        self,
        client: ClientStream,
        upstream: UpstreamStream,
        response: ResponseReceived,
        flow: Flow,
        upload: Upload | None = None,
    ) -> None:
        """Carry the response to the client, and give the upstream connection back."""
        head = flow.response = response.head
        clean = response.clean
        if response.oddities:
            flow.notes = (*flow.notes, *(f"response: {odd}" for odd in response.oddities))
        flow.first_byte = time.time()
        if client.client.authenticated or asks_connection_to_authenticate(head):
            client.client.authenticated = True
            upstream.server.owner = client.client.id
        hook = self._hooks.response
        if hook is not None:
            verdict = await hook(flow)
            if verdict is not CONTINUE and not await self._obey(verdict, client, flow):
                upstream.abort()
                return
            if flow.response is not head:
                head, clean = flow.response, None
        if response.upgrade is not None:
            if upload is not None and not upload.done:
                raise UpstreamError(
                    f"{_name(upstream)} switched protocols before it had the whole request"
                )
            await self._switch(client, upstream, head, response.upgrade, flow)
            return

        client.send_head(head, response.length, clean)
        if response.length:
            await self._copy(client, upstream, flow)
        client.send_end(flow.response_body.trailers)
        if upload is None or upload.done:
            oddity = upstream.release()
            if oddity is not None:
                flow.notes = (*flow.notes, f"response: {oddity}")
        else:
            # The origin has answered before it had read everything, and wants no more.
            upstream.abort()

    async def _copy(self, client: ClientStream, upstream: UpstreamStream, flow: Flow) -> None:
        body = flow.response_body
        told = flow.first_byte or 0.0
        if client.blocked:  # another stream of the same connection may have filled it
            await client.drain()
        while data := await upstream.read():
            body.feed(data)
            client.send_data(data)
            if client.blocked:
                await client.drain()
            now = time.time()
            if now - told > _LIVE_INTERVAL:
                told = now
                self._news.publish(flow)
        body.trailers = upstream.trailers

    async def _switch(
        self,
        client: ClientStream,
        upstream: UpstreamStream,
        head: ResponseHead,
        protocol: bytes,
        flow: Flow,
    ) -> None:
        """Leave HTTP: from here on the two connections are joined, message by message or in bytes.

        Messages are read as the origin agreed to, whatever a hook made of its answer.
        """
        is_web_socket = protocol.lower() == b"websocket"
        if is_web_socket:
            flow.kind = FlowKind.WEBSOCKET
        client.send_head(head, 0)
        client.send_end(None)
        self._news.publish(flow)
        client_side, server_side = client.become_bytes(), upstream.become_bytes()
        if is_web_socket:
            try:
                deflate = compression_of(flow.request, flow.response_received or head)
            except RemoteProtocolError as error:
                flow.notes = (*flow.notes, f"carried as bytes, messages not read: {error}")
            else:
                await self._web_sockets.carry(flow, client_side, server_side, deflate, self._grew)
                return
        flow.error = await join(
            client_side,
            server_side,
            flow.request_body.feed,
            flow.response_body.feed,
            self._tunnel_times,
        )

    def _grew(self, flow: Flow) -> None:
        self._flows.weigh(flow)
        self._news.publish(flow)

    # --- connections

    async def admit(self, client: ClientConnection, authority: bytes | None) -> Block | None:
        """Ask the plugins about a new connection, or a CONNECT for `authority`."""
        hook = self._hooks.connect
        if hook is None:
            return None
        verdict = await hook(ConnectAttempt(client, authority))
        return verdict if isinstance(verdict, Block) else None

    async def tunnel(
        self,
        client: ClientConnection,
        head: RequestHead,
        side: ByteStream,
        route: Route,
        dialled: tuple[ServerConnection, ByteStream] | None = None,
    ) -> None:
        """Join a client to an address byte for byte, as a flow that counts the bytes.

        `side` is the client's connection, closed at the end; `dialled` the server's, where it
        exists already. `head` is the CONNECT that asked for it.
        """
        flow = self._begin(client, head, FlowKind.TUNNEL)
        try:
            server, connection = dialled or await self._upstreams.connect(route)
            flow.server = server
            flow.first_byte = time.time()
            flow.error = await join(
                side,
                connection,
                flow.request_body.feed,
                flow.response_body.feed,
                self._tunnel_times,
            )
        except UpstreamError as error:
            flow.error = str(error)
            side.close()
        except asyncio.CancelledError:
            flow.error = flow.error or "the client went away"
            raise
        except Exception as error:
            flow.error = f"a fault of the proxy: {error!r}"
            side.abort()
            raise
        finally:
            self._end(flow)

    def refuse(
        self, client: ClientConnection, head: RequestHead, error: str, status: int | None = None
    ) -> None:
        """Record a request that got no further."""
        flow = self._begin(client, head)
        flow.error = error
        if status is not None:
            flow.response = _text_response(status, error)[0]
        self._end(flow)

    # --- decisions

    async def _obey(self, verdict: Verdict, client: ClientStream, flow: Flow) -> bool:
        """Do what a verdict says; return whether the exchange goes on."""
        if isinstance(verdict, Block):
            flow.notes = (*flow.notes, f"blocked by {verdict.by}")
            self._respond(
                client, flow, *_text_response(verdict.status, f"Blocked by {verdict.by}.")
            )
            return False
        if isinstance(verdict, Respond):
            flow.notes = (*flow.notes, f"answered by {verdict.by}")
            self._respond(client, flow, verdict.head, verdict.body)
            return False
        if isinstance(verdict, Hold):
            return await self._hold(verdict, client, flow)
        return True

    async def _hold(self, verdict: Hold, client: ClientStream, flow: Flow) -> bool:
        flow.state = FlowState.HELD
        flow.notes = (*flow.notes, f"held by {verdict.by}")
        self._counters.held += 1
        self._news.publish(flow)
        try:
            decision = await self._held.wait(flow.id)
        finally:
            self._counters.held -= 1
            flow.state = FlowState.ACTIVE
        if decision is Decision.RESUME:
            self._news.publish(flow)
            return True
        flow.error = "killed by the user"
        client.abort(flow.error)
        return False

    # --- answers of our own

    def _respond(self, client: ClientStream, flow: Flow, head: ResponseHead, body: bytes) -> None:
        if flow.response is not None and flow.response_received is None:
            flow.response_received = flow.response
        flow.response = head
        flow.first_byte = flow.first_byte or time.time()
        client.send_head(head, len(body))
        if body and flow.request.method != b"HEAD":  # which no edit brings in or takes out
            flow.response_body.feed(body)
            client.send_data(body)
        client.send_end(None)

    def _fail(
        self,
        flow: Flow,
        client: ClientStream,
        status: int,
        reason: str,
        reset_code: int | None = None,
    ) -> None:
        flow.error = reason
        if client.head_sent:
            client.abort(reason, reset_code)
        else:
            self._respond(client, flow, *_text_response(status, reason))

    # --- a flow's life

    def _begin(
        self, client: ClientConnection, head: RequestHead, kind: FlowKind = FlowKind.HTTP
    ) -> Flow:
        flow = Flow(FlowId(next(self._ids)), client, head, time.time(), self._body_limit, kind)
        counters = self._counters
        counters.flows_seen += 1
        counters.active += 1
        self._flows.add(flow)
        self._news.publish(flow)
        return flow

    def _end(self, flow: Flow) -> None:
        flow.ended = time.time()
        flow.state = FlowState.DONE if flow.error is None else FlowState.FAILED
        flow.compact()
        self._counters.active -= 1
        self._flows.settle(flow)
        self._news.publish(flow)
        self._captures.put(flow)


def _name(upstream: UpstreamStream) -> str:
    return f"{upstream.server.host}:{upstream.server.port}"


def _text_response(status: int, text: str) -> tuple[ResponseHead, bytes]:
    """Return a plain-text response of our own; `text` may hold anything but is for people."""
    body = f"int3rceptor: {text}\n".encode(errors="replace")
    headers = Headers(
        [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Length", b"%d" % len(body)),
            (b"Cache-Control", b"no-store"),
        ]
    )
    return ResponseHead(status, b"", headers), body
