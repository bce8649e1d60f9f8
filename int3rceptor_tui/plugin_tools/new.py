"""`plugin new`: a directory with everything that builds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from int3rceptor_tui.plugin_tools.files import aside
from int3rceptor_tui.plugin_tools.languages import Language, read_sdk, read_template
from proxy_core.errors import ConfigError, PluginError
from proxy_core.plugin_host.faults import ManifestError
from proxy_core.plugin_host.files.manifest import MANIFEST_NAME, check_name

_BLANK = re.compile("NAME|LENGTH")  # in one go: a plugin may be called either
_MANIFEST = """\
name = "{name}"
version = "0.1.0"
description = "Adds a header to every response"
wasm = "{name}.wasm"

[permissions]
modify_requests = false
modify_responses = true
access_bodies = false
"""

_README = """\
# {name}

A plugin for INT3RCEPTOR. The source is `{source}`, the manifest `plugin.toml`.

    int3rceptor-tui plugin build .
    int3rceptor-tui plugin inspect .
    int3rceptor-tui plugin test . --flows FILE.har
    int3rceptor-tui plugin install .

Installed, it is loaded when the console starts, or when `D` is pressed in it; `r` reloads it.
"""


def create(name: str, language: Language, parent: Path) -> tuple[Path, list[str]]:
    """Write a plugin's directory in one step; return it and its files. Raises ConfigError."""
    try:
        check_name(name)
    except ManifestError as error:
        raise ConfigError(str(error)) from error
    place = parent / name
    if place.exists() or place.is_symlink():
        raise ConfigError(f"{place} is there already; nothing was written, choose another name")
    source = Path(language.source)
    blanks = {"NAME": name, "LENGTH": str(len(name))}
    text = _BLANK.sub(lambda blank: blanks[blank[0]], read_template(language))
    files = {
        MANIFEST_NAME: _MANIFEST.format(name=name),
        language.source: text,
        "README.md": _README.format(name=name, source=language.source),
    }
    if language.sdk is not None:
        files[str(source.with_name(language.sdk))] = read_sdk(language)
    building = aside(place)
    try:
        for path, content in files.items():
            (building / path).parent.mkdir(parents=True, exist_ok=True)
            (building / path).write_text(content, encoding="utf-8")
        building.rename(place)
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        why = error.strerror or str(error)
        raise PluginError(f"{place} cannot be written: {why}; choose another place") from error
    return place, sorted(files)
