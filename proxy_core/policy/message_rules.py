"""Rules for WebSocket messages: what is dropped, and what is replaced in the others.

Drops are asked first, about the message as it came; then the edits, each about what the one before
has left. A rule is known by its option and its place there: `modify-messages 2`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from proxy_core.config import Replacement, Settings
from proxy_core.errors import ConfigError, FilterError
from proxy_core.model.flow import Flow
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.policy.filters import MessageFilter
from proxy_core.policy.filters.patterns import NotReplacedError, PatternError, compile_replace

_MODIFY, _DROP = "modify-messages", "drop-messages"


@dataclass(frozen=True, slots=True)
class Rule:
    """What people and plugins know of a rule."""

    rule_id: str
    """Its option and its place there."""
    drops: bool = False
    """Whether the message goes no further."""

    @property
    def by(self) -> str:
        """Its name among those who have edited a flow."""
        return f"rule {self.rule_id}"


@dataclass(frozen=True, slots=True)
class _Drop:
    rule: Rule
    matches: MessageFilter


@dataclass(frozen=True, slots=True)
class _Edit:
    rule: Rule
    matches: MessageFilter
    replace: Callable[[bytes], bytes]


class MessageRules:
    """Makes of one message after the other what the rules say; false where there are none."""

    __slots__ = ("_drops", "_edits")

    def __init__(self, modify: Sequence[Replacement], drop: Sequence[str], limit: int) -> None:
        """Let no message become larger than `limit` bytes. Raises ConfigError."""
        self._drops = tuple(
            _Drop(Rule(f"{_DROP} {number}", drops=True), _filter(_DROP, expression))
            for number, expression in enumerate(drop, 1)
        )
        self._edits = tuple(_edit(number, item, limit) for number, item in enumerate(modify, 1))

    def __bool__(self) -> bool:
        return bool(self._drops or self._edits)

    def fire(self, flow: Flow, message: WebSocketMessage) -> Iterator[Rule]:
        """Yield each rule that fires; one that edits has put its `payload` into the message.

        The rules behind it see what is in the message when the iteration goes on. A rule that drops
        is the last.
        """
        for drop in self._drops:
            if drop.matches(flow, message):
                yield drop.rule
                return
        for edit in self._edits:
            if not edit.matches(flow, message):
                continue
            try:
                edited = edit.replace(message.payload)
            except NotReplacedError as error:
                _note(flow, f"{edit.rule.by} left messages as they were: {error}")
                continue
            if edited != message.payload:
                message.payload = edited
                message.by = (*message.by, edit.rule.by)
                yield edit.rule


def message_rules(settings: Settings) -> MessageRules:
    """Return the rules that are set. Raises ConfigError for what is wrong with one."""
    limit = settings.limits.websocket_held
    return MessageRules(settings.modify_messages, settings.drop_messages, limit)


def _filter(option: str, expression: str) -> MessageFilter:
    try:
        return MessageFilter(expression)
    except FilterError as error:
        raise ConfigError(f"--{option}, the filter {expression!r}: {error}") from error


def _edit(number: int, item: Replacement, limit: int) -> _Edit:
    expression = "~all" if item.filter is None else item.filter
    try:
        replace = compile_replace(item.pattern, item.replacement, limit)
    except PatternError as error:
        at = "" if error.at is None else f" at character {error.at + 1}"
        raise ConfigError(
            f"--{_MODIFY}: {item.pattern!r} is no regular expression: {error}{at}; "
            "put \\ before a character that stands for itself"
        ) from error
    return _Edit(Rule(f"{_MODIFY} {number}"), _filter(_MODIFY, expression), replace)


def _note(flow: Flow, note: str) -> None:
    if note not in flow.notes:
        flow.notes = (*flow.notes, note)
