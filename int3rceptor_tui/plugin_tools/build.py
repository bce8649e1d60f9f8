"""`plugin build`: from source to a module that the host takes, with the tools that are there.

A module is built aside, judged, and only then moved to its place: whoever watches the file never
sees half of it, and a build that fails leaves the old one at work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from int3rceptor_tui.log_printer import escaped
from int3rceptor_tui.plugin_tools.files import write_whole
from int3rceptor_tui.plugin_tools.languages import Language, language_of
from proxy_core.errors import ConfigError, PluginError
from proxy_core.plugin_host.dialects import agree_with
from proxy_core.plugin_host.files.discovery import Source
from proxy_core.plugin_host.files.manifest import MANIFEST_NAME
from proxy_core.plugin_host.files.module_file import MODULE_BYTES, check_bytes, read_file
from proxy_core.plugin_host.functions.host_functions import HOST_FUNCTIONS

SECONDS: Final = 600
"""How long a compiler may take."""
_SOURCE_BYTES: Final = 4 * 1024 * 1024
_RUST_TARGET: Final = "wasm32-unknown-unknown"
_RUST_FLAGS: Final = (
    *("--edition", "2021", "--target", _RUST_TARGET, "--crate-type", "cdylib"),
    *("-C", "opt-level=z", "-C", "lto=fat", "-C", "codegen-units=1", "-C", "panic=abort"),
    *("-C", "debuginfo=0", "-C", "strip=symbols", "-C", "overflow-checks=off"),
    *("-C", "target-feature=-bulk-memory", "-C", "link-arg=-zstack-size=16384"),
)
_CLANG_FLAGS: Final = (
    *("--target=wasm32", "-std=c11", "-Oz", "-Wall", "-nostdlib", "-fvisibility=hidden"),
    *("-Wl,--no-entry", "-Wl,--strip-all", "-Wl,-z,stack-size=16384"),
)
_ZIG_FLAGS: Final = (
    *("-target", "wasm32-freestanding", "-fno-entry", "-rdynamic", "-O", "ReleaseSmall"),
    *("-fstrip", "--stack", "16384"),
)


class ToolMissing(PluginError):
    """No compiler for a plugin's language is installed."""


class BuildFailed(PluginError):
    """The compiler did not take the source; `output` is what it said."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


@dataclass(frozen=True, slots=True)
class Built:
    """A module that was put in place."""

    name: str
    language: str
    module: Path
    size: int
    tool: str


def build(directory: Path, environ: Mapping[str, str]) -> Built:
    """Build the plugin in a directory.

    Raises ConfigError for what is no plugin's source, ToolMissing, BuildFailed, and other
    PluginErrors for a manifest or a module that the host refuses.
    """
    if not (directory / MANIFEST_NAME).is_file():
        raise ConfigError(f"{directory} has no {MANIFEST_NAME}; name a plugin's directory")
    directory = directory.resolve()
    language = language_of(directory)
    manifest, module = Source(directory / MANIFEST_NAME).read()
    with tempfile.TemporaryDirectory(prefix="int3-build-") as scratch:
        out = Path(scratch) / "plugin.wasm"
        tool = _compile(language, directory, manifest.name, out, environ)
        data = read_file(out, MODULE_BYTES)
    _check(data)
    try:
        module.parent.mkdir(parents=True, exist_ok=True)
        write_whole(module, data)
    except OSError as error:
        raise PluginError(f"{module} cannot be written: {error.strerror or error}") from error
    return Built(manifest.name, language.name, module, len(data), tool)


def _check(data: bytes) -> None:
    from proxy_core.plugin_host.runtime import open_engine  # 0.2 s

    check_bytes(data)
    engine, _ = open_engine()
    try:
        code = engine.compile(data)
        agree_with(code, HOST_FUNCTIONS)
    finally:
        engine.close()


def _compile(
    language: Language, directory: Path, name: str, out: Path, environ: Mapping[str, str]
) -> str:
    """Compile into `out`; return what did it."""
    source = directory / language.source
    if language.name == "wat":
        from proxy_core.plugin_host.runtime import assemble

        try:
            text = read_file(source, _SOURCE_BYTES).decode()
        except UnicodeDecodeError as error:
            raise PluginError(f"{language.source} is not UTF-8: {error}") from error
        out.write_bytes(assemble(text))
        return "wat"
    tool = find_tool(language, directory, environ)
    if tool is None:
        raise ToolMissing(f"no tools for {language.name} were found: {language.install}")
    _run([*tool, *_arguments(language, directory, name, out)], directory, environ)
    return " ".join(tool)


def _arguments(language: Language, directory: Path, name: str, out: Path) -> list[str]:
    match language.name:
        case "rust":
            crate = "".join(c if c.isalnum() else "_" for c in name)
            return [
                *_RUST_FLAGS,
                *("--crate-name", f"_{crate}" if crate[0].isdigit() else crate),
                f"--remap-path-prefix={directory}={_mapped(directory)}",  # none of this machine's
                *("-o", str(out), str(directory / language.source)),
            ]
        case "c":
            return [*_CLANG_FLAGS, "-o", str(out), language.source]
        case "zig":
            cache = str(out.parent / "cache")
            emit = [f"-femit-bin={out}", "--cache-dir", cache]
            return ["build-exe", language.source, *_ZIG_FLAGS, *emit]
        case _:
            return [language.source, "--outFile", str(out), "-Oz", "--use", "abort="]


def _mapped(directory: Path) -> str:
    """What a plugin's directory is called in Rust's panics, wherever it lies."""
    return f"plugins/{directory.name}"


def find_tool(
    language: Language, directory: Path, environ: Mapping[str, str]
) -> Sequence[str] | None:
    """Return the command that compiles a language here, or None."""
    path = environ.get("PATH", os.defpath)

    def found(*names: str | None) -> list[str]:
        paths = (shutil.which(name, path=path) for name in names if name)
        return [place for place in paths if place is not None]

    match language.name:
        case "rust":
            compilers = found(environ.get("RUSTC"), "rustc", "/usr/bin/rustc")
            return next(([rustc] for rustc in compilers if _has_rust_target(rustc, environ)), None)
        case "c":
            compilers = found(environ.get("CLANG"), "clang", "/opt/homebrew/opt/llvm/bin/clang")
            return next(([clang] for clang in compilers if _can_link(clang, environ)), None)
        case "zig":
            zigs = found(environ.get("ZIG"), "zig", "python-zig")
            return zigs[:1] or None
        case _:
            local = directory / "node_modules" / ".bin" / "asc"
            ascs = found(environ.get("ASC"), str(local), "asc")
            if ascs:
                return ascs[:1]
            npx = found("npx")
            return [npx[0], "--no-install", "asc"] if npx and _npx_has(npx[0], environ) else None


def _has_rust_target(rustc: str, environ: Mapping[str, str]) -> bool:
    directory = _ask([rustc, "--print", "target-libdir", "--target", _RUST_TARGET], environ)
    return directory is not None and any(Path(directory.strip()).glob("libcore-*.rlib"))


def _can_link(clang: str, environ: Mapping[str, str]) -> bool:
    linker = _ask([clang, "-print-prog-name=wasm-ld"], environ)
    return linker is not None and shutil.which(linker.strip(), path=environ.get("PATH")) is not None


def _npx_has(npx: str, environ: Mapping[str, str]) -> bool:
    return _ask([npx, "--no-install", "asc", "--version"], environ) is not None


def _ask(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - the compilers that the user has installed
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _run(command: Sequence[str], directory: Path, environ: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - the compilers that the user has installed
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=SECONDS,
            env=dict(environ),
            check=False,
        )
    except OSError as error:
        raise BuildFailed(f"{command[0]} cannot be run: {error.strerror or error}", "") from error
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"{command[0]} was still at it after {SECONDS} s", "") from error
    told = done.stdout.replace(f"{_mapped(directory)}/", "")  # rustc maps what it says, too
    if done.returncode != 0:
        raise BuildFailed(f"{command[0]} exited with {done.returncode}", told)
    for line in told.rstrip().splitlines():  # warnings
        print(escaped(line.expandtabs()), file=sys.stderr)
