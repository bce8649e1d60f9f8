"""The plugins as committed, and as built from their sources where a toolchain is there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.plugin_host.guests import Host

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
NO_TOOLCHAIN = 3
"""What build-all.sh exits with where a compiler is missing."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count the building of `rebuilt` for nobody: it falls to whichever test asks first."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(20, func_only=True))


@pytest.fixture(scope="session")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugins whose compilers are there, built from their sources just now."""
    out = tmp_path_factory.mktemp("rebuilt")
    done = subprocess.run(
        [str(PLUGINS / "build-all.sh"), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode == NO_TOOLCHAIN:
        return out
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return out


@pytest.fixture(params=["committed", "rebuilt"])
def directory(request: pytest.FixtureRequest) -> Path:
    """Where the plugins of one making lie."""
    if request.param == "committed":
        return PLUGINS
    made: Path = request.getfixturevalue("rebuilt")
    return made


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """A host without plugins."""
    made = Host(tmp_path)
    yield made
    await made.manager.stop()


def install(host: Host, directory: Path, name: str) -> Path:
    """Copy one plugin to where the host finds it; return its manifest."""
    if not (directory / name / f"{name}.wasm").exists():
        pytest.skip(f"no compiler for the language of {name}")
    place = host.directory / name
    place.mkdir()
    for file in (f"{name}.wasm", "plugin.toml"):
        shutil.copy(directory / name / file, place / file)
    return place / "plugin.toml"
