"""The message rules in front of the hooks."""

from __future__ import annotations

import pytest

from proxy_core.config import Replacement, Settings
from proxy_core.exchange.hooks import Hooks, RuleMatch
from proxy_core.exchange.ruled_hooks import hooks_with
from proxy_core.model.flow import Flow
from proxy_core.model.verdict import CONTINUE, Block, Hold, Verdict
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.policy.message_rules import MessageRules, message_rules
from tests.policy.flows import web_socket

RULES = MessageRules([Replacement("a", b"b"), Replacement("b", b"c")], ["~b gone"], 1000)


def said(payload: bytes) -> WebSocketMessage:
    return WebSocketMessage(True, 1, 0.0, payload, len(payload))


async def ask(hooks: Hooks, message: WebSocketMessage) -> Verdict:
    hook = hooks.websocket_message
    assert hook is not None
    return await hook(web_socket(), message)


class Listener:
    """Hears of rules that fired, and says what it was told to."""

    def __init__(self, verdicts: dict[str, Verdict]) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._verdicts = verdicts

    async def __call__(self, match: RuleMatch) -> Verdict:
        assert match.message is not None
        self.heard.append((match.rule_id, match.message.payload))
        return self._verdicts.get(match.rule_id, CONTINUE)


async def test_without_rules_a_message_is_not_looked_at() -> None:
    hooks = hooks_with(message_rules(Settings()))
    assert type(hooks) is Hooks
    assert hooks.websocket_message is None


async def test_a_hook_sees_what_the_rules_have_left() -> None:
    seen = []

    async def hook(flow: Flow, message: WebSocketMessage) -> Verdict:
        seen.append(message.payload)
        return Hold("plugin p")

    hooks = hooks_with(RULES)
    assert await ask(hooks, said(b"a")) is CONTINUE
    hooks.websocket_message = hook
    assert await ask(hooks, said(b"gone")) == Block("rule drop-messages 1")
    assert await ask(hooks, said(b"a")) == Hold("plugin p")
    hooks.websocket_message = None
    assert await ask(hooks, said(b"a")) is CONTINUE
    assert seen == [b"c"]


async def test_each_rule_that_fires_is_told_behind_what_it_did() -> None:
    hooks = hooks_with(RULES)
    listener = hooks.rule_match = Listener({})
    assert await ask(hooks, said(b"a")) is CONTINUE
    assert await ask(hooks, said(b"no")) is CONTINUE
    assert await ask(hooks, said(b"gone")) == Block("rule drop-messages 1")
    assert listener.heard == [
        ("modify-messages 1", b"b"),
        ("modify-messages 2", b"c"),
        ("drop-messages 1", b"gone"),
    ]


async def test_who_hears_of_a_rule_may_block_the_message_before_anybody_else_sees_it() -> None:
    seen = []

    async def hook(flow: Flow, message: WebSocketMessage) -> Verdict:
        seen.append(message.payload)
        return CONTINUE

    hooks = hooks_with(RULES)
    listener = hooks.rule_match = Listener({"modify-messages 1": Block("plugin p")})
    hooks.websocket_message = hook
    assert await ask(hooks, said(b"a")) == Block("plugin p")
    assert listener.heard == [("modify-messages 1", b"b")]
    assert seen == []


@pytest.mark.parametrize("verdict", [CONTINUE, Hold("plugin q"), Block("plugin q")])
async def test_a_hold_waits_for_the_other_rules_and_hooks(verdict: Verdict) -> None:
    async def hook(flow: Flow, message: WebSocketMessage) -> Verdict:
        return verdict

    hooks = hooks_with(RULES)
    listener = hooks.rule_match = Listener(
        {"modify-messages 1": Hold("plugin p"), "modify-messages 2": Hold("plugin r")}
    )
    hooks.websocket_message = hook
    expected = verdict if isinstance(verdict, Block) else Hold("plugin p")
    assert await ask(hooks, said(b"a")) == expected
    assert len(listener.heard) == 2


@pytest.mark.parametrize("verdict", [Hold("plugin p"), Block("plugin p", 502)])
async def test_a_message_that_a_rule_drops_is_past_deciding(verdict: Verdict) -> None:
    hooks = hooks_with(RULES)
    hooks.rule_match = Listener({"drop-messages 1": verdict})
    assert await ask(hooks, said(b"gone")) == Block("rule drop-messages 1")


async def test_what_is_made_of_a_message_is_what_the_next_rule_sees() -> None:
    async def edit(match: RuleMatch) -> Verdict:
        if match.message is not None and match.rule_id == "modify-messages 1":
            match.message.payload = b"bb"
        return CONTINUE

    hooks = hooks_with(RULES)
    hooks.rule_match = edit
    message = said(b"a")
    assert await ask(hooks, message) is CONTINUE
    assert message.payload == b"cc"
