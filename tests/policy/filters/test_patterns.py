"""Patterns mean what Python's mean, and no text makes their search last."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.policy.filters.patterns import (
    SEARCHED,
    NotReplacedError,
    PatternError,
    compile_replace,
    compile_search,
)

_SIMPLE = ["a", "b", "A", ".", "\\.", "[ab]", "[^a]", "\\d", "\\w", "\\s", "\\b", "^", "$", "\\n"]
_REST = ["(a|b)", "(?:ab)", "a*", "b+", "a?", "b{1,2}", "b{,2}", "(?=a)", "(?!b)", "[[:a]", "|"]
PIECES = st.sampled_from([*_SIMPLE, *_REST])
TEXTS = st.text(alphabet="abAB1 .\n-", max_size=12)


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("binary", [False, True])
@given(pieces=st.lists(PIECES, max_size=6), text=TEXTS)
def test_a_pattern_means_what_it_means_to_python(
    lines: bool, binary: bool, pieces: list[str], text: str
) -> None:
    pattern = "".join(pieces)
    if not lines and not binary:
        text = text.replace("\n", "")  # no newline ends a URL, which is what this is for
    flags = re.I | (re.M if lines else 0) | (re.S if binary else 0)
    try:
        expected = re.search(pattern, text, flags) is not None
    except re.error:
        return
    search = compile_search(pattern, lines=lines, binary=binary)
    assert search(text.encode()) is expected


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "(x+x+)+y", "x.*x.*x.*xy", "(?=(a+))(a+)+b", r"((a|a)*)\1c"]
)
@pytest.mark.parametrize("letter", ["a", "x"])
def test_a_text_made_to_last_is_searched_in_bounded_time(pattern: str, letter: str) -> None:
    search = compile_search(pattern, binary=True)
    text = letter.encode() * 100_000 + b"!"
    started = time.process_time()
    search(text)
    assert time.process_time() - started < 5  # it would take hours


def test_only_the_beginning_of_a_text_is_searched() -> None:
    for pattern in ("needle", "need.e", "(?=needle)need"):
        for binary in (False, True):
            search = compile_search(pattern, binary=binary)
            assert search(b"x" * (SEARCHED - 6) + b"needle")
            assert not search(b"x" * SEARCHED + b"needle")


def test_text_that_is_not_utf_8_can_be_searched() -> None:
    for pattern in ("caf", "c.f", "(?=caf).", "^caf"):
        assert compile_search(pattern)(b"caf\xe9\xff")


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "a{2,1}", "\\", "(?<=a+"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_search(pattern)


def test_a_pattern_too_large_when_compiled_is_refused() -> None:
    for pattern in (r"(\pL{900})" * 20, "((a?){1000}b)" * 40):
        with pytest.raises(PatternError, match="too large"):
            compile_search(pattern, binary=True)


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@given(pieces=st.lists(PIECES, max_size=6), text=TEXTS)
def test_replacing_is_what_python_does(pieces: list[str], text: str) -> None:
    pattern = "".join(pieces).encode()
    try:
        expected = re.sub(pattern, lambda _: b"<\\1>", text.encode(), flags=re.S)
    except re.error:
        return
    replace = compile_replace(pattern.decode(), b"<\\1>", 10_000)
    assert replace(text.encode()) == expected


@pytest.mark.parametrize("pattern", ["b", "[b]", "b|$"])
def test_long_replacements_are_made_up_to_the_bound(pattern: str) -> None:
    text = b"abc" * 100
    long = b"\\1" * 120_000  # too long for all to be made before they are counted
    for replacement in (b"x" * 10, long):
        expected = re.sub(pattern.encode(), replacement.replace(b"\\", b"\\\\"), text)
        replace = compile_replace(pattern, replacement, len(expected))
        assert replace(text) == expected
        with pytest.raises(NotReplacedError, match="larger than"):
            compile_replace(pattern, replacement, len(expected) - 200)(text)
