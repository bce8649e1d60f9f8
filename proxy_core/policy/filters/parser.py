"""The grammar of the filter language: text to tree.

`!` binds tightest, then `&`, then `|`, and last what merely stands side by side, which is "and"
too. A word runs to the next white space, bracket, quote or tilde, so `a|b` is one word.
"""

from __future__ import annotations

from proxy_core.errors import FilterError
from proxy_core.policy.filters.nodes import RESERVED, And, Is, Matches, Node, Not, Or, Within
from proxy_core.policy.filters.operators import OPERATORS, Operand, Operator
from proxy_core.policy.filters.patterns import PatternError, compile_search
from proxy_core.policy.filters.ranges import parse_range

MAX_LENGTH = 4096
"""Characters of an expression."""

MAX_DEPTH = 50
"""Brackets and `!` inside each other."""

_SHOWN = 40


def parse(text: str) -> Node:
    """Return the tree of an expression. Raises FilterError."""
    if len(text) > MAX_LENGTH:
        raise FilterError(
            f"a filter of {len(text)} characters; at most {MAX_LENGTH} pass", MAX_LENGTH + 1
        )
    if not text.strip():
        raise FilterError("the filter is empty; write ~all for every flow", 1)
    return _Parser(text).parse()


class _Parser:
    """Recursive descent over the characters; columns count from 1."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._juxtaposed()
        if self._at < len(self._text):  # only a bracket ends the outermost expression
            raise self._error("this bracket closes nothing; remove it or open one")
        return node

    # --- the grammar, the loosest first

    def _juxtaposed(self) -> Node:
        parts = [self._any()]
        while self._peek() not in ("", ")"):
            parts.append(self._any())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _any(self) -> Node:
        parts = [self._every()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._every())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _every(self) -> Node:
        parts = [self._unary()]
        while self._peek() == "&":
            self._at += 1
            parts.append(self._unary())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _unary(self) -> Node:
        match self._peek():
            case "!":
                self._enter()
                operand = self._unary()
                self._depth -= 1
                return Not(operand)
            case "(":
                opened = self._at
                self._enter()
                node = self._juxtaposed()
                if self._peek() != ")":
                    raise self._error("this bracket is not closed; add )", opened)
                self._at += 1
                self._depth -= 1
                return node
            case "~":
                return self._operator()
            case "&" | "|" as sign:
                raise self._error(f"nothing stands before {sign}; quote it to search for it")
            case ")" | "":
                raise self._error("an expression is missing here; write one, such as ~all")
            case _:
                return self._matches(OPERATORS["u"])

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} brackets and ! inside each other; use fewer")
        self._at += 1

    def _operator(self) -> Node:
        start = self._at
        end = start + 1
        while end < len(self._text) and self._text[end].isascii() and self._text[end].isalpha():
            end += 1
        name = self._text[start + 1 : end]
        operator = OPERATORS.get(name)
        if operator is None:
            raise self._error(
                f"~{_shown(name)} is no operator; see docs/filters.md, or quote ~ to search for it"
            )
        self._at = end
        match operator.operand:
            case Operand.NONE:
                return Is(name)
            case Operand.REGEX:
                if self._peek() in ("", "(", ")", "~"):
                    raise self._error(f"~{name} needs a regular expression; quote what holds ()~")
                return self._matches(operator)
            case _:
                return self._within(name, operator.operand)

    def _matches(self, operator: Operator) -> Matches:
        start = self._at
        if self._text[start] in "'\"":
            pattern = self._quoted()
        else:
            pattern = self._word(RESERVED)
        try:
            compile_search(pattern, lines=operator.lines, binary=operator.binary)
        except PatternError as error:
            inside = 0 if error.at is None or self._text[start] in "'\"" else error.at
            raise self._error(
                f"{_shown(pattern)} is not a regular expression: {error}; "
                "put \\ before a character that stands for itself",
                start + inside,
            ) from error
        return Matches(operator.name, pattern)

    def _within(self, name: str, operand: Operand) -> Within:
        self._peek()
        start = self._at
        word = self._word(RESERVED + "&|!")
        try:
            parse_range(word, operand)
        except ValueError as error:
            raise self._error(f"~{name}: {error}", start) from error
        return Within(name, word)

    # --- characters

    def _peek(self) -> str:
        """Skip white space; return the next character, or nothing at the end."""
        text = self._text
        while self._at < len(text) and text[self._at].isspace():
            self._at += 1
        return text[self._at : self._at + 1]

    def _word(self, reserved: str) -> str:
        start = self._at
        while self._at < len(self._text):
            character = self._text[self._at]
            if character in reserved or character.isspace():
                break
            self._at += 1
        return self._text[start : self._at]

    def _quoted(self) -> str:
        """Read a quoted string: a backslash takes only itself and quotes back to themselves."""
        text, start = self._text, self._at
        quote = text[start]
        self._at += 1
        out: list[str] = []
        while self._at < len(text):
            character = text[self._at]
            self._at += 1
            if character == quote:
                return "".join(out)
            if character == "\\" and text[self._at : self._at + 1] in ("\\", '"', "'"):
                character = text[self._at]
                self._at += 1
            out.append(character)
        raise self._error(f"this string does not end; add {quote}", start)

    def _error(self, message: str, at: int | None = None) -> FilterError:
        return FilterError(message, (self._at if at is None else at) + 1)


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
