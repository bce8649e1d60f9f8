from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy_core.config import Settings
from proxy_core.core import Core


@pytest.fixture
async def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Core]:
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Core(Settings(listen_port=0, data_dir=tmp_path / "data"))
    await made.start()
    yield made
    with contextlib.suppress(OSError):
        await made.stop()


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13])
async def test_stop_that_is_cancelled_goes_on_without_its_caller(core: Core, turns: int) -> None:
    (port,) = (int(where.rpartition(":")[2]) for where in core.listening)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(core.wait_stopped())
        stopping = group.create_task(core.stop())
        for _ in range(turns):
            await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.wait([stopping])
        await core.stop()
        await waiting
    assert not core.listening
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_core_may_be_stopped_by_many_at_once(core: Core) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(core.stop())
    await core.wait_stopped()


async def test_failure_to_stop_is_told_and_nobody_waits_for_more(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise OSError("a disk that is full")

    stop = core.plugins.stop
    monkeypatch.setattr(core.plugins, "stop", fail)
    for _ in range(2):
        with pytest.raises(OSError, match="a disk that is full"):
            await core.stop()
    await core.wait_stopped()
    await stop()
