"""What an installation from the wheel has beyond Python source."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.project.tree import ROOT, tracked_files


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of a wheel built from this tree."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = directory.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def relative(*suffixes: str) -> list[Path]:
    return [path.relative_to(ROOT) for path in tracked_files() if path.suffix in suffixes]


def test_the_wheel_has_all_modules_styles_and_type_markers(names: set[str]) -> None:
    packages = ("int3rceptor_tui", "proxy_core")
    wanted = {str(path) for path in relative(".py", ".tcss") if path.parts[0] in packages}
    assert wanted <= names
    assert any(name.endswith(".tcss") for name in wanted)
    assert {f"{package}/py.typed" for package in packages} <= names


def test_the_wheel_has_every_plugin_built_and_with_its_manifest(names: set[str]) -> None:
    wanted = {
        f"int3rceptor_tui/bundled_plugins/{path.parent.name}/{path.name}"
        for path in relative(".wasm", ".toml")
        if path.parts[0] == "plugins"
    }
    assert len(wanted) >= 2
    assert wanted <= names


def test_the_wheel_has_what_new_plugins_are_made_of(names: set[str]) -> None:
    tracked = {path.relative_to(ROOT) for path in tracked_files()}
    templates = {str(path) for path in tracked if path.parent.name == "templates"}
    sdk = {path.name for path in tracked if path.parent == Path("plugins/sdk")}
    assert len(templates) == 5
    assert {"int3.h", "int3.rs", "int3.ts", "int3.zig"} == sdk
    assert templates | {f"int3rceptor_tui/plugin_sdk/{name}" for name in sdk} <= names


def test_the_wheel_has_no_tests_and_no_scripts(names: set[str]) -> None:
    roots = {name.split("/")[0] for name in names}
    assert {root for root in roots if not root.endswith(".dist-info")} == {
        "int3rceptor_tui",
        "proxy_core",
    }
