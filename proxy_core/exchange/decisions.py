"""What a hook decides over an exchange, carried out: go on, answer here, or wait for the user."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from proxy_core.exchange.answers import respond, text_response
from proxy_core.exchange.held import KILLED, Decision, HeldFlows, not_held
from proxy_core.exchange.ledger import Ledger
from proxy_core.exchange.ports import ClientStream
from proxy_core.model.flow import Flow
from proxy_core.model.verdict import Block, Hold, Respond, Verdict


class Decisions:
    """Obeys verdicts; `held` is where the user finds flows that wait."""

    def __init__(self, ledger: Ledger, held: HeldFlows) -> None:
        self._ledger = ledger
        self._held = held

    async def obey(self, verdict: Verdict, client: ClientStream, flow: Flow) -> bool:
        """Do what a verdict says; return whether the exchange goes on."""
        if isinstance(verdict, Block):
            flow.notes = (*flow.notes, f"blocked by {verdict.by}")
            respond(client, flow, *text_response(verdict.status, f"Blocked by {verdict.by}."))
            return False
        if isinstance(verdict, Respond):
            flow.notes = (*flow.notes, f"answered by {verdict.by}")
            respond(client, flow, verdict.head, verdict.body)
            return False
        if isinstance(verdict, Hold):
            return await self._hold(verdict, client, flow)
        return True

    async def _hold(self, verdict: Hold, client: ClientStream, flow: Flow) -> bool:
        if not self._held.attended:
            note = not_held(verdict.by)
            if note not in flow.notes:
                flow.notes = (*flow.notes, note)
            return True
        flow.notes = (*flow.notes, f"held by {verdict.by}")
        if await self.hold(flow) is Decision.RESUME:
            return True
        flow.error = KILLED
        client.abort(flow.error)
        return False

    @property
    def holding(self) -> Callable[[Flow], Awaitable[Decision]] | None:
        """What lets a flow wait, where somebody may decide."""
        return self.hold if self._held.attended else None

    async def hold(self, flow: Flow) -> Decision:
        """Let a flow wait for the user's word; one that waits already must not wait again."""
        self._ledger.hold(flow)
        try:
            decision = await self._held.wait(flow.id)
        finally:
            self._ledger.resume(flow)
        if decision is Decision.RESUME:
            self._ledger.tell(flow)
        return decision
