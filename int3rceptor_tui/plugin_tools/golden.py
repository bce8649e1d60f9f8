"""Golden files: what a plugin did once, to hold it to.

A directory holds `plugin.txt` (start and totals) and `NNNNN.txt` for each flow with a story to
tell. A file that is missing, and one too many, is a difference like any other.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from int3rceptor_tui.plugin_tools.files import write_whole
from proxy_core.errors import ConfigError, PluginError
from proxy_core.plugin_host.files.module_file import read_file

_NAME: Final = re.compile(r"plugin\.txt|[0-9]{5}\.txt")
_FILE_BYTES: Final = 16 * 1024 * 1024
TOTALS: Final = "plugin.txt"


@dataclass(frozen=True, slots=True)
class Difference:
    """A golden file that is not as things are now."""

    file: str
    diff: tuple[str, ...]


def file_of(number: int) -> str:
    """The file for a flow."""
    return f"{number:05d}.txt"


def compare(directory: Path, now: Mapping[str, str]) -> list[Difference]:
    """Hold `now`, texts by file name, against the golden files. Raises ConfigError."""
    if not (directory / TOTALS).is_file():
        raise ConfigError(f"{directory} holds no golden files; pass --update to write them")
    differences = []
    for name in sorted(_present(directory) | set(now)):
        before, after = _read(directory / name), now.get(name, "")
        if before != after:
            lines = difflib.unified_diff(
                before.splitlines(), after.splitlines(), "golden", "now", lineterm="", n=1
            )
            differences.append(Difference(name, tuple(lines)))
    return differences


def update(directory: Path, now: Mapping[str, str]) -> list[str]:
    """Make the golden files those of `now`; return the names of what changed."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        changed = []
        for name in sorted(_present(directory) | set(now)):
            path = directory / name
            if name not in now:
                path.unlink()
            elif not path.is_file() or _read(path) != now[name]:
                write_whole(path, now[name].encode())
            else:
                continue
            changed.append(name)
    except OSError as error:
        raise ConfigError(f"{directory} cannot be written: {error.strerror or error}") from error
    return changed


def _present(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if _NAME.fullmatch(path.name)}


def _read(path: Path) -> str:
    if not path.exists():
        return ""
    try:
        return read_file(path, _FILE_BYTES).decode()
    except (PluginError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be compared: {error}; pass --update") from error
