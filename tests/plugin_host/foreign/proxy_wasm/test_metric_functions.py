"""Counters, gauges and histograms."""

from __future__ import annotations

from proxy_core.plugin_host.belongings.metrics import NAME_BYTES, NAMES
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
    MetricType,
)
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE
from tests.plugin_host.foreign.proxy_wasm.fake_filter import NUMBER_AT, FakeFilter

DEFINE, GET = "proxy_define_metric", "proxy_get_metric"
RECORD, INCREMENT = "proxy_record_metric", "proxy_increment_metric"
MINUS_ONE = 2**64 - 1


def define(guest: FakeFilter, kind: int, name: bytes) -> int:
    assert guest.run(DEFINE, kind, name, NUMBER_AT) == OK
    return guest.u32(NUMBER_AT)


def value(guest: FakeFilter, number: int) -> int:
    assert guest.run(GET, number, 16) == OK
    return guest.u64(16)


def shown(guest: FakeFilter) -> dict[str, int]:
    return dict(guest.call.belongings.metrics.snapshot())


def test_a_counter_counts_up() -> None:
    guest = FakeFilter()
    number = define(guest, MetricType.COUNTER, b"c")
    assert shown(guest) == {"c": 0}
    assert guest.run(INCREMENT, number, 5) == OK
    assert guest.run(INCREMENT, number, MINUS_ONE) == BAD_ARGUMENT
    assert value(guest, number) == 5
    assert guest.run(RECORD, number, 7) == OK
    assert shown(guest) == {"c": 7}


def test_a_gauge_goes_both_ways() -> None:
    guest = FakeFilter()
    number = define(guest, MetricType.GAUGE, b"g")
    assert guest.run(RECORD, number, 10) == OK
    assert guest.run(INCREMENT, number, MINUS_ONE) == OK
    assert value(guest, number) == 9
    assert guest.run(RECORD, number, MINUS_ONE) == OK
    assert value(guest, number) == 2**63 - 1


def test_a_histogram_is_its_count_and_its_sum() -> None:
    guest = FakeFilter()
    number = define(guest, MetricType.HISTOGRAM, b"h")
    assert guest.run(RECORD, number, 10) == OK
    assert guest.run(RECORD, number, 20) == OK
    assert guest.run(INCREMENT, number, 1) == BAD_ARGUMENT
    assert guest.run(GET, number, 16) == BAD_ARGUMENT
    assert shown(guest) == {"h.count": 2, "h.sum": 30}


def test_defining_again_gives_the_same_metric() -> None:
    guest = FakeFilter()
    first = define(guest, MetricType.COUNTER, b"c")
    assert define(guest, MetricType.COUNTER, b"c") == first
    assert define(guest, MetricType.GAUGE, b"g") != first


def test_what_was_counted_outlives_the_instance() -> None:
    first, second = FakeFilter(), FakeFilter()
    second.call.belongings = first.call.belongings
    first.run(INCREMENT, define(first, MetricType.COUNTER, b"c"), 3)
    assert value(second, define(second, MetricType.COUNTER, b"c")) == 3


def test_metrics_are_limited() -> None:
    guest = FakeFilter()
    assert guest.run(DEFINE, 0, b"", NUMBER_AT) == BAD_ARGUMENT
    assert guest.run(DEFINE, 0, 0, NAME_BYTES, NUMBER_AT) == BAD_ARGUMENT
    assert guest.run(DEFINE, 3, b"x", NUMBER_AT) == BAD_ARGUMENT
    for index in range(NAMES):
        guest.room = 64
        define(guest, MetricType.COUNTER, b"m%d" % index)
    assert guest.run(DEFINE, 0, b"one more", NUMBER_AT) == INTERNAL_FAILURE


def test_unknown_metrics_and_bad_pointers_are_answered() -> None:
    guest = FakeFilter()
    number = define(guest, MetricType.COUNTER, b"c")
    for unknown in (number + 1, HIGH):
        assert guest.run(GET, unknown, 16) == NOT_FOUND
        assert guest.run(RECORD, unknown, 1) == NOT_FOUND
        assert guest.run(INCREMENT, unknown, 1) == NOT_FOUND
    assert guest.run(GET, number, PAGE - 7) == INVALID_MEMORY
    assert guest.run(DEFINE, 0, PAGE, 1, NUMBER_AT) == INVALID_MEMORY
    assert guest.run(DEFINE, 0, b"x", PAGE) == INVALID_MEMORY
