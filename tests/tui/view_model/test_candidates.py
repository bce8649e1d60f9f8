"""What the prompt offers, on one line."""

from __future__ import annotations

from rich.cells import cell_len

from int3rceptor_tui.view_model.candidates import candidate_pieces

NAMES = ("one", "two ", "three", "four", "five")


def line(chosen: int | None, width: int) -> str:
    pieces = candidate_pieces(NAMES, chosen, width)
    assert cell_len("".join(text for text, _ in pieces)) <= width
    return "".join(text for text, _ in pieces)


def test_as_many_as_fit_are_shown_and_that_there_are_more() -> None:
    assert line(None, 80) == " one  two  three  four  five "
    assert line(None, 15) == " one  two …"
    assert line(0, 15) == " one  two …"


def test_the_chosen_one_is_in_sight_and_marked() -> None:
    assert line(2, 15) == " three  four …"
    assert line(4, 15) == " five "
    assert (" three ", "cursor") in candidate_pieces(NAMES, 2, 15)
    assert all(name == "dim" for _, name in candidate_pieces(NAMES, None, 15))


def test_one_that_does_not_fit_is_cut_and_none_give_nothing() -> None:
    assert line(2, 4) == " thr"
    assert candidate_pieces((), None, 80) == []


def test_what_is_offered_can_be_drawn() -> None:
    assert candidate_pieces(("a\x1b[31m",), None, 80) == [(" a␛[31m ", "dim")]
