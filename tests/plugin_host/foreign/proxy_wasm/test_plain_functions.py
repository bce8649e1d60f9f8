"""Log, time, tick, status of a call."""

from __future__ import annotations

import time

import pytest

from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
    UNIMPLEMENTED,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import CallAnswer
from proxy_core.plugin_host.logs import LINE_BYTES
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE
from tests.plugin_host.foreign.proxy_wasm.fake_filter import FakeFilter
from tests.plugin_host.guests import make_flow


@pytest.mark.parametrize(
    ("number", "level"),
    [
        (0, LogLevel.DEBUG),
        (1, LogLevel.DEBUG),
        (2, LogLevel.INFO),
        (3, LogLevel.WARN),
        (4, LogLevel.ERROR),
        (5, LogLevel.ERROR),
    ],
)
def test_lines_are_logged_at_their_level(number: int, level: LogLevel) -> None:
    guest = FakeFilter(Hook.REQUEST, make_flow())
    assert guest.run("proxy_log", number, b"h\xc3\xa9\xff") == OK
    assert guest.lines == [(level, "h\N{LATIN SMALL LETTER E WITH ACUTE}\N{REPLACEMENT CHARACTER}")]


def test_long_lines_are_cut() -> None:
    guest = FakeFilter()
    assert guest.run("proxy_log", 2, 0, LINE_BYTES + 5) == OK
    assert guest.lines[0][1].endswith("... (5 bytes more)")


def test_bad_levels_and_pointers_are_answered() -> None:
    guest = FakeFilter()
    assert guest.run("proxy_log", 6, b"x") == BAD_ARGUMENT
    assert guest.run("proxy_log", HIGH, b"x") == BAD_ARGUMENT
    assert guest.run("proxy_log", 2, PAGE, 1) == INVALID_MEMORY
    assert guest.run("proxy_log", 2, 1, HIGH) == INVALID_MEMORY
    assert guest.lines == []


def test_every_level_is_wanted() -> None:
    guest = FakeFilter()
    guest.buffer[0:4] = b"\xff" * 4
    assert guest.run("proxy_get_log_level", 0) == OK
    assert guest.u32(0) == 0
    assert guest.run("proxy_get_log_level", PAGE) == INVALID_MEMORY


def test_the_time_is_now() -> None:
    guest = FakeFilter()
    before = time.time_ns()
    assert guest.run("proxy_get_current_time_nanoseconds", 0) == OK
    assert before <= guest.u64(0) <= time.time_ns()
    assert guest.run("proxy_get_current_time_nanoseconds", PAGE - 7) == INVALID_MEMORY


def test_a_tick_is_set_and_cleared_and_not_too_short() -> None:
    guest = FakeFilter()
    for milliseconds, seconds in ((1500, 1.5), (1, 0.01), (0, 0.0)):
        assert guest.run("proxy_set_tick_period_milliseconds", milliseconds) == OK
        assert guest.instance.tick_seconds == seconds


def test_the_status_of_a_call_is_there_while_it_is_told() -> None:
    guest = FakeFilter()
    assert guest.run("proxy_get_status", 8, 0, 4) == NOT_FOUND
    guest.instance.answer = CallAnswer(0, "refused")
    assert guest.run("proxy_get_status", 8, 0, 4) == OK
    assert guest.bytes(guest.u32(0), guest.u32(4)) == b"refused"
    assert guest.u32(8) == 0
    assert guest.run("proxy_get_status", PAGE, 0, 4) == INVALID_MEMORY


def test_one_foreign_function_is_there() -> None:
    guest = FakeFilter()
    name = "proxy_call_foreign_function"
    assert guest.ask(name, b"clear_route_cache", b"") == b""
    assert guest.run(name, b"clear_route_cache", b"", 0, 0) == OK
    assert guest.run(name, b"clear_route_cache", b"", PAGE, 4) == INVALID_MEMORY
    assert guest.run(name, b"compress", b"text", 0, 4) == UNIMPLEMENTED
    assert guest.run(name, PAGE, 1, b"", 0, 4) == INVALID_MEMORY


def test_small_things_that_runtimes_ask_for() -> None:
    guest = FakeFilter()
    assert guest.run("proxy_clear_route_cache") == OK
    assert guest.run("emscripten_notify_memory_growth", 0) == 0
    assert guest.run("pthread_equal", 3, 3) == 1
    assert guest.run("pthread_equal", 3, 4) == 0
