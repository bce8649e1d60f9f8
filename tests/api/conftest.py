"""The API over a core with a scripted plugin manager."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy_core.api.app import Guarded
from proxy_core.api.gate import Gate
from proxy_core.control.local import LocalControl
from tests.api.asgi import SECRET, Client
from tests.control.cores import RunningCore


@pytest.fixture
def core() -> Iterator[RunningCore]:
    running = RunningCore()
    yield running
    running.stop()


@pytest.fixture
def app(core: RunningCore) -> Guarded:
    return Guarded(LocalControl(core, core.loop), Gate(SECRET, ("proxy.example",)))


@pytest.fixture
def api(app: Guarded) -> Client:
    return Client(app)
