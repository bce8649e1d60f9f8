from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from int3rceptor_tui.view_model.json_text import json_lines


def shown(text: str) -> str | None:
    lines = json_lines(text)
    if lines is None:
        return None
    return "\n".join(
        "".join(piece for piece, _ in lines.line(index)) for index in range(len(lines))
    )


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec="ascii"), max_size=8)
)
KEYS = st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
CONTAINERS = st.lists(VALUES, max_size=4) | st.dictionaries(KEYS, VALUES, max_size=4)


@settings(max_examples=40)
@given(CONTAINERS, st.sampled_from([None, 1, "\t"]))
def test_it_is_laid_out_as_the_standard_library_would(value: object, indent: int | None) -> None:
    assert shown(json.dumps(value, indent=indent)) == json.dumps(value, indent=2)


@settings(max_examples=60)
@given(CONTAINERS, st.floats(0, 1))
def test_a_text_that_was_cut_anywhere_is_laid_out_as_far_as_it_goes(
    value: object, share: float
) -> None:
    whole = json.dumps(value)
    text = whole[: 1 + int(share * (len(whole) - 1))]
    lines = json_lines(text, cut=True)
    assert lines is not None
    pieces = [piece for index in range(len(lines)) for piece, _ in lines.line(index)]
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_what_a_cut_text_ends_in_the_middle_of_comes_as_it_is() -> None:
    lines = json_lines('{"a": [1, {"b": "unfin', cut=True)
    assert lines is not None
    rows = ["".join(piece for piece, _ in lines.line(index)) for index in range(len(lines))]
    assert rows == ["{", '  "a": [', "    1,", "    {", '      "b": "unfin']


@pytest.mark.parametrize("value", [["a\\"], {'a"b': 1}, {"\x1f": ['\ud800\\"']}], ids=json.dumps)
def test_a_text_may_be_cut_within_an_escape(value: object) -> None:
    whole = json.dumps(value)
    for end in range(1, len(whole)):
        lines = json_lines(whole[:end], cut=True)
        assert lines is not None, whole[:end]
        pieces = [piece for index in range(len(lines)) for piece, _ in lines.line(index)]
        assert "".join("".join(pieces).split()) == "".join(whole[:end].split())


@pytest.mark.parametrize("text", ["[INFO] it began", "{color: red}", "[1, 2} and more"])
def test_what_only_begins_like_json_is_not_taken_for_it_when_cut(text: str) -> None:
    assert json_lines(text, cut=True) is None


def test_pieces_have_styles() -> None:
    lines = json_lines('{"a": ["x", -1.5e3, null, {}], "b": true}')
    assert lines is not None
    assert [list(lines.line(index)) for index in range(len(lines))] == [
        [("", ""), ("{", "dim")],
        [("  ", ""), ('"a"', "key"), (": ", "dim"), ("[", "dim")],
        [("    ", ""), ('"x"', "string"), (",", "dim")],
        [("    ", ""), ("-1.5e3", "number"), (",", "dim")],
        [("    ", ""), ("null", "number"), (",", "dim")],
        [("    ", ""), ("{}", "dim")],
        [("  ", ""), ("]", "dim"), (",", "dim")],
        [("  ", ""), ('"b"', "key"), (": ", "dim"), ("true", "number")],
        [("", ""), ("}", "dim")],
    ]


def test_tokens_stay_as_they_came() -> None:
    text = '{"a":1.10,"a":123456789012345678901234567890,"\\u0061":"\\/\\u00e9"}'
    assert shown(text) == (
        '{\n  "a": 1.10,\n  "a": 123456789012345678901234567890,\n  "\\u0061": "\\/\\u00e9"\n}'
    )


def test_texts_in_a_row_are_shown_one_after_another() -> None:
    assert shown('{"a":1}\n{"a":2}\n') == '{\n  "a": 1\n}\n{\n  "a": 2\n}'


def test_what_is_hidden_in_strings_is_shown() -> None:
    assert shown('["a\u202eb\x9b"]') == '[\n  "a<U+202E>b<U+009B>"\n]'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain text",
        "12",
        "<html>",
        "[info] started",
        "[1, 2",
        "[1 2]",
        "[1,]",
        "[,1]",
        "[1]]",
        "[1}",
        "[}",
        "{1}",
        '{"a"}',
        '{"a":}',
        '{"a":1,}',
        '["a":1]',
        '{"a":1 "b":2}',
        "{'a':1}",
        '["a]',
        '["a\\"]',
        "[01x]",
        "[truefalse]",
        "[1],[2]",
        "[1],",
        "[" * 1000,
        " " * 10 + "]",
    ],
)
def test_what_is_not_json_is_left_to_others(text: str) -> None:
    assert json_lines(text) is None


TOKENS = st.sampled_from([*'[]{},:" 1ae', "\\n", '\\"', "\\\\", '"a"', "true"])


@given(st.lists(TOKENS, max_size=20).map("".join))
def test_what_the_standard_library_reads_is_read_and_the_rest_is_not(text: str) -> None:
    try:
        value = json.loads(text)
    except ValueError:
        decoder, at = json.JSONDecoder(), 0
        try:
            while at < len(text):  # several texts in a row
                at += len(text[at:]) - len(text[at:].lstrip())
                _, at = decoder.raw_decode(text, at)
                at += len(text[at:]) - len(text[at:].lstrip())
        except ValueError:
            assert json_lines(text) is None
    else:
        if isinstance(value, list | dict | str):
            assert json_lines(text) is not None


def test_escapes_and_zeros_are_shown_not_judged() -> None:
    assert shown('["\\1\n", 007]') == '[\n  "\\1\u240a",\n  007\n]'


def test_depth_costs_nothing() -> None:
    deep = 50_000
    lines = json_lines("[" * deep + "]" * deep)
    assert lines is not None
    assert len(lines) == 2 * deep - 1
    assert "".join(text for text, _ in lines.line(deep - 1)).endswith("[]")
    assert max(len(text) for text, _ in lines.line(deep // 2)) == 80


def test_long_strings_go_on_in_lines_of_their_own() -> None:
    lines = json_lines('{"k": "' + "x" * 10_000 + '", "z": 1}')
    assert lines is not None
    texts = ["".join(text for text, _ in lines.line(index)) for index in range(len(lines))]
    assert max(map(len, texts)) <= 4002
    assert "".join(text.strip() for text in texts) == '{"k": "' + "x" * 10_000 + '","z": 1}'


def test_more_than_two_mebibytes_is_left_to_others() -> None:
    assert json_lines('"' + "x" * (2 * 1024 * 1024) + '"') is None


def test_more_lines_than_anybody_reads_are_left_to_others() -> None:
    assert json_lines("[" + "1," * 249_990 + "1]") is not None
    assert json_lines("[" + "1," * 250_000 + "1]") is None


@pytest.mark.parametrize("unit", ["\\a", "\\", "x", " ", "\\\\"])
def test_an_endless_string_is_refused_without_going_back(unit: str) -> None:
    assert json_lines('["' + unit * 500_000) is None
