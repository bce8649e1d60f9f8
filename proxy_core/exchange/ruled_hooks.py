"""Hooks with the message rules in front of them.

Made only where there are rules: without them the plain table stays, and a message that no plugin
asks for costs nothing. Each rule that fires is told to `rule_match`, where somebody is there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from proxy_core.exchange.hooks import Hooks, RuleMatch
from proxy_core.model.flow import Flow
from proxy_core.model.verdict import CONTINUE, Block, Hold, Verdict
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.policy.message_rules import MessageRules

_Hook = Callable[[Flow, WebSocketMessage], Awaitable[Verdict]]


class RuledHooks(Hooks):
    """What is put into the slot `websocket_message` sees what the rules have let pass."""

    __slots__ = ("_next", "_rules")

    def __init__(self, rules: MessageRules) -> None:
        self._rules = rules
        self._next: _Hook | None = None
        super().__init__()

    @property
    def websocket_message(self) -> _Hook | None:
        """The rules, and behind them what is in the slot."""
        return self._decide

    @websocket_message.setter
    def websocket_message(self, hook: _Hook | None) -> None:
        self._next = hook

    async def _decide(self, flow: Flow, message: WebSocketMessage) -> Verdict:
        held: Hold | None = None
        for rule in self._rules.fire(flow, message):
            verdict: Verdict = CONTINUE
            told = self.rule_match
            if told is not None:
                verdict = await told(RuleMatch(rule.rule_id, flow, message))
            if rule.drops:
                return Block(rule.by)
            if isinstance(verdict, Block):
                return verdict
            if isinstance(verdict, Hold):
                held = held or verdict
        hook = self._next
        verdict = CONTINUE if hook is None else await hook(flow, message)
        return held if held is not None and not isinstance(verdict, Block) else verdict


def hooks_with(rules: MessageRules) -> Hooks:
    """Return the table of hooks, behind `rules` where there are any."""
    return RuledHooks(rules) if rules else Hooks()
