"""A filter: an expression that has been read, and answers about flows or their messages.

The language is mitmproxy's with a few operators more (docs/filters.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from proxy_core.model.flow import Flow
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.policy.filters.nodes import And, Is, Leaf, Matches, Node, Not, Or, Within
from proxy_core.policy.filters.parser import parse
from proxy_core.policy.filters.predicates import combine, compile_leaf, compile_node, search_of

_ABOUT_RESPONSES = frozenset({"a", "b", "bs", "c", "h", "hs", "q", "s", "sizes", "size", "t", "ts"})
_ABOUT_REQUEST_BODIES = frozenset({"b", "bq"})
_ABOUT_RESPONSE_BODIES = frozenset({"b", "bs"})


class Filter:
    """Call it with a flow; `text` is the expression as given, `node` its tree."""

    __slots__ = (
        "matches",
        "needs_request_body",
        "needs_response",
        "needs_response_body",
        "node",
        "text",
    )

    def __init__(self, text: str) -> None:
        """Read an expression. Raises FilterError, which says where it is wrong and what to do."""
        self.text = text
        self.node = parse(text)
        self.matches = compile_node(self.node)
        """Tell whether a flow matches, at any point of the flow's way. Never raises."""
        operators = frozenset(_operators(self.node))
        self.needs_response = bool(operators & _ABOUT_RESPONSES)
        """Whether the answer may be another one once there is a response."""
        self.needs_request_body = bool(operators & _ABOUT_REQUEST_BODIES)
        """Whether a request's body is looked at: before it has passed, there is none."""
        self.needs_response_body = bool(operators & _ABOUT_RESPONSE_BODIES)
        """Whether a response's body is looked at."""

    def __call__(self, flow: Flow) -> bool:
        """Tell whether a flow matches."""
        return self.matches(flow)

    def __repr__(self) -> str:
        return f"Filter({self.text!r})"


class MessageFilter:
    """A filter of WebSocket messages: `~b`, `~bq` and `~bs` ask the message, all else its flow."""

    __slots__ = ("_matches", "text")

    def __init__(self, text: str) -> None:
        """Read an expression. Raises FilterError."""
        self.text = text
        self._matches = combine(parse(text), _of_message)

    def __call__(self, flow: Flow, message: WebSocketMessage) -> bool:
        """Tell whether a message matches, by its whole payload."""
        return self._matches((flow, message))

    def __repr__(self) -> str:
        return f"MessageFilter({self.text!r})"


_Message = tuple[Flow, WebSocketMessage]


def _of_message(leaf: Leaf) -> Callable[[_Message], bool]:
    if isinstance(leaf, Matches) and leaf.operator in ("b", "bq", "bs"):
        search = search_of(leaf)
        senders = {"b": (True, False), "bq": (True,), "bs": (False,)}[leaf.operator]
        return lambda asked: asked[1].from_client in senders and search(asked[1].payload)
    of_flow = compile_leaf(leaf)
    return lambda asked: of_flow(asked[0])


def _operators(node: Node) -> Iterator[str]:
    match node:
        case Is(name) | Matches(name) | Within(name):
            yield name
        case Not(operand):
            yield from _operators(operand)
        case And(operands) | Or(operands):
            for operand in operands:
                yield from _operators(operand)
