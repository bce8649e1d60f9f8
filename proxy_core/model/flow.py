"""The flow: one exchange, or one tunnel, from first byte to last.

Only the exchange changes a flow, on the core's loop. Others read it at any time: every attribute
is set in one step, so a reader sees an older or a newer value and never half of one.
"""

from __future__ import annotations

import enum

from proxy_core.model.connection import ClientConnection, ServerConnection
from proxy_core.model.edits import Change, OpenBody, WholeBody
from proxy_core.model.ids import FlowId
from proxy_core.model.message import Body, RequestHead, ResponseHead
from proxy_core.model.websocket import WebSocketLog

_FIXED_WEIGHT = 900  # slots, heads' objects, ring and index entries; measured with scripts/bench


class FlowState(enum.Enum):
    """Where a flow is in its life."""

    ACTIVE = "active"
    HELD = "held"
    DONE = "done"
    FAILED = "failed"


class FlowKind(enum.Enum):
    """What a flow carries."""

    HTTP = "http"
    WEBSOCKET = "websocket"
    TUNNEL = "tunnel"


class Flow:
    """One exchange. Times are seconds since the epoch; None where a point was not reached."""

    __slots__ = (
        "annotations",
        "answered_by",
        "changes",
        "client",
        "edited_by",
        "ended",
        "error",
        "first_byte",
        "id",
        "kind",
        "notes",
        "open_body",
        "request",
        "request_body",
        "request_received",
        "request_sent",
        "response",
        "response_body",
        "response_received",
        "server",
        "started",
        "state",
        "web_socket",
        "whole",
    )

    def __init__(
        self,
        id: FlowId,
        client: ClientConnection,
        request: RequestHead,
        started: float,
        body_limit: int,
        kind: FlowKind = FlowKind.HTTP,
    ) -> None:
        self.id = id
        self.kind = kind
        self.state = FlowState.ACTIVE
        self.client = client
        self.server: ServerConnection | None = None
        self.request = request
        """The request as it goes, or went, to the origin."""
        self.request_received: RequestHead | None = None
        """The request as the client sent it, where something changed it on the way."""
        self.response: ResponseHead | None = None
        """The response as it goes, or went, to the client."""
        self.response_received: ResponseHead | None = None
        """The response as the origin sent it, where something changed it on the way."""
        self.request_body = Body(body_limit)
        """For a tunnel: bytes from the client."""
        self.response_body = Body(body_limit)
        """For a tunnel: bytes from the server."""
        self.started = started
        self.request_sent: float | None = None
        """When the request's last byte was handed to the upstream connection."""
        self.first_byte: float | None = None
        """When the response's head was complete."""
        self.ended: float | None = None
        self.error: str | None = None
        self.notes: tuple[str, ...] = ()
        """What the program did that the user should know ("body over the limit streamed on")."""
        self.annotations: dict[str, str] | None = None
        """`comment`, `tag`, `colour` set by plugins or the user."""
        self.answered_by: str | None = None
        """Who answered in the origin's place, while that answer goes past the others."""
        self.edited_by: tuple[str, ...] = ()
        """Who changed the flow, in order: `plugin header-modifier`, `rule 3`."""
        self.changes: tuple[Change, ...] = ()
        """The edits themselves, in order."""
        self.whole: WholeBody | None = None
        """The body of the message at hand, while hooks decide about it and one wanted it."""
        self.open_body: OpenBody | None = None
        """The same body where it is not there whole, while hooks may still read of it."""
        self.web_socket: WebSocketLog | None = None
        """The messages, once the exchange has become a WebSocket."""

    @property
    def weight(self) -> int:
        """Roughly how many bytes of memory the flow keeps."""
        weight = _FIXED_WEIGHT + self.request.raw_size + self.request_body.kept_size
        weight += self.response_body.kept_size
        for head in (self.response, self.request_received, self.response_received):
            if head is not None:
                weight += head.raw_size
        for change in self.changes:
            if not self._is_received(change.before):
                weight += change.before.raw_size
            if change.body is not None:
                weight += len(change.body)
        if self.web_socket is not None:
            weight += self.web_socket.bytes
        if self.annotations is not None:
            weight += sum(text.__sizeof__() for text in self.annotations.values())
        return weight

    def compact(self) -> None:
        """Drop what can be computed again; called once, when the flow is over."""
        for head in (self.request, self.response, self.request_received, self.response_received):
            if head is not None:
                head.compact()
        for change in self.changes:
            if not self._is_received(change.before):
                change.before.compact()
        self.request_body.compact()
        self.response_body.compact()

    def _is_received(self, head: RequestHead | ResponseHead) -> bool:
        """Whether it is one that came, which is kept anyhow."""
        return head is self.request_received or head is self.response_received
