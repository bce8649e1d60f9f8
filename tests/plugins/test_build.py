"""The build script, and what is committed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from proxy_core.plugin_host.files.discovery import Source, scan
from tests.plugins.conftest import NO_TOOLCHAIN, PLUGINS

NAMES = [
    "example-logger",
    "header-modifier",
    "json-patch",
    "jwt-inspector",
    "latency",
    "mock",
    "redact-secrets",
    "request-counter",
    "websocket-logger",
]
SOURCES = ("lib.rs", "plugin.c", "plugin.ts", "plugin.zig")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PLUGINS / "build-all.sh"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_every_plugin_has_its_module_and_source() -> None:
    sources, refused = scan([PLUGINS])
    assert refused == []
    assert [source.label for source in sources] == NAMES
    for source in sources:
        manifest, module = source.read()
        assert manifest.name == source.label
        assert manifest.version
        assert manifest.description
        assert module.is_file()
        assert any((source.path.parent / "src" / name).is_file() for name in SOURCES)


@pytest.mark.parametrize("name", NAMES)
def test_modules_stay_small(name: str) -> None:
    assert Source(PLUGINS / name / "plugin.toml").read()[1].stat().st_size < 20 * 1024


def test_without_a_toolchain_it_says_what_to_install(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "basename", "cat", "dirname", "ls"):
        found = shutil.which(tool)
        assert found is not None
        (tools / tool).symlink_to(found)
    fake = tools / "rustc"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    script = (PLUGINS / "build-all.sh").read_text()
    for place in ("/usr/bin/rustc", "/opt/homebrew/opt/llvm/bin/clang"):
        script = script.replace(place, f"/nowhere{place}")
    for file in ("plugin.toml", "src/plugin.ts"):
        (tmp_path / "mine" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / file).touch()
    copy = tmp_path / "build-all.sh"
    copy.write_text(script)
    done = subprocess.run(
        ["sh", str(copy)], capture_output=True, text=True, check=False, env={"PATH": str(tools)}
    )
    assert done.returncode == NO_TOOLCHAIN
    assert "rustup target add wasm32-unknown-unknown" in done.stderr
    assert "apt-get install rustc libstd-rust-dev-wasm32 lld" in done.stderr
    assert "apt-get install clang lld" in done.stderr
    assert "pip install ziglang" in done.stderr
    assert "npm install -g assemblyscript" in done.stderr
    assert done.stdout == "mine: skipped, its compiler is missing\n"
    assert not (tmp_path / "built-with").exists()


def test_unknown_arguments_are_refused() -> None:
    done = run("--fast")
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_the_compilers_that_built_what_is_committed_build_the_same_again(rebuilt: Path) -> None:
    then, now = (
        dict(line.split(": ", 1) for line in (place / "built-with").read_text().splitlines())
        for place in (PLUGINS, rebuilt)
    )
    assert set(then) == {f"src/{name}" for name in SOURCES}
    for name in NAMES:
        (source,) = (source for source in then if (PLUGINS / name / source).is_file())
        if now.get(source) == then[source]:
            module = f"{name}/{name}.wasm"
            assert (rebuilt / module).read_bytes() == (PLUGINS / module).read_bytes(), name


@pytest.mark.timeout(120)
def test_what_is_built_does_not_depend_on_where(rebuilt: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(PLUGINS, elsewhere)
    done = subprocess.run(
        [str(elsewhere / "build-all.sh")], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, NO_TOOLCHAIN), done.stderr
    names = [place.parent.name for place in rebuilt.glob("*/*.wasm")]
    assert names
    for name in names:
        built = (elsewhere / name / f"{name}.wasm").read_bytes()
        assert built == (rebuilt / name / f"{name}.wasm").read_bytes()
        assert str(tmp_path).encode() not in built
