"""What lies in the tree: scripts that a shell checker passes, and nothing of one machine."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.project.tree import ROOT, tracked_files

ENTRY_POINTS = ["run", "test", "check", "bench"]

# Brackets keep these patterns from finding themselves.
_ONE_MACHINE = re.compile(rb"/(?:wor[k]|roo[t]|Users|home/[a-z]\w*)/|/tmp/ven[v]\b")


def is_shell(path: Path) -> bool:
    return path.suffix == ".sh" or (
        path.suffix == "" and re.match(rb"#!.*\b(?:ba)?sh\n", path.read_bytes()[:64]) is not None
    )


SHELL_SCRIPTS = [path for path in tracked_files() if is_shell(path)]


def run_script(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=15
    )


def test_the_entry_points_are_among_the_scripts_that_are_checked() -> None:
    checked = {str(path.relative_to(ROOT)) for path in SHELL_SCRIPTS}
    assert {f"scripts/{name}" for name in ENTRY_POINTS} | {".ci/run"} <= checked


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_parse(script: Path) -> None:
    done = run_script("bash", "-n", str(script), PATH=os.environ["PATH"])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.tools("shellcheck")
@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_are_clean_to_shellcheck(script: Path) -> None:
    done = subprocess.run(
        ["shellcheck", "--external-sources", str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.parametrize("script", [".ci/run", *(f"scripts/{name}" for name in ENTRY_POINTS)])
def test_entry_points_can_be_executed(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


def test_no_file_names_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in tracked_files()
        for match in [_ONE_MACHINE.search(path.read_bytes())]
        if match
    ]
    assert found == []


class TestFindingPython:
    """`scripts/run` in a copy of the tree that has no environment, with a PATH of our making."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        scripts = tmp_path / "a place" / "scripts"
        scripts.mkdir(parents=True)
        for name in ("run", "environment.sh"):
            (scripts / name).write_bytes((ROOT / "scripts" / name).read_bytes())
        (scripts / "run").chmod(0o755)
        return scripts / "run"

    @pytest.fixture
    def bin_dir(self, tmp_path: Path) -> Path:
        """A directory with what a shell script wants, and no Python."""
        directory = tmp_path / "bin"
        directory.mkdir()
        for name in ("env", "bash", "dirname", "readlink", "cat", "cksum"):
            found = next(
                place for place in (Path("/usr/bin") / name, Path("/bin") / name) if place.exists()
            )
            (directory / name).symlink_to(found)
        return directory

    def add(self, bin_dir: Path, name: str, script: str) -> None:
        program = bin_dir / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def test_no_python_is_said_with_what_to_install(self, run: Path, bin_dir: Path) -> None:
        done = run_script(str(run), PATH=str(bin_dir))
        assert done.returncode == 1
        assert done.stderr.startswith("run: no Python 3.11 or newer found; install one")

    def test_a_python_that_is_too_old_is_none(self, run: Path, bin_dir: Path) -> None:
        self.add(bin_dir, "python3", "exit 1")
        done = run_script(str(run), PATH=str(bin_dir))
        assert "no Python 3.11 or newer found" in done.stderr

    def test_a_python_without_venv_is_named(self, run: Path, bin_dir: Path) -> None:
        self.add(bin_dir, "python3", 'case "$*" in *ensurepip*) exit 1 ;; esac')
        done = run_script(str(run), PATH=str(bin_dir))
        assert done.returncode == 1
        assert done.stderr.startswith(f"run: {bin_dir / 'python3'} has no venv and ensurepip")

    def test_a_wrong_python_variable_is_named(self, run: Path, bin_dir: Path) -> None:
        done = run_script(str(run), PATH=str(bin_dir), PYTHON="/nowhere/python")
        assert done.returncode == 1
        assert done.stderr == "run: PYTHON=/nowhere/python is no Python 3.11 or newer\n"
