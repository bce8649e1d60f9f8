"""A plugin is rewritten while `serve --watch` carries traffic: it is swapped, no request fails."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wasmtime

from tests.e2e.conftest import StartProxy
from tests.e2e.harness import BackgroundOrigin, ProxyProcess
from tests.e2e.stamps import STAMP, Load, put_plugin, write_version


class Api:
    """What the proxy's API tells of its only plugin."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self._url = f"{proxy.read_api_url()}/api/plugins"
        self._token = (proxy.data_dir / "api" / "token").read_text(encoding="ascii").strip()

    def _ask(self) -> Any:
        request = urllib.request.Request(
            self._url, headers={"Authorization": f"Bearer {self._token}"}
        )
        with urllib.request.urlopen(request) as answer:
            (plugin,) = json.load(answer)["plugins"]
        return plugin

    async def until(self, condition: Callable[[Any], object]) -> Any:
        """Return the plugin once `condition` holds of it."""
        while not condition(plugin := await asyncio.to_thread(self._ask)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return plugin


async def test_a_rewritten_plugin_is_swapped_under_traffic(
    start_proxy: StartProxy, origin: BackgroundOrigin, tmp_path: Path
) -> None:
    plugin = put_plugin(tmp_path / "plugins")
    module = plugin / "stamp.wasm"
    proxy = start_proxy("--watch", "--api", "127.0.0.1:0", "--plugins", str(plugin.parent))
    api = Api(proxy)
    origin.recording.requests.clear()
    load = Load(proxy.port, proxy.ca, origin)
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        await load.more(60)
        assert load.versions(first=1) == {b"1"}

        # Written in two pieces, as compilers do.
        second = wasmtime.wat2wasm(STAMP % 2)
        module.write_bytes(second[: len(second) // 2])
        await load.more(10)
        module.write_bytes(second)
        told = await api.until(lambda told: told["stats"]["generation"] == 2)
        assert told["compared"]["generation"] == 1
        assert len(told["compared"]["differing"]) == told["compared"]["flows"] == 20
        told = await api.until(lambda told: told["watched"])
        assert told["watched"]["ok"]
        assert "20 of 20 recent flows differ from generation 1" in told["watched"]["text"]
        first = load.sent + 1
        await load.more(40)
        assert load.versions(first) == {b"2"}

        module.write_bytes(b"\0asm\1\0\0\0 broken")
        told = await api.until(lambda told: told["error"])
        assert (told["state"], told["stats"]["generation"]) == ("ready", 2)
        first = load.sent + 1
        await load.more(40)
        assert load.versions(first) == {b"2"}

        aside = module.with_suffix(".tmp")
        write_version(plugin, 1)
        module.rename(aside)
        aside.rename(module)
        told = await api.until(lambda told: told["stats"]["generation"] == 3)
        assert told["error"] is None
        load.stop()
    assert set(load.statuses) == {404}  # the origin's own answer, to every single request
    log = (tmp_path / "proxy-1" / "serve.log").read_text(encoding="utf-8")
    assert log.count("not loaded: ") == 1
    assert log.count("reloaded by watch: ") == 2


async def test_without_the_flag_serve_leaves_a_rewritten_plugin_alone(
    start_proxy: StartProxy, tmp_path: Path
) -> None:
    plugin = put_plugin(tmp_path / "plugins")
    proxy = start_proxy("--api", "127.0.0.1:0", "--plugins", str(plugin.parent))
    api = Api(proxy)
    write_version(plugin, 2)
    await asyncio.sleep(1.5)
    told = await api.until(lambda told: True)
    assert (told["stats"]["generation"], told["watched"]) == (1, None)
