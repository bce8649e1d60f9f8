"""Filters in C, Rust and Go against the plain ABI, built where there is a compiler."""

from __future__ import annotations

import os
import re
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest

from tests.tools import find_tool

SOURCES = Path(__file__).resolve().parent
_CLANG = (
    *("--target=wasm32", "-Os", "-nostdlib", "-Wall", "-Wextra", "-Wno-unused-parameter"),
    *("-Werror", "-Wl,--no-entry", "-Wl,--allow-undefined"),
)
_RUST_TARGET = "wasm32-unknown-unknown"
_GO_ENVIRONMENT = {"GOOS": "wasip1", "GOARCH": "wasm", "GO111MODULE": "off"}
_GO_WITH_EXPORTS = (1, 24)


def build(name: str, directory: Path) -> bytes:
    """Build a source file; skip the test, by name, where there is no compiler for it."""
    source, module = SOURCES / name, directory / f"{name}.wasm"
    compilers = {".c": _clang, ".rs": _rustc, ".go": _go}
    command = compilers[source.suffix]()
    done = subprocess.run(
        [*command, "-o", str(module), str(source)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | _GO_ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    return module.read_bytes()


@lru_cache
def _has(*command: str) -> bool:
    try:
        done = subprocess.run([*command], capture_output=True, input=b"", check=False)
    except OSError:
        return False
    return done.returncode == 0


def _clang() -> list[str]:
    # The linker is a package of its own, and old versions lack the target.
    if find_tool("wasm-ld") is None or not _has(
        "clang", "--target=wasm32", "-x", "c", "-fsyntax-only", "-"
    ):
        pytest.skip("no clang for wasm32 with wasm-ld")
    return ["clang", *_CLANG]


def _rustc() -> list[str]:
    for compiler in ("rustc", "/usr/bin/rustc"):
        where = (
            subprocess.run(
                [compiler, "--print", "target-libdir", "--target", _RUST_TARGET],
                capture_output=True,
                text=True,
                check=False,
            )
            if _has(compiler, "--version")
            else None
        )
        if where is not None and list(Path(where.stdout.strip()).glob("libcore-*.rlib")):
            return [
                *(compiler, "--edition", "2021", "--target", _RUST_TARGET),
                *("--crate-type", "cdylib", "-C", "opt-level=s", "-C", "panic=abort"),
            ]
    pytest.skip(f"no Rust compiler with the target {_RUST_TARGET}")


def _go() -> list[str]:
    # `go` may be there and too old for //go:wasmexport.
    done = (
        subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False)
        if _has("go", "version")
        else None
    )
    version = None if done is None else re.match(r"go(\d+)\.(\d+)", done.stdout)
    if version is None or tuple(map(int, version.groups())) < _GO_WITH_EXPORTS:
        pytest.skip("no Go from 1.24 on")
    return ["go", "build", "-buildmode=c-shared"]
