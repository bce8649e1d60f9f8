"""Line diffs: what they say leads from one text to the other, whatever the texts are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from int3rceptor_tui.view_model.line_diff import MOST_EDITS, line_diff

LINES = st.lists(st.sampled_from("abc"), max_size=12)


def shown(old: str, new: str, most: int = MOST_EDITS) -> str:
    """The script as `-a +b  c`."""
    words = []
    for edit in line_diff(old, new, most):
        text = new[edit.new] if edit.new is not None else old[edit.old or 0]
        words.append(edit.mark + text)
    return " ".join(words)


def test_what_is_the_same_is_kept_and_only_the_rest_replaced() -> None:
    assert shown("abcd", "abxd") == " a  b -c +x  d"
    assert shown("abc", "abc") == " a  b  c"
    assert shown("", "ab") == "+a +b"
    assert shown("ab", "") == "-a -b"
    assert shown("", "") == ""


def test_the_script_is_the_shortest() -> None:
    marks = [edit.mark for edit in line_diff("abcabba", "cbabac")]
    assert len(marks) - marks.count(" ") == 5


def test_beyond_the_limit_all_between_the_common_ends_is_replaced() -> None:
    assert shown("a1b2z", "a3b4z", most=3) == " a -1 -b -2 +3 +b +4  z"
    assert shown("a1b2z", "a3b4z", most=4) == " a -1 +3  b -2 +4  z"


@given(LINES, LINES, st.integers(0, 30))
def test_the_script_makes_one_out_of_the_other(old: list[str], new: list[str], most: int) -> None:
    script = line_diff(old, new, most)
    assert [old[edit.old] for edit in script if edit.old is not None] == old
    assert [new[edit.new] for edit in script if edit.new is not None] == new
    for edit in script:
        match edit.mark:
            case " ":
                assert edit.old is not None
                assert edit.new is not None
                assert old[edit.old] == new[edit.new]
            case "-":
                assert edit.new is None
            case "+":
                assert edit.old is None
