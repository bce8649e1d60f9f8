"""What became of a body, as lines."""

from __future__ import annotations

import gzip

import pytest

from int3rceptor_tui.view_model.body_diff import MOST_LINES, MOST_ROWS, body_diff
from proxy_core.control.views import BodyView


def diff(before: bytes, after: bytes, content_type: str = "text/plain") -> list[str]:
    bodies = (BodyView(data, len(data), content_type) for data in (before, after))
    return ["".join(text for text, _ in row) for row in body_diff(*bodies)]


def test_json_on_one_line_is_told_apart_by_its_members() -> None:
    rows = diff(b'{"a":1,"secret":"x","b":[1,2]}', b'{"a":1,"secret":"***","b":[1,2]}')
    assert rows[1:] == [
        "  {",
        '    "a": 1,',
        '-   "secret": "x",',
        '+   "secret": "***",',
        '    "b": [',
        "      1,",
        "  ...",
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("1 a b x c d 2", "1 a b y c d 2", "  1|  a|  b|- x|+ y|  c|  d|  2"),
        ("0 1 a b x c d 2 3", "0 1 a b y c d 2 3", "  ...|  a|  b|- x|+ y|  c|  d|  ..."),
        ("x a b - c d x", "y a b - c d y", "- x|+ y|  a|  b|  -|  c|  d|- x|+ y"),
        ("x a b - - c d x", "y a b - - c d y", "- x|+ y|  a|  b|  ...|  c|  d|- x|+ y"),
    ],
)
def test_what_is_the_same_is_left_out_but_for_what_stands_near(
    before: str, after: str, expected: str
) -> None:
    old, new = (text.replace(" ", "\n").encode() for text in (before, after))
    assert "|".join(diff(old, new)[1:]) == expected


def test_json_that_differs_in_its_white_space_alone_is_told_apart_as_it_is() -> None:
    assert diff(b'{"a":1}', b'{"a": 1}')[1:] == ['- {"a":1}', '+ {"a": 1}']


def test_a_change_far_out_in_a_long_line_is_in_sight() -> None:
    line = b"x" * 1500
    rows = diff(line + b"old" + line, line + b"new" + line)
    assert [row[:40] for row in rows[1:]] == [
        "- …" + "x" * 24 + "old" + "x" * 10,
        "+ …" + "x" * 24 + "new" + "x" * 10,
    ]


def test_bytes_are_told_by_their_sizes_and_where_they_begin_to_differ() -> None:
    before = bytes(range(64))
    assert diff(before, before[:20] + b"\xff" + before[21:32]) == [
        "~ body  64 → 32",
        "  first difference at byte 20 (0x14)",
        "- 00000010  10 11 12 13 14 15 16 17  18 19 1a 1b 1c 1d 1e 1f  ................",
        "+ 00000010  10 11 12 13 ff 15 16 17  18 19 1a 1b 1c 1d 1e 1f  ................",
    ]


def test_bytes_of_which_the_end_is_missing_end_there() -> None:
    rows = diff(b"\0" * 32, b"\0" * 16)
    assert rows[1] == "  first difference at byte 16 (0x10)"
    assert rows[3] == "+ (ends here)"


@pytest.mark.parametrize(("before", "after"), [(b"", b"one\ntwo"), (b"one\ntwo", b"")])
def test_a_body_that_came_or_went_is_all_new_or_all_gone(before: bytes, after: bytes) -> None:
    mark = "-" if before else "+"
    assert diff(before, after)[1:] == [f"{mark} one", f"{mark} two"]


def test_the_same_text_in_another_coding_says_so() -> None:
    packed = gzip.compress(b"text")
    rows = body_diff(BodyView(packed, len(packed), None, "gzip"), BodyView(b"text", 4))
    assert rows[0][0][0].endswith("only the content coding differs")


def test_a_text_without_end_costs_a_bounded_number_of_lines() -> None:
    before = b"".join(b"%d\n" % number for number in range(2 * MOST_LINES))
    rows = diff(before, before.replace(b"1", b"one"))
    assert len(rows) <= MOST_ROWS + 3
    assert rows[-2].endswith(" lines more")
    assert rows[-1] == f"  no more than {MOST_LINES} lines and 512k were compared"


def test_what_differs_beyond_what_is_compared_as_text_is_told_by_its_place() -> None:
    same = b"line\n" * MOST_LINES
    rows = diff(same + b"a", same + b"b")
    assert rows[1] == f"  first difference at byte {len(same)} (0x{len(same):x})"
    assert rows[-1].startswith("  no more than")
    far = b"\0" * 2_000_000
    assert diff(far + b"a", far + b"b")[1].startswith("  first difference at byte 2000000 ")


def test_json_of_many_lines_is_laid_out_as_far_as_it_is_compared() -> None:
    before = b"[" + b",".join(b'{"a":%d}' % number for number in range(MOST_LINES)) + b"]"
    rows = diff(before, before.replace(b"7}", b"null}", 1))
    assert rows[3:8] == ["    {", '-     "a": 7', '+     "a": null', "    },", "    {"]
