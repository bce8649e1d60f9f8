from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from int3rceptor_tui.view_model.visible import visible

ODD = st.sampled_from(
    "\x00\t\n\r\x1b\x7f\x85\x9b\xa0\xad\u0301\u034f\u115f\u1160\u200b\u200d\u202e\u2028\u2066"
    "\u2800\u3000\u3164\ue000\ufe0f\ufeff\uffff\ud800\udfff\U0001f3fb\U000e0041\U0010ffff"
)
ANY = st.text(st.characters() | ODD)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("GET /index.html", "GET /index.html"),
        ("a\nb\r\tc\x00", "a\u240ab\u240d\u2409c\u2400"),
        ("\x1b[31mred\x7f", "\u241b[31mred\u2421"),
        ("\x9b31m", "<U+009B>31m"),
        ("safe\u202egpj.exe", "safe<U+202E>gpj.exe"),
        ("pass\u200bword", "pass<U+200B>word"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468<U+200D>\U0001f469"),
        ("chunked\xa0", "chunked<U+00A0>"),
        ("a\u3000b", "a<U+3000>b"),
        ("\ue000\U0010ffff", "<U+E000><U+10FFFF>"),
        ("\ud800", "<U+D800>"),
        ("\u2764\ufe0f", "\u2764<U+FE0F>"),
        ("\U0001f44d\U0001f3fb", "\U0001f44d<U+1F3FB>"),
        ("\u2800\u3164\u115f", "<U+2800><U+3164><U+115F>"),
        ("\u65e5\u672c\u8a9e \u0440\u0443\u0441", "\u65e5\u672c\u8a9e \u0440\u0443\u0441"),
        ("na\xefve\x00", "na\xefve\u2400"),
        ("\U0001f600", "\U0001f600"),
    ],
)
def test_what_is_hidden_or_harmful_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_accents_stay_on_their_letters() -> None:
    thai = "\u0e17\u0e35\u0e48"
    for text in ("e\u0301", "a\u0302\u0301", thai, f"\u0101\u0301 {thai}"):
        assert visible(text) == text


def test_accents_without_a_letter_are_shown_as_numbers() -> None:
    assert visible("\u0301") == "<U+0301>"
    assert visible(" \u0301") == " <U+0301>"
    assert visible("\n\u0301") == "\u240a<U+0301>"
    assert visible("\u3164\u0301") == "<U+3164><U+0301>"


def test_a_pile_of_accents_is_cut_down_to_two() -> None:
    assert visible("e" + "\u0301" * 4) == "e\u0301\u0301<U+0301><U+0301>"


@given(ANY)
def test_nothing_but_printable_characters_comes_out(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert not any(unicodedata.category(c).startswith(("C", "Z")) for c in shown if c != " ")


@given(ANY)
def test_what_came_out_is_left_alone(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@given(st.text(ODD))
def test_what_is_escaped_takes_one_cell_a_character(text: str) -> None:
    assert cell_len(visible(text)) == len(visible(text))


@given(ANY)
def test_no_more_than_two_characters_in_a_row_take_no_cell(text: str) -> None:
    run = 2
    for character in visible(text):
        run = 0 if cell_len(character) else run + 1
        assert run <= 2, ascii(text)


@given(ANY, ANY)
def test_the_width_of_the_whole_is_that_of_its_parts(one: str, other: str) -> None:
    assert cell_len(visible(one) + visible(other)) == cell_len(visible(one)) + cell_len(
        visible(other)
    )


def test_the_quick_way_agrees_with_the_slow_one() -> None:
    # After a control character every character is looked at by itself.
    for code in (*range(0x10000), *range(0x10000, sys.maxunicode + 1, 61)):
        text = chr(code)
        assert visible("\n" + text) == "\u240a" + visible(text)
        if visible(text) == text:
            assert cell_len(text) in (1, 2), hex(code)
