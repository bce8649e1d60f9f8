from __future__ import annotations

import resource
from collections.abc import Callable

import pytest

from int3rceptor_tui.descriptors import raise_descriptor_limit

INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("before", "refuses", "after"),
    [
        ((1024, 4096), 1 << 30, 4096),
        ((4096, 4096), 1 << 30, 4096),
        ((1024, 1 << 30), 1 << 30, 1 << 20),
        ((1 << 21, 1 << 30), 1 << 30, 1 << 21),
        ((256, INFINITY), 20_000, 10_240),  # macOS
        ((INFINITY, INFINITY), 0, INFINITY),
        ((1024, 4096), 0, 1024),
    ],
)
def test_soft_limit_becomes_the_hard_one_as_far_as_it_can(
    monkeypatch: pytest.MonkeyPatch, before: tuple[int, int], refuses: int, after: int
) -> None:
    now = [before]

    def set_limit(kind: int, limits: tuple[int, int]) -> None:
        assert limits[1] == before[1]
        if limits[0] > refuses:
            raise ValueError("not allowed to raise the limit")
        now.append(limits)

    get: Callable[[int], tuple[int, int]] = lambda kind: now[-1]  # noqa: E731
    monkeypatch.setattr(resource, "getrlimit", get)
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    assert raise_descriptor_limit() == after
