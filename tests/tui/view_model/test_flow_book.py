from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from int3rceptor_tui.view_model.flow_book import FlowBook
from proxy_core.model.ids import FlowId
from tests.tui.fake_control import make_summary


def ids_of(book: FlowBook) -> list[int]:
    return [book.key_at(index) for index in range(len(book))]


def test_a_late_flow_takes_its_place_by_number() -> None:
    book = FlowBook()
    book.update([make_summary(number) for number in (1, 4, 2, 3)])
    assert ids_of(book) == [1, 2, 3, 4]
    assert book.index_of(3) == 2
    assert book.at(2).id == 3


def test_a_flow_that_changes_keeps_its_place() -> None:
    book = FlowBook()
    book.update([make_summary(1), make_summary(2)])
    book.update([make_summary(1, status=404)])
    assert ids_of(book) == [1, 2]
    assert book.at(0).status == 404


@given(st.sets(st.integers(1, 40)), st.sets(st.integers(1, 40)))
def test_what_is_gone_is_forgotten_and_nothing_else(known: set[int], gone: set[int]) -> None:
    book = FlowBook()
    book.update([make_summary(number) for number in sorted(known)])
    book.update([], [FlowId(number) for number in sorted(gone)])
    assert ids_of(book) == sorted(known - gone)
    assert all(book.get(FlowId(number)) is None for number in gone)
