"""A host for each test, stopped after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy_core.plugin_host import workshop
from proxy_core.plugin_host.runtime.official import OfficialEngine
from tests.plugin_host.guests import Host


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """A host with whatever engine is best here."""
    made = Host(tmp_path)
    yield made
    await made.manager.stop()


@pytest.fixture(params=["best", "threads"])
async def any_host(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Host]:
    """A host with either engine."""
    if request.param == "threads":
        monkeypatch.setattr(workshop, "_open", lambda: (OfficialEngine(), None))
    made = Host(tmp_path)
    yield made
    await made.manager.stop()
