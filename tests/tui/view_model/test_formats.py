from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from int3rceptor_tui.view_model.formats import clock, duration, size, stamp


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (1229, "1.2k"),
        (65536, "64k"),
        (1023 * 1024, "1.0M"),
        (3_565_158, "3.4M"),
        (5 * 1024**3, "5.0G"),
        (2**60, "1.0E"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0us"),
        (0.00025, "250us"),
        (0.0009996, "1.0ms"),
        (0.0032, "3.2ms"),
        (0.012, "12ms"),
        (0.9994, "999ms"),
        (0.9996, "1.0s"),
        (1.3, "1.3s"),
        (42.4, "42s"),
        (99.4, "99s"),
        (125.0, "2m05"),
        (11_220.0, "3h07"),
        (4_000_000.0, "46d"),
        (-0.5, "0us"),
        (float("inf"), "?"),
        (float("nan"), "?"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.integers(0, 2**66))
def test_a_size_takes_at_most_six_cells(count: int) -> None:
    assert 1 <= len(size(count)) <= 6


@given(st.floats(0, 8e9))
def test_a_duration_takes_at_most_six_cells(seconds: float) -> None:
    assert 2 <= len(duration(seconds)) <= 6


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_any_duration_is_text(seconds: float) -> None:
    assert duration(seconds)


def test_times_of_day() -> None:
    assert re.fullmatch(r"\d\d:\d\d:\d\d", clock(1_700_000_000.9))
    assert re.fullmatch(r"2023-11-1[45] \d\d:\d\d:20\.250", stamp(1_700_000_000.25))
    assert stamp(1_700_000_000.25)[11:19] == clock(1_700_000_000.25)
