"""The plugins that come with the program, at work in a running core."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from int3rceptor_tui.demo.client import ProxyClient
from proxy_core.config import Settings
from proxy_core.core import Core
from tests.e2e.harness import BackgroundOrigin

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


@pytest.fixture
async def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Core]:
    monkeypatch.setenv("HOME", str(tmp_path))
    plugins = tmp_path / "plugins"
    for name in ("mock", "jwt-inspector"):
        shutil.copytree(PLUGINS / name, plugins / name)
    running = Core(Settings(listen_port=0, data_dir=tmp_path / "data", plugins=(plugins,)))
    await running.start()
    yield running
    await running.stop()


async def test_mock_answers_for_the_origin_and_lets_the_rest_go_on(
    core: Core, origin: BackgroundOrigin
) -> None:
    origin.recording.requests.clear()
    host, _, port = core.listening[0].rpartition(":")
    async with ProxyClient(host, int(port), core.ca_path).plain() as session:
        there = f"http://127.0.0.1:{origin.http}"
        mocked = await session.request("GET", f"{there}/int3-mock?x=1")
        assert (mocked.status, mocked.body) == (200, b'{"mock": true}')
        passed = await session.request("GET", f"{there}/other")
        assert b"there is no '/other' here" in passed.body  # the origin's word
    assert [record.target for record in origin.recording.requests] == [b"/other"]


async def test_jwt_inspector_says_on_the_flow_what_the_token_says(
    core: Core, origin: BackgroundOrigin
) -> None:
    # {"alg":"none"}, {"sub":"ann","exp":1000}
    token = b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJleHAiOjEwMDB9."
    host, _, port = core.listening[0].rpartition(":")
    async with ProxyClient(host, int(port), core.ca_path).plain() as session:
        url = f"http://127.0.0.1:{origin.http}/other"
        await session.request("GET", url, [(b"authorization", b"Bearer " + token)])
    control = core.control()
    (summary,) = await control.flows()
    flow = await control.flow(summary.id)
    assert flow is not None
    assert flow.annotations == {
        "comment": "JWT alg=none sub=ann exp=1000 (expired)",
        "tag": "jwt jwt-expired jwt-none",
    }
