"""Every place in the source at which a coroutine of the proxy may have to wait.

A site is an `await`, an `async for`, or an item of an `async with`. What is read here is the
source, not what happened to run: a new await is a new site at once.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import proxy_core

ROOT = Path(proxy_core.__file__).parent
ROOMS = ("exchange", "net")
_NO_WAITING = ("asyncio.timeout", "asyncio.timeout_at")
"""Context managers that are asynchronous in form only."""


@dataclass(frozen=True, order=True, slots=True)
class Site:
    """A place to wait at; `file` is relative to the package, `text` the expression."""

    file: str
    line: int
    column: int
    function: str
    text: str

    def __str__(self) -> str:
        return f"proxy_core/{self.file}:{self.line}: {self.function}: {self.text}"

    @property
    def name(self) -> tuple[str, str, str]:
        """What stays as it is when lines are moved: file, function and text."""
        return self.file, self.function, self.text


@cache
def sites() -> dict[tuple[str, int, int], Site]:
    """Every site of the rooms, by where it is: file, line and column as in a syntax tree.

    What is waited for at the end of an `async with` is where its context is, or the statement.
    """
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).glob("*.py")):
            file = path.relative_to(ROOT).as_posix()
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for line, column, site in _sites_in(tree, file, ""):
                found[file, line, column] = site
    return found


def _sites_in(node: ast.AST, file: str, function: str) -> Iterator[tuple[int, int, Site]]:
    for child in ast.iter_child_nodes(node):
        inside = function
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inside = f"{function}.{child.name}".lstrip(".")
        for place in _places(child):
            site = Site(file, place.lineno, place.col_offset, function, ast.unparse(place))
            yield place.lineno, place.col_offset, site
            if isinstance(child, ast.AsyncWith):
                yield child.lineno, child.col_offset, site
        yield from _sites_in(child, file, inside)


def _places(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Await):
        yield node
    elif isinstance(node, ast.AsyncFor):
        yield node.iter
    elif isinstance(node, ast.AsyncWith):
        for item in node.items:
            made = item.context_expr
            if not (isinstance(made, ast.Call) and ast.unparse(made.func) in _NO_WAITING):
                yield made
    elif isinstance(node, ast.comprehension) and node.is_async:
        yield node.iter
