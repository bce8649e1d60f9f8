"""The message rules in front of the hooks."""

from __future__ import annotations

from proxy_core.config import Replacement, Settings
from proxy_core.exchange.hooks import Hooks
from proxy_core.exchange.ruled_hooks import hooks_with
from proxy_core.model.flow import Flow
from proxy_core.model.verdict import CONTINUE, Block, Hold, Verdict
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.policy.message_rules import MessageRules, message_rules
from tests.policy.flows import web_socket


def said(payload: bytes) -> WebSocketMessage:
    return WebSocketMessage(True, 1, 0.0, payload, len(payload))


async def test_without_rules_a_message_is_not_looked_at() -> None:
    hooks = hooks_with(message_rules(Settings()))
    assert type(hooks) is Hooks
    assert hooks.websocket_message is None


async def test_a_hook_sees_what_the_rules_have_left() -> None:
    seen = []

    async def hook(flow: Flow, message: WebSocketMessage) -> Verdict:
        seen.append(message.payload)
        return Hold("plugin p")

    hooks = hooks_with(MessageRules([Replacement("a", b"b")], ["~b gone"], 1000))
    ask = hooks.websocket_message
    assert ask is not None
    assert await ask(web_socket(), said(b"a")) is CONTINUE
    hooks.websocket_message = hook
    ask = hooks.websocket_message
    assert ask is not None
    assert await ask(web_socket(), said(b"gone")) == Block("rule drop-messages 1")
    assert await ask(web_socket(), said(b"a")) == Hold("plugin p")
    hooks.websocket_message = None
    assert await ask(web_socket(), said(b"a")) is CONTINUE
    assert seen == [b"b"]
