"""The grammar: trees, printing, and errors that say where and what to do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.errors import FilterError
from proxy_core.policy.filters import Filter
from proxy_core.policy.filters.nodes import And, Is, Matches, Node, Not, Or, Within
from proxy_core.policy.filters.operators import OPERATORS, Operand
from proxy_core.policy.filters.parser import MAX_DEPTH, MAX_LENGTH, parse
from tests.policy.flows import answered

A, B, C = Is("a"), Is("e"), Is("q")


def u(pattern: str) -> Matches:
    return Matches("u", pattern)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("~a", A),
        ("  ~a\t", A),
        ("foo", u("foo")),
        ("~u foo", u("foo")),
        ("~u 'foo ~u bar' ~u voing", And((u("foo ~u bar"), u("voing")))),
        (r"~u 'foobar\"\''", u("foobar\"'")),
        (r'~u "foo \'bar"', u("foo 'bar")),
        (r'~u "a\.b\\.c\d"', u(r"a\.b\.c\d")),
        ('""', u("")),
        ("~m'get'", Matches("m", "get")),
        ("~a & ~e", And((A, B))),
        ("~a&~e", And((A, B))),
        ("~a ~e", And((A, B))),
        ("~a | ~e", Or((A, B))),
        ("~a | ~e & ~q", Or((A, And((B, C))))),
        ("~a & ~e | ~q", Or((And((A, B)), C))),
        ("~a | ~e ~q", And((Or((A, B)), C))),
        ("~a ~e | ~q", And((A, Or((B, C))))),
        ("(~a ~e) | ~q", Or((And((A, B)), C))),
        ("~a & ~e & ~q", And((A, B, C))),
        ("~a & (~e & ~q)", And((A, And((B, C))))),
        ("!~a", Not(A)),
        ("! ~a", Not(A)),
        ("!!~a", Not(Not(A))),
        ("!~a & ~e", And((Not(A), B))),
        ("!(~a | ~e)", Not(Or((A, B)))),
        ("!~a !~e", And((Not(A), Not(B)))),
        ("a|b", u("a|b")),
        ("foo&bar", u("foo&bar")),
        ("~u &x ~e", And((u("&x"), B))),
        ("~u !x", u("!x")),
        ("~c 200", Within("c", "200")),
        ("~c 200|~c 404", Or((Within("c", "200"), Within("c", "404")))),
        ("~c >=400 & ~e", And((Within("c", ">=400"), B))),
        ("foobar ~h rex", And((u("foobar"), Matches("h", "rex")))),
        ("~s шгн", And((Is("s"), u("шгн")))),
        (":~q", And((u(":"), C))),
    ],
)
def test_an_expression_has_this_tree(text: str, node: Node) -> None:
    assert parse(text) == node


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("", 1, "is empty; write ~all"),
        (" ", 1, "is empty; write ~all"),
        ("~b", 3, "~b needs a regular expression"),
        ("~b ~q", 4, "~b needs a regular expression"),
        ("~q ~x", 4, "~x is no operator"),
        ("~", 1, "~ is no operator"),
        ("~qq", 1, "~qq is no operator"),
        ("~h [", 5, "[ is not a regular expression"),
        ("~u a(", 6, "an expression is missing"),
        ("~u a**", 6, "a** is not a regular expression"),
        ("(~a", 1, "is not closed; add )"),
        ("~a)", 3, "closes nothing"),
        ("()", 2, "an expression is missing"),
        ("~a &", 5, "an expression is missing"),
        ("!", 2, "an expression is missing"),
        ("& ~a", 1, "nothing stands before &"),
        ("~a | | ~e", 6, "nothing stands before |"),
        ("~a && ~e", 5, "nothing stands before &"),
        ("~u 'a", 4, "does not end; add '"),
        ("~c x", 4, "'x' is not a number; write one like 404, 4xx"),
        ("~c", 3, "'' is not a number"),
        ("~c 500-400", 4, "ends before it begins"),
        ("~size 10q", 7, "'10q' is not a size; write one like 100"),
        ("~time 1k", 7, "'1k' is not a time"),
        ("a" * (MAX_LENGTH + 1), MAX_LENGTH + 1, f"at most {MAX_LENGTH} pass"),
    ],
)
def test_an_error_says_where_it_is_and_what_to_do(text: str, column: int, part: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert part in str(caught.value)
    assert caught.value.column == column
    assert f"column {column}:" in str(caught.value)


def test_brackets_may_be_nested_so_deep_and_no_deeper() -> None:
    assert parse("(" * MAX_DEPTH + "~a" + ")" * MAX_DEPTH) == A
    deep = parse("!" * MAX_DEPTH + "~a")
    assert str(deep) == "!" * MAX_DEPTH + "~a"
    for text in ("(" * (MAX_DEPTH + 1) + "~a", "!" * 4000 + "~a", "!(" * 2000):
        with pytest.raises(FilterError, match="inside each other"):
            parse(text)


def test_a_long_expression_that_is_flat_passes() -> None:
    made = Filter(" | ".join(["~e"] * 500))
    assert made(answered()) is False
    assert isinstance(made.node, Or)
    assert len(made.node.operands) == 500


WORDS = st.text("aB0 é'\"~!&-:/\t\n", min_size=1, max_size=8) | st.sampled_from([r"\.a\\", "(a|b)"])


def _leaf(name: str) -> st.SearchStrategy[Node]:
    match OPERATORS[name].operand:
        case Operand.NONE:
            return st.just(Is(name))
        case Operand.REGEX:
            return WORDS.map(lambda pattern: Matches(name, pattern))
        case _:
            ranges = st.sampled_from(["0", "7", ">5", "<=12", "3-9"])
            return ranges.map(lambda text: Within(name, text))


def _branches(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(inner, min_size=2, max_size=4).map(tuple)
    return st.one_of(inner.map(Not), several.map(And), several.map(Or))


NODES: st.SearchStrategy[Node] = st.recursive(
    st.sampled_from(sorted(OPERATORS)).flatmap(_leaf), _branches, max_leaves=8
)


@given(NODES)
def test_what_a_tree_prints_has_the_same_tree(node: Node) -> None:
    assert parse(str(node)) == node


_SIGNS = ["~", "!", "&", "|", "(", ")", "'", '"', "\\", " ", ">", "[", "*", "é", "\0", "\ud800"]
_WORDS = ["~b ", "~c ", "~size ", "~q", "~u ", "4xx", "a", "{1,2}", "(?=", "\\1"]
PARTS = st.sampled_from([*_SIGNS, *_WORDS])


@given(st.lists(PARTS, max_size=30).map("".join) | st.text(max_size=60))
def test_any_text_is_a_filter_or_an_error_of_ours(text: str) -> None:
    try:
        made = Filter(text)
    except FilterError as error:
        columns = range(1, len(text) + 2)
        assert error.column in columns  # noqa: PT017 - not every text is wrong
    else:
        assert made(answered(body=b"abc")) in (True, False)
