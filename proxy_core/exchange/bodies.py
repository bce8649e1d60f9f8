"""What hooks have to do with bodies: shown whole before their message goes on, or piece by piece.

A body is gathered only where somebody asked for it, up to a limit; what is larger goes on as it
comes, and the flow says so.
"""

from __future__ import annotations

import time
from typing import Final, TypeVar

from proxy_core.exchange.hooks import Hooks
from proxy_core.exchange.ledger import Ledger
from proxy_core.exchange.ports import BodySource, ClientStream
from proxy_core.exchange.sources import Filtered, Gathered, Instead, Invited, ReadAhead, Ready
from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from proxy_core.model.message import HTTP_2, RequestHead, ResponseHead
from proxy_core.wire.events import CHUNKED, BodyLength, RequestReceived, ResponseReceived

_NEVER_WHOLE: Final = (
    b"text/event-stream",
    b"application/grpc",
    b"multipart/x-mixed-replace",
    b"application/x-ndjson",
    b"application/stream+json",
)
"""What is read as it comes, and may never end."""
_CONTINUE: Final = 100
_LIVE_INTERVAL: Final = 0.25  # seconds between two news of a body that is being gathered

HeadT = TypeVar("HeadT", RequestHead, ResponseHead)


class Bodies:
    """Readies bodies for hooks, and what hooks made of them for the way on.

    A body on its way is a pair: where it comes from, and how it is framed.
    """

    def __init__(self, hooks: Hooks, ledger: Ledger, limit: int) -> None:
        """Gather at most `limit` bytes of each body."""
        self._hooks = hooks
        self._ledger = ledger
        self._limit = limit

    async def show_request(
        self, client: ClientStream, received: RequestReceived, flow: Flow
    ) -> BodySource:
        """Put the body at the hooks' hand where one wants it; return what to read from.

        What is not there whole can be read ahead by who looks at bodies in pieces. Raises as
        `BodySource.read` does.
        """
        source = await self._show_whole_request(client, received, flow)
        if self._may_be_read_ahead(flow, received.length, received.upgrade):
            ahead: BodySource = source
            if received.expect_continue and source is client:
                ahead = Invited(client, lambda: _invite(client))
            flow.open_body = ReadAhead(ahead)
        return source

    def _may_be_read_ahead(self, flow: Flow, length: BodyLength, upgrade: bytes | None) -> bool:
        reads = self._hooks.request_stream if flow.response is None else self._hooks.response_stream
        return reads is not None and bool(length) and upgrade is None and flow.whole is None

    async def _show_whole_request(
        self, client: ClientStream, received: RequestReceived, flow: Flow
    ) -> BodySource:
        wanted = self._hooks.request_body
        if wanted is None or received.upgrade is not None or not wanted(flow):
            return client
        if not received.length:
            flow.whole = WholeBody(b"")
            return client
        if not may_be_gathered(flow.request):
            return client
        if received.expect_continue:
            _invite(client)
            _forget_expectation(flow)
        gathered = Gathered(client)
        await self._gather(gathered, flow, "the request's body")
        flow.request_body = self._ledger.new_body()  # it is captured as it goes on
        return gathered

    async def show_response(
        self, upstream: BodySource, response: ResponseReceived, flow: Flow
    ) -> BodySource:
        """Do the same for a response."""
        source = await self._show_whole_response(upstream, response, flow)
        if self._may_be_read_ahead(flow, response.length, response.upgrade):
            flow.open_body = ReadAhead(source)
        return source

    async def _show_whole_response(
        self, upstream: BodySource, response: ResponseReceived, flow: Flow
    ) -> BodySource:
        wanted = self._hooks.response_body
        if wanted is None or response.upgrade is not None or not wanted(flow):
            return upstream
        if not response.length:
            flow.whole = WholeBody(b"")
            return upstream
        if not may_be_gathered(response.head):
            return upstream
        gathered = Gathered(upstream)
        await self._gather(gathered, flow, "the response's body")
        flow.response_body = self._ledger.new_body()
        return gathered

    async def _gather(self, gathered: Gathered, flow: Flow, what: str) -> None:
        body = flow.request_body if flow.response is None else flow.response_body
        told = time.time()

        def note(data: bytes) -> None:
            nonlocal told
            body.feed(data)
            now = time.time()
            if now - told > _LIVE_INTERVAL:
                told = now
                self._ledger.tell(flow)

        flow.whole = await gathered.fill(self._limit, note)
        if flow.whole is None:
            flow.notes = (
                *flow.notes,
                f"{what} is larger than {self._limit} bytes, and was not shown whole to plugins",
            )

    def take_request(
        self, source: BodySource, length: BodyLength, flow: Flow
    ) -> tuple[BodySource, BodyLength]:
        """Return the request's body as it goes on after the hook; its head says the same."""
        whole, flow.whole = flow.whole, None
        opened = flow.open_body
        if whole is not None and whole.edited:
            ready = Ready(whole.data, whole.trailers)
            # Nobody has to have read the body to replace it.
            source = Instead(source, whole.data, whole.trailers) if length else ready
            length = CHUNKED if whole.trailers else len(whole.data)
            flow.request = with_length(flow.request, length)
        elif isinstance(opened, ReadAhead) and opened.seen_by:
            source, length = opened.source, CHUNKED
            _forget_expectation(flow)
            flow.request = with_length(flow.request, length)
        stream = self._hooks.request_stream
        body_filter = stream(flow) if stream is not None and length else None
        flow.open_body = None
        if body_filter is not None:
            length = CHUNKED
            source = Filtered(source, body_filter)
            flow.request = with_length(flow.request, length)
        return source, length

    def take_response(
        self, source: BodySource, length: BodyLength, flow: Flow
    ) -> tuple[BodySource, BodyLength]:
        """Do the same for a response."""
        whole, flow.whole = flow.whole, None
        opened = flow.open_body
        if flow.response is None:
            return source, length
        if whole is not None and whole.edited:
            length = CHUNKED if whole.trailers else len(whole.data)
            source = Ready(whole.data, whole.trailers)
            flow.response = with_length(flow.response, length)
        elif isinstance(opened, ReadAhead) and opened.seen_by:
            source, length = opened.source, CHUNKED
            flow.response = with_length(flow.response, length)
        stream = self._hooks.response_stream
        body_filter = stream(flow) if stream is not None and length else None
        flow.open_body = None
        if body_filter is not None:
            length = CHUNKED
            source = Filtered(source, body_filter)
            flow.response = with_length(flow.response, length)
        return source, length


def _invite(client: ClientStream) -> None:
    """Ask for a body that the client sends only then (RFC 9110, section 10.1.1)."""
    client.send_informational(ResponseHead(_CONTINUE))


def _forget_expectation(flow: Flow) -> None:
    """Ask nobody else whether the body may come: it has."""
    head = flow.request
    if b"expect" in head.headers:
        headers = head.headers.copy()
        headers.remove(b"expect")
        flow.request_received = flow.request_received or head
        flow.request = head.replace(headers=headers)


def with_length(head: HeadT, length: BodyLength) -> HeadT:
    """Return the head with the content-length that goes with `length`."""
    fields = head.headers
    declared = fields.get_all(b"content-length")
    if declared == ([b"%d" % length] if length >= 0 else []):
        return head
    headers = fields.copy()
    if length < 0:
        headers.remove(b"content-length")
    elif declared:
        name = next(name for name, _ in fields if name.lower() == b"content-length")
        headers.set(name, b"%d" % length)
    else:
        name = b"content-length" if head.version == HTTP_2 else b"Content-Length"
        headers.add(name, b"%d" % length)
    return head.replace(headers=headers)


def may_be_gathered(head: RequestHead | ResponseHead) -> bool:
    """Whether a body with this head is shown whole to who wants it."""
    kind = head.headers.get(b"content-type")
    return kind is None or not kind.lower().startswith(_NEVER_WHOLE)
