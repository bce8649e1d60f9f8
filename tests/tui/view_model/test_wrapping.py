"""Long lines, folded into rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from int3rceptor_tui.view_model.visible import visible
from int3rceptor_tui.view_model.wrapping import wrap


def texts(rows: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(text for text, _ in row) for row in rows]


def test_what_fits_is_one_row_and_so_is_nothing() -> None:
    assert wrap([("key", "key"), (": ", "dim"), ("v" * 15, "")], 20) == [
        [("key", "key"), (": ", "dim"), ("v" * 15, "")]
    ]
    assert wrap([], 20) == [[]]
    assert wrap([("", "")], 20) == [[]]


def test_what_goes_on_is_set_in_and_keeps_its_style() -> None:
    assert wrap([("a" * 18, "key"), ("b" * 20, "good")], 20) == [
        [("a" * 18, "key"), ("bb", "good")],
        [("  ", ""), ("b" * 18, "good")],
    ]


def test_words_are_left_whole_where_that_does_not_cost_much() -> None:
    assert texts(wrap([("name: ", "dim"), ("one two, three four five", "")], 20)) == [
        "name: one two, ",
        "  three four five",
    ]
    assert texts(wrap([("ab " + "x" * 20, "")], 20)) == ["ab " + "x" * 17, "  xxx"]


def test_a_wide_character_and_a_letter_with_its_accent_are_not_parted() -> None:
    assert texts(wrap([("a日本", "")], 2)) == ["a", "日", "本"]
    assert texts(wrap([("abe\u0301d", "")], 3)) == ["abe\u0301", "d"]
    assert texts(wrap([("日本", "")], 1)) == ["日", "本"]


@given(st.lists(st.tuples(st.text(max_size=60), st.sampled_from(["", "key"]))), st.integers(2, 90))
def test_nothing_is_lost_and_no_row_is_wider_than_the_window(
    pieces: list[tuple[str, str]], width: int
) -> None:
    safe = [(visible(text), style) for text, style in pieces]
    rows = texts(wrap(safe, width))
    assert all(cell_len(row) <= width for row in rows)
    indent = 2 if width >= 20 else 0
    joined = rows[0] + "".join(row[indent:] for row in rows[1:])
    assert joined == "".join(text for text, _ in safe)
