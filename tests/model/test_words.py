from __future__ import annotations

import pytest

from proxy_core.model.words import counted, lasting


@pytest.mark.parametrize(("count", "text"), [(0, "0 flows"), (1, "1 flow"), (2, "2 flows")])
def test_one_is_no_plural(count: int, text: str) -> None:
    assert counted(count, "flow") == text


def test_times_are_in_the_unit_that_they_need() -> None:
    assert [lasting(seconds) for seconds in (0.0032, 0.9994, 1.0, 14.4021)] == [
        *("3.2 ms", "999.4 ms", "1.0 s", "14.4 s")
    ]
