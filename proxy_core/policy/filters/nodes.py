"""The tree of a filter expression: frozen values that print as an expression with the same tree."""

from __future__ import annotations

from dataclasses import dataclass

RESERVED = "()~'\""
"""Characters that end a bare word; white space does too."""


@dataclass(frozen=True, slots=True)
class Is:
    """An operator without an operand: `~e`."""

    operator: str

    def __str__(self) -> str:
        return f"~{self.operator}"


@dataclass(frozen=True, slots=True)
class Matches:
    """An operator with a regular expression: `~h json`; a bare expression is `~u`."""

    operator: str
    pattern: str

    def __str__(self) -> str:
        return f"~{self.operator} {quoted(self.pattern)}"


@dataclass(frozen=True, slots=True)
class Within:
    """An operator with a number or a range of numbers: `~c 404`, `~c 4xx`, `~size >10k`."""

    operator: str
    range: str
    """As it was written."""

    def __str__(self) -> str:
        return f"~{self.operator} {self.range}"


@dataclass(frozen=True, slots=True)
class Not:
    """What does not match `operand`."""

    operand: Node

    def __str__(self) -> str:
        return f"!{_grouped(self.operand)}"


@dataclass(frozen=True, slots=True)
class And:
    """What matches all of `operands`, two or more."""

    operands: tuple[Node, ...]

    def __str__(self) -> str:
        return " & ".join(map(_grouped, self.operands))


@dataclass(frozen=True, slots=True)
class Or:
    """What matches any of `operands`, two or more."""

    operands: tuple[Node, ...]

    def __str__(self) -> str:
        return " | ".join(map(_grouped, self.operands))


Leaf = Is | Matches | Within
Node = Leaf | Not | And | Or


def quoted(pattern: str) -> str:
    """Return a pattern as an operand: a bare word where it can be one."""
    if pattern and not any(c in RESERVED or c.isspace() for c in pattern):
        return pattern
    return '"' + pattern.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _grouped(node: Node) -> str:
    return f"({node})" if isinstance(node, And | Or) else str(node)
