"""docs/filters.md is true: its operators are the language's, and its examples find what it says."""

from __future__ import annotations

import re

import pytest

from proxy_core.model.flow import Flow
from proxy_core.policy.filters import Filter
from proxy_core.policy.filters.operators import OPERATORS, Operand
from tests.policy.flows import answered, request_flow, web_socket
from tests.project.tree import ROOT

_TEXT = (ROOT / "docs" / "filters.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| `~(\w+)(?: (\w+))?` \| (.+) \|$", re.MULTILINE)
_BLOCK = re.compile(r"```filters\n(.*?)```", re.DOTALL)

HTML = (b"content-type", b"text/html")
JSON = (b"content-type", b"application/json")


def to(authority: bytes = b"test", path: bytes = b"/", status: int = 200) -> Flow:
    return answered(status=status, flow=request_flow(authority=authority, path=path))


def slow(status: int) -> Flow:
    flow = answered(status=status)
    flow.ended = flow.started + 2.5
    return flow


changed = request_flow()
changed.edited_by = ("plugin header-modifier",)
limited = request_flow()
limited.notes = ("body over the limit streamed on",)

# expression -> a flow that it finds, and one that it does not
EXAMPLES: dict[str, tuple[Flow, Flow]] = {
    r"example\.com": (to(b"example.com"), to(b"examplexcom")),
    r"~d example\.com$ & ~c 5xx": (to(b"a.example.com", status=502), to(b"a.example.com")),
    "~m post ~hq 'content-type: .*json'": (request_flow(JSON, method=b"POST"), request_flow(JSON)),
    '~bs "password" !~t html': (answered(JSON, body=b"Password"), answered(HTML, body=b"password")),
    "~q & ~u /api/": (request_flow(path=b"/api/x"), to(path=b"/api/x")),
    "!(~a | ~c 304)": (to(), to(status=304)),
    r'~u "/(login|logout)(\?|$)"': (to(path=b"/login?x"), to(path=b"/login-help")),
    "~websocket & ~bq subscribe": (
        web_socket((True, b"subscribe")),
        web_socket((False, b"subscribe")),
    ),
    "~c 200-299 ~time >2s": (slow(204), slow(404)),
    "~sizes >1m | ~sizeq >1m": (answered(body=bytes(1024 * 1024 + 1)), answered(body=b"x")),
    "~by header-modifier": (changed, to()),
    "~e | ~note limit": (limited, to()),
}


def _documented_examples() -> list[str]:
    block = _BLOCK.search(_TEXT)
    assert block is not None
    return [re.split(r" {2,}", line)[0] for line in block.group(1).splitlines()]


def test_the_operators_are_those_of_the_language() -> None:
    rows = {name: (operand, text) for name, operand, text in _ROW.findall(_TEXT)}
    assert list(rows) == sorted(rows)
    assert rows == {
        name: ("" if operator.operand is Operand.NONE else operator.operand.value, operator.help)
        for name, operator in OPERATORS.items()
    }


@pytest.mark.parametrize("expression", _documented_examples())
def test_an_example_finds_what_the_document_says(expression: str) -> None:
    found, passed_over = EXAMPLES[expression]
    assert Filter(expression)(found)
    assert not Filter(expression)(passed_over)
