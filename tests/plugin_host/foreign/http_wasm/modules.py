"""Handlers in the text format, with the imports they name."""

from __future__ import annotations

from typing import Final

from proxy_core.plugin_host.foreign.http_wasm.functions import FUNCTIONS
from tests.plugin_host.guests import wasm

NEXT: Final = '(func (export "handle_request") (result i64) (i64.const 1))'
NOTHING: Final = '(func (export "handle_response") (param i32 i32))'


def imports(*names: str) -> str:
    """The text of imports from `http_handler`, each under its own name."""
    lines = []
    for name in names:
        function = FUNCTIONS[name]
        result = "" if function.result is None else f"(result {function.result})"
        params = " ".join(function.params)
        lines.append(f'(import "http_handler" "{name}" (func ${name} (param {params}) {result}))')
    return "\n".join(lines)


def text(*pieces: str) -> str:
    """Data from address 16 on: the pieces, one after the other."""
    return f'(data (i32.const 16) "{"".join(pieces)}")'


def at(piece: str, *before: str) -> str:
    """Pointer and length of a piece that stands behind others in `text`."""
    start = 16 + sum(len(other) for other in before)
    return f"(i32.const {start}) (i32.const {len(piece)})"


def handler(
    *used: str,
    request: str = "",
    answer: str = "(i64.const 1)",
    response: str = "",
    start: str = "",
    more: str = "",
    pages: int = 1,
) -> bytes:
    """A handler that uses host functions by name.

    `request` runs before `answer` is returned; in `response`, locals 0 and 1 are the context and
    whether there was an error; `start` runs while the module is instantiated.
    """
    begin = f"(func $begin {start}) (start $begin)" if start else ""
    return wasm(
        f"""(module {imports(*used)} (memory (export "memory") {pages}) {more} {begin}
          (func (export "handle_request") (result i64) {request} {answer})
          (func (export "handle_response") (param i32 i32) {response}))"""
    )
