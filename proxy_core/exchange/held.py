"""Flows that wait for the user's word."""

from __future__ import annotations

import asyncio
import enum

from proxy_core.model.ids import FlowId

KILLED = "killed by the user"
"""What a flow says that the user has ended."""


def not_held(by: str) -> str:
    """Return what a flow says that `by` would have held, where nobody is there to decide."""
    return f"not held for {by}, as there is no console to let it go on"


class Decision(enum.Enum):
    """What the user says of a held flow."""

    RESUME = "resume"
    KILL = "kill"


class HeldFlows:
    """The flows held, and who waits for them. For the core's loop only."""

    def __init__(self, *, attended: bool = True) -> None:
        self.attended = attended
        """Whether somebody may decide; else no flow is to wait."""
        self._waiting: dict[FlowId, asyncio.Future[Decision]] = {}

    async def wait(self, flow_id: FlowId) -> Decision:
        """Hold a flow until somebody decides."""
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting[flow_id] = future
        try:
            return await future
        finally:
            del self._waiting[flow_id]

    def decide(self, flow_id: FlowId, decision: Decision) -> bool:
        """Let a flow go on, or not; return whether it was held."""
        future = self._waiting.get(flow_id)
        if future is None or future.done():
            return False
        future.set_result(decision)
        return True

    def ids(self) -> list[FlowId]:
        """The flows held, the longest first."""
        return list(self._waiting)

    def __len__(self) -> int:
        return len(self._waiting)
