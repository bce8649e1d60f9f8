"""What the directions of a WebSocket need of who keeps them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proxy_core.errors import WebSocketError
from proxy_core.model.websocket import WebSocketMessage

if TYPE_CHECKING:
    from proxy_core.exchange.websocket_direction import Direction


class Watcher(Protocol):
    """Who keeps the two directions together."""

    over: bool
    """Whether the connection has been given up: what still comes is thrown away."""
    moved: float
    """When anything came last, by the loop's clock."""

    def record(self, message: WebSocketMessage) -> None:
        """Take a message that is complete."""

    async def may_pass(self, message: WebSocketMessage, by: str) -> bool:
        """Wait for the user's word on a message that `by` wants held."""

    def killed(self) -> None:
        """End it all: the user has said so."""

    def closed(self, direction: Direction, code: int, reason: str) -> None:
        """Note a close frame that went on."""

    def broken(self, direction: Direction, error: WebSocketError) -> None:
        """Note that the direction's sender broke the protocol."""

    def ended(self, direction: Direction) -> None:
        """Note that the direction's sender has ended its side."""

    def failed(self, direction: Direction, reason: str) -> None:
        """Note that the direction cannot go on; `reason` is for people."""
