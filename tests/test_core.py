from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy_core.config import ModeSpec, ReverseMode, Settings, parse_mode
from proxy_core.core import Core
from proxy_core.errors import ConfigError
from tests.e2e.harness import free_ports


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


@pytest.mark.parametrize(
    ("spec", "connects_to"),
    [
        ("reverse:http://127.0.0.1:{port}", None),
        ("reverse:https://localhost:{port}", None),
        ("reverse:tcp://[::ffff:127.0.0.1]:{port}", None),
        ("upstream:http://0.0.0.0:{port}", None),
        ("reverse:http://origin.invalid", "127.0.0.1"),
    ],
)
async def test_mode_that_leads_back_to_its_own_proxy_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, connects_to: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (port,) = free_ports(1)
    mode = parse_mode(spec.format(port=port)).mode
    settings = Settings(
        listen_port=port,
        mode=(ModeSpec(mode),),
        data_dir=tmp_path / "data",
        connect_address=None if connects_to is None else (connects_to, port),
    )
    core = Core(settings)
    with pytest.raises(ConfigError, match=f"mode {re.escape(str(mode))} leads back to this proxy"):
        await core.start()
    await core.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize("host", ["origin.invalid", "192.0.2.1"])
async def test_mode_that_leads_elsewhere_at_its_own_port_is_none_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (port,) = free_ports(1)
    mode = ModeSpec(ReverseMode("http", host, port))
    core = Core(Settings(listen_port=port, mode=(mode,), data_dir=tmp_path / "data"))
    await core.start()
    assert core.listening == (f"127.0.0.1:{port}",)
    await core.stop()
