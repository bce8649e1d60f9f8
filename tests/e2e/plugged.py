"""A core inside the test's process that runs plugins made for the test."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from proxy_core.config import Settings
from proxy_core.core import Core


def put_module(plugins: Path, name: str, module: bytes, manifest: str = "") -> None:
    """Write a plugin into a directory of plugins; `manifest` follows name and module."""
    place = plugins / name
    place.mkdir(parents=True)
    text = f'name = "{name}"\nwasm = "{name}.wasm"\n{manifest}'
    (place / "plugin.toml").write_text(text, encoding="utf-8")
    (place / f"{name}.wasm").write_bytes(module)


@contextlib.asynccontextmanager
async def running_core(directory: Path, **settings: Any) -> AsyncIterator[Core]:
    """Run a core on a free port with the plugins in `directory`/plugins; all must have loaded."""
    plugins = directory / "plugins"
    core = Core(
        Settings(listen_port=0, data_dir=directory / "data", plugins=(plugins,), **settings)
    )
    await core.start()
    try:
        wanted = {place.name for place in plugins.iterdir()}
        assert {status.name for status in await core.control().plugins()} == wanted
        yield core
    finally:
        await core.stop()
