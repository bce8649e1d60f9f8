"""A clock that stands still until it is swept, and connections on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from proxy_core.net.clock import Clock
from tests.net.wires import Wires


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def wires(clock: Clock) -> AsyncIterator[Wires]:
    made = Wires(clock)
    yield made
    await made.close()
