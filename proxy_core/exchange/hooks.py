"""The points at which the exchange asks somebody else, and nobody by default.

`Hooks` is a table of slots. A slot is None while nobody subscribes, so that an unused hook costs
one attribute test; the plugin host fills slots in and takes them out again while traffic flows.
Slots may be replaced at any await: the exchange reads a slot once per use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from proxy_core.errors import (
    ClientDisconnected,
    RefusedByHook,
    RemoteProtocolError,
    UpstreamError,
)
from proxy_core.model.connection import ClientConnection
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
from proxy_core.model.verdict import Respond, Verdict
from proxy_core.model.websocket import WebSocketMessage


@dataclass(frozen=True, slots=True)
class ConnectAttempt:
    """A client that connected (`authority` is None) or sent CONNECT for `authority`."""

    client: ClientConnection
    authority: bytes | None


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A rule that fired on a flow, or on a message of one, and has done there what it does."""

    rule_id: str
    flow: Flow
    message: WebSocketMessage | None = None


class AnsweredByHook(RefusedByHook):
    """A hook ended an exchange in the middle of a request's body, and says what the client gets.

    Where the response has begun already it is broken off instead.
    """

    def __init__(self, verdict: Respond) -> None:
        super().__init__(f"answered by {verdict.by}")
        self.verdict = verdict


BodyFilter = Callable[[bytes, bool], Awaitable[bytes]]
"""(piece, whether it is the end) -> what goes on in its place. The end comes once, with or without
bytes in it. Raises RefusedByHook, which ends the exchange."""


class TrailersToo(ABC):
    """A `BodyFilter` that is shown trailers with a body's end, and may put others there."""

    trailers: list[Field] | None = None

    @abstractmethod
    async def __call__(self, data: bytes, ended: bool) -> bytes:
        """See `BodyFilter`; with the end `trailers` are those that came, and then those to send."""


TunnelFilter = Callable[[bool, bytes, bool], Awaitable[bytes]]
"""(whether the client sent it, bytes, whether it is that side's end) -> what goes on. Raises
RefusedByHook, which ends the tunnel."""


BODY_TROUBLE: Final = (ClientDisconnected, RefusedByHook, RemoteProtocolError, UpstreamError)
"""What reading ahead in `flow.open_body` raises, and ends the exchange with: the only exceptions
that `request` and `response` let through."""


class Hooks:
    """The slots. A hook never raises: whoever fills a slot answers for its own failures."""

    __slots__ = (
        "capture",
        "connect",
        "request",
        "request_body",
        "request_stream",
        "response",
        "response_body",
        "response_stream",
        "rule_match",
        "tunnel",
        "websocket_message",
    )

    def __init__(self) -> None:
        self.connect: Callable[[ConnectAttempt], Awaitable[Verdict]] | None = None
        """Before anything of a connection or CONNECT is answered; Block refuses it."""
        self.request: Callable[[Flow], Awaitable[Verdict]] | None = None
        """The head of a request is there, upstream knows nothing yet. May put a new
        `flow.request` in place (and then keeps the first in `flow.request_received`)."""
        self.response: Callable[[Flow], Awaitable[Verdict]] | None = None
        """The head of the response is there, the client has seen nothing yet. May put a new
        `flow.response` in place (and then keeps the first in `flow.response_received`)."""
        self.request_body: Callable[[Flow], bool] | None = None
        """Whether `request` wants the flow's body whole, in `flow.whole`, where it may edit it."""
        self.response_body: Callable[[Flow], bool] | None = None
        """The same for `response`."""
        self.request_stream: Callable[[Flow], BodyFilter | None] | None = None
        """What the request's body goes through, piece by piece, behind `request`."""
        self.response_stream: Callable[[Flow], BodyFilter | None] | None = None
        """What the response's body goes through, behind `response`."""
        self.tunnel: Callable[[Flow], TunnelFilter | None] | None = None
        """What the bytes of a tunnel go through, both ways."""
        self.capture: Callable[[Flow], Awaitable[bool]] | None = None
        """The flow is over and complete; nobody waits for this. May edit what was captured of it,
        and says whether it changed anything."""
        self.rule_match: Callable[[RuleMatch], Awaitable[Verdict]] | None = None
        """A rule fired. The verdict is about what the rule is about: as `request`, `response` or
        `websocket_message` would give it. Where the rule has ended that, the verdict is nothing."""
        self.websocket_message: Callable[[Flow, WebSocketMessage], Awaitable[Verdict]] | None = None
        """A text or binary message is there, whole, and the other side has seen nothing of it. May
        set another `payload`, and add its name to `by`; Block drops it, Hold lets it wait for the
        user, and what follows it in its direction with it; the other verdicts let it go on."""
