"""Every adapter of Control, to be held against the same tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from proxy_core.control.control import Control
from proxy_core.control.local import LocalControl
from tests.control.cores import RunningCore


@dataclass
class Rig:
    """A core and a Control that drives it."""

    core: RunningCore
    control: Control


def _local(core: RunningCore) -> Control:
    return LocalControl(core, core.loop)


ADAPTERS: dict[str, Callable[[RunningCore], Control]] = {"local": _local}
"""A further adapter is one more line here."""


@pytest.fixture
def core() -> Iterator[RunningCore]:
    running = RunningCore()
    yield running
    running.stop()


@pytest.fixture(params=ADAPTERS)
def rig(request: pytest.FixtureRequest, core: RunningCore) -> Rig:
    return Rig(core, ADAPTERS[request.param](core))
