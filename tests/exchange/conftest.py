from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.exchange.fakes import Clock
from tests.exchange.house import House


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("exchange", "upload", "ledger", "answers", "connections"):
        monkeypatch.setattr(f"proxy_core.exchange.{module}.time", clock)
    return clock


@pytest.fixture
def build(clock: Clock) -> Iterator[Callable[..., House]]:
    """Makes exchanges; at the end, what is true of all flows must be true of theirs."""
    houses: list[House] = []

    def build(
        body_limit: int = 1_000_000, pseudonym: str = "", reverse_pseudonym: str = ""
    ) -> House:
        houses.append(House(body_limit, pseudonym, reverse_pseudonym))
        return houses[-1]

    yield build
    for house in houses:
        house.check()


@pytest.fixture
def house(build: Callable[..., House]) -> House:
    return build()
