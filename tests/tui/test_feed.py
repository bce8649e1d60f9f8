from __future__ import annotations

from int3rceptor_tui.feed import Books, Pump
from proxy_core.control.views import Update
from tests.tui.fake_control import FakeControl, make_line, make_plugin, make_summary


class Bench:
    """A pump whose clocks and terminal a test sets by hand."""

    def __init__(self) -> None:
        self.control = FakeControl()
        self.books = Books()
        self.updates: list[Update] = []
        self.statuses = 0
        self.behind = False
        self.now = 100.0
        self.cpu = 5.0
        self.pump = Pump(
            self.books,
            self.updates.append,
            self.count_status,
            lambda: self.behind,
            lambda: self.now,
            lambda: self.cpu,
        )

    def count_status(self) -> None:
        self.statuses += 1

    def tick(self, after: float = 0.05, drawing: float = 0.0) -> None:
        self.now += after
        self.cpu += drawing
        self.pump.tick()


def test_what_is_new_comes_into_the_books_and_is_shown_once() -> None:
    bench = Bench()
    bench.control.put(make_summary(1))
    bench.pump.attach(bench.control)
    bench.tick()
    bench.control.put(make_summary(2), logs=[make_line(1)], plugins=[make_plugin("alpha")])
    bench.tick()
    bench.tick()
    assert len(bench.books.flows) == 2
    assert len(bench.books.logs) == 1
    assert list(bench.books.plugins) == ["alpha"]
    assert len(bench.updates) == 2


def test_flows_that_only_go_are_shown_too() -> None:
    bench = Bench()
    bench.control.put(make_summary(1), make_summary(2))
    bench.pump.attach(bench.control)
    bench.tick()
    bench.control.put(gone=[1])
    bench.tick()
    assert bench.updates[-1].gone == (1,)
    assert len(bench.books.flows) == 1


def test_nothing_is_fetched_while_the_terminal_is_behind() -> None:
    bench = Bench()
    bench.pump.attach(bench.control)
    bench.behind = True
    bench.control.put(make_summary(1))
    bench.tick()
    assert bench.updates == []
    assert bench.control.feeds[0].drains == 0
    bench.behind = False
    bench.tick()
    assert len(bench.updates) == 1
    assert bench.pump.skipped == 1


def test_drawing_that_takes_more_than_its_share_is_done_less_often() -> None:
    bench = Bench()
    bench.pump.attach(bench.control)
    bench.tick()
    bench.control.put(make_summary(1))
    bench.tick(0.05, drawing=0.02)
    assert bench.updates == []
    bench.tick(0.15)
    assert bench.updates == []
    bench.tick(0.1)
    assert len(bench.updates) == 1
    assert bench.pump.rested == 2


def test_much_work_for_keys_does_not_stop_the_news() -> None:
    bench = Bench()
    bench.pump.attach(bench.control)
    bench.tick()
    bench.control.put(make_summary(1))
    bench.tick(0.9, drawing=30.0)
    assert bench.updates == []
    bench.tick(0.1)
    assert len(bench.updates) == 1


def test_the_rate_is_flows_per_second_since_the_last_status() -> None:
    bench = Bench()
    bench.pump.attach(bench.control)
    bench.tick()
    bench.control.set_status(flows_seen=100)
    bench.tick(0.1)
    assert bench.books.rate == 0
    bench.tick(0.4)
    assert bench.books.rate == 200
    bench.tick(0.5)
    assert bench.books.rate == 0
    assert bench.statuses == 3


def test_another_core_begins_with_empty_books() -> None:
    bench = Bench()
    bench.control.put(make_summary(1))
    bench.pump.attach(bench.control)
    bench.tick()
    other = FakeControl()
    bench.pump.attach(other)
    assert bench.control.feeds[0].closed
    assert len(bench.books.flows) == 0
    bench.pump.detach()
    other.put(make_summary(5))
    bench.tick()
    assert len(bench.books.flows) == 0
