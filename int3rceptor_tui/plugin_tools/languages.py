"""The languages that `plugin new` writes and `plugin build` compiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import int3rceptor_tui
from proxy_core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Language:
    """One language."""

    name: str
    source: str
    """Where a plugin's source is expected, inside its directory."""
    template: str
    sdk: str | None
    """The SDK's file, copied beside the source; None where there is none."""
    install: str
    """What to do where its tools are missing."""


def _all(*languages: Language) -> Mapping[str, Language]:
    return MappingProxyType({language.name: language for language in languages})


LANGUAGES: Final = _all(
    Language(
        "rust",
        "src/lib.rs",
        "rust.rs",
        "int3.rs",
        "rustup target add wasm32-unknown-unknown, or apt-get install rustc "
        "libstd-rust-dev-wasm32 lld; RUSTC names another compiler",
    ),
    Language(
        "c",
        "src/plugin.c",
        "c.c",
        "int3.h",
        "apt-get install clang lld, dnf install clang lld, or brew install llvm lld; CLANG names "
        "another compiler",
    ),
    Language(
        "zig",
        "src/plugin.zig",
        "zig.zig",
        "int3.zig",
        "get it from ziglang.org, or pip install ziglang; ZIG names another compiler",
    ),
    Language(
        "assemblyscript",
        "src/plugin.ts",
        "assemblyscript.ts",
        "int3.ts",
        "npm install assemblyscript in the plugin's directory, or npm install -g assemblyscript; "
        "ASC names another compiler",
    ),
    Language("wat", "src/plugin.wat", "wat.wat", None, "nothing: it is built in"),
)


def find_language(name: str) -> Language:
    """Return a language by its name. Raises ConfigError."""
    language = LANGUAGES.get(name)
    if language is None:
        raise ConfigError(f"--lang is {name!r}; known: {', '.join(LANGUAGES)}")
    return language


def language_of(directory: Path) -> Language:
    """Return the language of a plugin's source. Raises ConfigError."""
    found = [lang for lang in LANGUAGES.values() if (directory / lang.source).is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        sources = ", ".join(language.source for language in found)
        raise ConfigError(f"{directory} has several sources ({sources}); leave one")
    known = ", ".join(language.source for language in LANGUAGES.values())
    raise ConfigError(f"{directory} has no source that can be built; known: {known}")


def read_sdk(language: Language) -> str:
    """Return the text of a language's SDK."""
    package = Path(int3rceptor_tui.__file__).parent
    for directory in (package / "plugin_sdk", package.parent / "plugins" / "sdk"):
        path = directory / (language.sdk or "")
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise ConfigError(f"the SDK {language.sdk} is not there; install the program again")


def read_template(language: Language) -> str:
    """Return the text that a new plugin begins with."""
    path = Path(__file__).parent / "templates" / language.template
    return path.read_text(encoding="utf-8")
