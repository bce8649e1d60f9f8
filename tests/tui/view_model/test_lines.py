from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int3rceptor_tui.view_model.lines import (
    FixedLines,
    FormLines,
    HexLines,
    JoinedLines,
    Lines,
    TextLines,
    around,
    find,
)


def texts(lines: Lines) -> list[str]:
    return ["".join(text for text, _ in lines.line(index)) for index in range(len(lines))]


@given(st.binary(max_size=100))
def test_hex_holds_every_byte_in_its_place(data: bytes) -> None:
    rows = texts(HexLines(data))
    assert bytes.fromhex("".join(row[10:58] for row in rows)) == data
    assert [int(row[:8], 16) for row in rows] == list(range(0, len(data), 16))
    assert all(row.isprintable() for row in rows)


def test_hex_rows_are_aligned() -> None:
    assert texts(HexLines(b"GET / HTTP/1.1\r\n\x80")) == [
        "00000000  47 45 54 20 2f 20 48 54  54 50 2f 31 2e 31 0d 0a  GET / HTTP/1.1..",
        "00000010  80" + " " * 48 + ".",
    ]


def test_hex_ends_where_the_data_ends() -> None:
    with pytest.raises(IndexError):
        HexLines(b"x").line(1)


def test_text_is_split_at_any_line_end() -> None:
    assert texts(TextLines("a\r\nb\rc\nd\u2028e\n")) == ["a", "b", "c", "d<U+2028>e", ""]


def test_tabs_go_to_their_stops() -> None:
    assert texts(TextLines("a\tb\n\tc")) == ["a   b", "    c"]


def test_long_lines_are_split_and_lose_nothing() -> None:
    rows = texts(TextLines("x" * 10_001 + "\ny"))
    assert [len(row) for row in rows] == [4000, 4000, 2001, 1]


@given(st.text())
def test_text_is_safe_to_draw(text: str) -> None:
    assert all(row.isprintable() for row in texts(TextLines(text)))


def test_form_fields_are_read() -> None:
    form = FormLines("name=J%C3%BCrgen+M&flag&empty=&a=1&a=%0A%1b&&eq=a=b")
    assert texts(form) == [
        "name = Jürgen M",
        "flag",
        "empty = ",
        "a = 1",
        "a = \u240a\u241b",
        "eq = a=b",
    ]


def test_joined_lines_are_those_of_their_parts_in_turn() -> None:
    joined = JoinedLines(FixedLines([]), TextLines("a\nb"), FixedLines([]), TextLines("c"))
    assert texts(joined) == ["a", "b", "c"]
    with pytest.raises(IndexError):
        joined.line(3)


@pytest.mark.parametrize(
    ("needle", "start", "backwards", "found"),
    [
        ("beta", 0, False, 1),
        ("beta", 1, False, 1),
        ("beta", 2, False, 3),
        ("beta", 4, False, 1),
        ("beta", 2, True, 1),
        ("beta", 0, True, 3),
        ("Beta", 0, False, 3),
        ("BETA", 0, False, None),
        ("omega", 0, False, None),
        ("", 2, False, 2),
    ],
)
def test_search_goes_round_and_minds_capitals_only_when_given_some(
    needle: str, start: int, backwards: bool, found: int | None
) -> None:
    lines = TextLines("alpha\nbeta\ngamma\nBeta\ndelta")
    assert find(lines, needle, around(len(lines), start, backwards)) == found


def test_search_finds_text_that_runs_over_pieces() -> None:
    assert find(FixedLines([[("Ho", "key"), ("st: a", "")]]), "host: a", [0]) == 0


def test_search_in_nothing_finds_nothing() -> None:
    assert find(FixedLines([]), "x", []) is None
