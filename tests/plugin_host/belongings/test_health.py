"""Quarantine: when it begins, how it grows, when it is forgotten."""

from __future__ import annotations

from proxy_core.plugin_host.belongings.health import Health


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_two_traps_a_minute_are_borne() -> None:
    clock = Clock()
    health = Health(clock)
    for _ in range(10):
        assert health.note_trap() is None
        clock.now += 1
        assert health.note_trap() is None
        assert health.is_failing()
        clock.now += 61
        assert not health.is_failing()
    assert not health.is_quarantined()


def test_the_third_trap_in_a_minute_quarantines_for_a_second() -> None:
    clock = Clock()
    health = Health(clock)
    assert [health.note_trap() for _ in range(3)] == [None, None, 1.0]
    assert health.is_quarantined()
    clock.now += 0.75
    assert health.is_quarantined()
    assert health.rests_for == 0.25
    clock.now += 0.26
    assert not health.is_quarantined()
    assert health.rests_for == 0.0
    assert health.is_failing()


def test_quarantine_doubles_up_to_five_minutes() -> None:
    clock = Clock()
    health = Health(clock)
    health.note_trap()
    health.note_trap()
    pauses = []
    for _ in range(12):
        pause = health.note_trap()
        assert pause is not None
        pauses.append(pause)
        clock.now += pause + 0.1
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_calls_that_were_under_way_as_quarantine_began_do_not_make_it_longer() -> None:
    clock = Clock()
    health = Health(clock)
    assert [health.note_trap() for _ in range(20)] == [None, None, 1.0] + [None] * 17
    clock.now += 1.1
    assert not health.is_quarantined()
    assert health.note_trap() == 2.0


def test_a_minute_without_traps_after_quarantine_forgets_all() -> None:
    clock = Clock()
    health = Health(clock)
    for _ in range(3):
        health.note_trap()
    clock.now += 1 + 61
    assert [health.note_trap() for _ in range(3)] == [None, None, 1.0]


def test_traps_spread_over_more_than_a_minute_do_not_add_up() -> None:
    clock = Clock()
    health = Health(clock)
    for _ in range(20):
        assert health.note_trap() is None
        clock.now += 31


def test_a_reload_starts_with_a_clean_record() -> None:
    clock = Clock()
    health = Health(clock)
    for _ in range(3):
        health.note_trap()
    health.forget()
    assert not health.is_quarantined()
    assert not health.is_failing()
