"""The story of one request, from its head to the end of its response.

scope -> request rules -> `on_request` plugins -> hold -> upstream -> response rules ->
`on_response` plugins -> hold -> client -> capture. Read `_story` top to bottom: it is the same
for HTTP/1 and HTTP/2, in the clear and in TLS.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from proxy_core.config import Limits
from proxy_core.config.limits import MIB
from proxy_core.errors import (
    ClientDisconnected,
    RefusedByHook,
    RemoteProtocolError,
    UpstreamError,
    UpstreamGone,
)
from proxy_core.exchange.answers import respond, text_response
from proxy_core.exchange.bodies import Bodies
from proxy_core.exchange.connection_auth import (
    asks_connection_to_authenticate,
    authenticates_connection,
)
from proxy_core.exchange.decisions import Decisions
from proxy_core.exchange.held import HeldFlows
from proxy_core.exchange.hooks import AnsweredByHook, Hooks
from proxy_core.exchange.ledger import Ledger
from proxy_core.exchange.loops import MANY_WAIT, end_round, mark_round
from proxy_core.exchange.max_forwards import COUNTED, answer_here, count_down
from proxy_core.exchange.news import News
from proxy_core.exchange.ports import (
    BodySource,
    ClientStream,
    OwnPages,
    Route,
    Upstreams,
    UpstreamStream,
    is_own_name,
)
from proxy_core.exchange.sources import Ready
from proxy_core.exchange.tunnel import TunnelTimes, join_as
from proxy_core.exchange.upload import Upload
from proxy_core.exchange.websocket import WebSockets, compression_of
from proxy_core.model.flow import Flow, FlowKind
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.model.verdict import CONTINUE, Respond
from proxy_core.wire.events import BodyLength, RequestReceived, ResponseReceived

_IDEMPOTENT = (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE")


class Exchange:
    """Runs exchanges; one object serves all connections of a core."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        hooks: Hooks,
        upstreams: Upstreams,
        held: HeldFlows,
        own_pages: OwnPages | None = None,
        max_informational: int = 100,
        tunnel_times: TunnelTimes | None = None,
        web_sockets: WebSockets | None = None,
        body_buffer: int = 8 * MIB,
        pseudonym: str = "",
        reverse_pseudonym: str = "",
    ) -> None:
        """With a `pseudonym`, by which other proxies were told of this one, loops are ended.

        `reverse_pseudonym` is one for the origins of reverse modes, which hear of it if need be.
        """
        self._ledger = ledger
        self._hooks = hooks
        self._upstreams = upstreams
        self._decisions = Decisions(ledger, held)
        self._bodies = Bodies(hooks, ledger, body_buffer)
        self._web_sockets = web_sockets or WebSockets(hooks, Limits())
        self._own_pages = own_pages
        self._max_informational = max_informational
        self._tunnel_times = tunnel_times or TunnelTimes()
        self._pseudonym = pseudonym
        self._reverse_pseudonym = reverse_pseudonym
        self._waiting = 0
        """Requests that were sent, and have no answer yet."""

    async def run(self, client: ClientStream, received: RequestReceived) -> None:
        """Carry one request to its origin and the response back; failures end in the flow.

        When it returns the response was sent whole, or `client.abort` was called.
        """
        flow = self._ledger.begin(client.client, received.head)
        try:
            try:
                await self._story(client, received, flow)
            except AnsweredByHook as error:
                if client.head_sent:
                    raise
                await self._answer_here(client, error.verdict, flow)
        except UpstreamError as error:
            self._fail(flow, client, error.status, str(error), error.reset_code)
        except RemoteProtocolError as error:
            self._fail(flow, client, error.status, f"the client sent a bad body: {error}")
        except RefusedByHook as error:
            self._fail(flow, client, error.status, str(error))
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
            _let_go(flow)
            self._ledger.end(flow)

    async def _story(self, client: ClientStream, received: RequestReceived, flow: Flow) -> None:
        head = received.head
        if received.oddities:
            flow.notes = (*flow.notes, *(f"request: {odd}" for odd in received.oddities))
        if self._own_pages is not None and is_own_name(head.authority):
            flow.notes = (*flow.notes, "answered by the proxy itself")
            respond(client, flow, *self._own_pages.answer(head.method, head.path))
            return
        if self._pseudonym:
            end_round(head, self._pseudonym)
        source: BodySource = client
        length = received.length
        hook = self._hooks.request
        if hook is not None:
            if self._hooks.request_body is not None:
                source = await self._bodies.show_request(client, received, flow)
            answer = hook(flow)
            verdict = answer if answer is CONTINUE else await answer
            if isinstance(verdict, Respond):
                await self._answer_here(client, verdict, flow)
                return
            if verdict is not CONTINUE and not await self._decisions.obey(verdict, client, flow):
                return
        if flow.whole or flow.open_body or self._hooks.request_stream is not None:
            source, length = self._bodies.take_request(source, length, flow)
        head = flow.request
        if head.method in COUNTED:
            counted = count_down(head)
            if counted is None:
                flow.notes = (*flow.notes, "answered by the proxy itself: Max-Forwards is 0")
                respond(client, flow, *answer_here(head))
                return
            if counted is not head:
                flow.request_received = flow.request_received or head
                head = flow.request = counted
        if self._waiting >= MANY_WAIT and self._reverse_pseudonym:
            head = self._mark_round(client, flow)
        clean = received.clean_of(head, length)
        route = self._route(client, head)
        if length == 0:
            upstream, response = await self._ask(client, route, received, clean, flow)
            try:
                await self._answer(client, upstream, response, flow)
            except BaseException:
                upstream.abort()
                raise
            return

        upstream = self._upstreams.acquire(route) or await self._upstreams.open(route)
        upload = Upload(source, upstream, flow, self._ledger.grew)
        try:
            flow.server = upstream.server
            upstream.send_head(head, length, clean, received.upgrade)
            upload.start()
            try:
                response = await self._final_head(client, upstream)
            except UpstreamGone as error:
                if not _may_repeat(error, upstream, head) or not await upload.rewind():
                    raise
                upstream.abort()
                upstream = await self._upstreams.open(route, fresh=True)
                flow.server = upstream.server
                upstream.send_head(head, length, clean, received.upgrade)
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

    def _mark_round(self, client: ClientStream, flow: Flow) -> RequestHead:
        """Let the origin of a reverse mode know of us: it may be a proxy that leads back here."""
        head = flow.request
        if client.client.mode.startswith("reverse:"):
            flow.request_received = flow.request_received or head
            head = flow.request = mark_round(head, self._reverse_pseudonym)
        return head

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
                if again or not _may_repeat(error, upstream, head):
                    raise
                again = True
            except BaseException:
                upstream.abort()
                raise
            upstream = await self._upstreams.open(route, fresh=True)

    async def _final_head(self, client: ClientStream, upstream: UpstreamStream) -> ResponseReceived:
        self._waiting += 1
        try:
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
        finally:
            self._waiting -= 1

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
        if response.oddities:
            flow.notes = (*flow.notes, *(f"response: {odd}" for odd in response.oddities))
        flow.first_byte = time.time()
        if client.client.authenticated or asks_connection_to_authenticate(head):
            client.client.authenticated = True
            upstream.server.owner = client.client.id
        source: BodySource = upstream
        length = response.length
        if self._hooks.response is not None or self._hooks.response_stream is not None:
            passed = await self._show_response(client, source, response, flow)
            if passed is None:
                upstream.abort()
                return
            source, length = passed
        head = flow.response
        clean = response.clean_of(head, length)
        if response.upgrade is not None:
            if upload is not None and not upload.done:
                raise UpstreamError(
                    f"{_name(upstream)} switched protocols before it had the whole request"
                )
            await self._switch(client, upstream, head, response.upgrade, flow)
            return

        client.send_head(head, length, clean)
        if length:
            await self._copy(client, source, flow)
        client.send_end(flow.response_body.trailers)
        if upload is None or upload.done:
            oddity = upstream.release()
            if oddity is not None:
                flow.notes = (*flow.notes, f"response: {oddity}")
        else:
            # The origin has answered before it had read everything, and wants no more.
            upstream.abort()

    async def _show_response(
        self, client: ClientStream, source: BodySource, response: ResponseReceived, flow: Flow
    ) -> tuple[BodySource, BodyLength] | None:
        """Let hooks see and edit a response; return its body as it goes on.

        None where they have decided otherwise, and the client has got what they decided.
        """
        hook = self._hooks.response
        if hook is not None:
            if self._hooks.response_body is not None:
                source = await self._bodies.show_response(source, response, flow)
            answer = hook(flow)
            verdict = answer if answer is CONTINUE else await answer
            if verdict is not CONTINUE and not await self._decisions.obey(verdict, client, flow):
                return None
        if flow.whole or flow.open_body or self._hooks.response_stream is not None:
            return self._bodies.take_response(source, response.length, flow)
        return source, response.length

    async def _answer_here(self, client: ClientStream, verdict: Respond, flow: Flow) -> None:
        """Give the client an answer that a hook has made, past the others as the origin's goes."""
        flow.notes = (*flow.notes, f"answered by {verdict.by}")
        flow.answered_by = verdict.by
        _let_go(flow)
        if flow.response is not None and flow.response_received is None:
            flow.response_received = flow.response
        head = flow.response = verdict.head
        flow.first_byte = time.time()
        body = b"" if flow.request.method == b"HEAD" else verdict.body
        shown = ResponseReceived(head, len(body))
        passed = await self._show_response(client, Ready(body, None), shown, flow)
        if passed is None:
            return
        source, length = passed
        client.send_head(flow.response, length)
        if length:
            await self._copy(client, source, flow)
        client.send_end(flow.response_body.trailers)

    async def _copy(self, client: ClientStream, source: BodySource, flow: Flow) -> None:
        body = flow.response_body
        news: News | None = None
        if client.blocked:  # another stream of the same connection may have filled it
            await client.drain()
        try:
            while True:
                data = source.read_nowait()
                if data is None:
                    if news is None:
                        await client.drain()  # the head must not wait for a body slow to come
                        news = News(flow, self._ledger.grew)
                    news.note()
                    data = await source.read()
                if not data:
                    break
                body.feed(data)
                client.send_data(data)
                if client.blocked:
                    await client.drain()
        finally:
            if news is not None:
                news.cancel()
        body.trailers = source.trailers

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
        self._ledger.tell(flow)
        client_side, server_side = client.become_bytes(), upstream.become_bytes()
        if is_web_socket:
            try:
                deflate = compression_of(flow.request, flow.response_received or head)
            except RemoteProtocolError as error:
                flow.notes = (*flow.notes, f"carried as bytes, messages not read: {error}")
            else:
                await self._web_sockets.carry(
                    flow,
                    client_side,
                    server_side,
                    deflate,
                    self._ledger.grew,
                    self._decisions.holding,
                )
                return
        tunnel = self._hooks.tunnel
        flow.error = await join_as(
            flow,
            client_side,
            server_side,
            self._tunnel_times,
            self._ledger.grew,
            None if tunnel is None else tunnel(flow),
        )

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
            respond(client, flow, *text_response(status, reason))


def _let_go(flow: Flow) -> None:
    """Forget what hooks had at hand of a body."""
    flow.whole = None
    if flow.open_body is not None:
        flow.open_body.close()
        flow.open_body = None


def _may_repeat(error: UpstreamGone, upstream: UpstreamStream, head: RequestHead) -> bool:
    """Tell whether a request may be sent once more: it was not seen, or does the same twice.

    A kept connection may have died since it was used last (RFC 9110, section 9.2.2).
    """
    return error.unseen or (upstream.reused and head.method in _IDEMPOTENT)


def _name(upstream: UpstreamStream) -> str:
    return f"{upstream.server.host}:{upstream.server.port}"
