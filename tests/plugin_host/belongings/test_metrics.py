"""Counters: what they hold, and how many there may be."""

from __future__ import annotations

from proxy_core.plugin_host.belongings.metrics import NAME_BYTES, NAMES, Metrics
from proxy_core.plugin_host.codes import NOT_PERMITTED, OK, OVER_LIMIT


def test_counts_are_added_up_by_name() -> None:
    metrics = Metrics()
    assert [metrics.add(b"b", 2), metrics.add(b"a", -7), metrics.add(b"b", 3)] == [OK] * 3
    assert metrics.snapshot() == (("a", -7), ("b", 5))


def test_a_counter_stays_at_the_end_of_its_range() -> None:
    metrics = Metrics()
    for delta in (2**63 - 1, 5):
        metrics.add(b"high", delta)
        metrics.add(b"low", -delta - 1)
    assert metrics.snapshot() == (("high", 2**63 - 1), ("low", -(2**63)))


def test_names_are_bounded_in_number_and_length() -> None:
    metrics = Metrics()
    assert metrics.add(b"n" * NAME_BYTES, 1) == OK
    assert metrics.add(b"n" * (NAME_BYTES + 1), 1) == OVER_LIMIT
    assert metrics.add(b"", 1) == NOT_PERMITTED
    for number in range(NAMES - 1):
        assert metrics.add(b"%d" % number, 1) == OK
    assert metrics.add(b"one more", 1) == OVER_LIMIT
    assert metrics.add(b"0", 1) == OK
    assert len(metrics.snapshot()) == NAMES


def test_a_name_that_is_no_text_is_shown_all_the_same() -> None:
    metrics = Metrics()
    metrics.add(b"\xffx", 1)
    assert metrics.snapshot() == (("\N{REPLACEMENT CHARACTER}x", 1),)


def test_a_counter_can_be_set_and_read() -> None:
    metrics = Metrics()
    assert metrics.get(b"a") == 0
    assert metrics.set(b"a", 7) == OK
    assert metrics.set(b"a", -3) == OK
    assert metrics.get(b"a") == -3
    assert metrics.set(b"", 1) == NOT_PERMITTED
