"""`plugin install`: what runs of a plugin, its manifest, module and `config_file`, put in place."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

from int3rceptor_tui.plugin_tools.files import aside
from proxy_core.errors import PluginError
from proxy_core.plugin_host.files.discovery import Source, scan
from proxy_core.plugin_host.files.manifest import MANIFEST_BYTES, MANIFEST_NAME
from proxy_core.plugin_host.files.module_file import MODULE_BYTES, read_file
from proxy_core.plugin_host.inspection import Inspection


def install(found: Inspection, directory: Path, force: bool) -> Path:
    """Copy an inspected plugin into `directory`, whole or not at all; return its place there.

    Raises PluginError where it would be refused, or would take the place or name of another.
    """
    if found.problems or found.manifest is None or found.module is None:
        raise PluginError(f"{found.name} would be refused: {'; '.join(found.problems)}")
    place = directory / (found.module.name if found.source.bare else found.name)
    if os.path.lexists(directory / MANIFEST_NAME):
        raise PluginError(f"{directory} is a plugin itself; none is found in it, pass another --to")
    _check_name(found.name, directory, place)
    if os.path.lexists(place):
        if not force:
            raise PluginError(f"{place} is there already; pass --force to replace it")
        if _is_inside(found.source.path, place):
            raise PluginError(f"{found.source.path} is what is installed; nothing was done")
    data = read_file(found.module, MODULE_BYTES)
    if hashlib.sha256(data).hexdigest() != found.digest:
        raise PluginError(f"{found.module} changed while it was looked at; try again")
    new = aside(place)
    try:
        if found.source.bare:
            _write(new, data)
        else:
            _write(new / found.manifest.wasm, data)
            if found.manifest.config_file is not None:
                _write(new / found.manifest.config_file, found.manifest.config)
            _write(new / MANIFEST_NAME, read_file(found.source.path, MANIFEST_BYTES))
        _put(new, place)
    except OSError as error:
        why = error.strerror or str(error)
        raise PluginError(f"{place} cannot be written: {why}; pass another --to") from error
    finally:
        _remove(new)
    return place


def _check_name(name: str, directory: Path, place: Path) -> None:
    """Refuse a name that another plugin there has: only one of them would be loaded."""
    sources, _ = scan([directory])
    for source in sources:
        other = source.path if source.bare else source.path.parent
        if other == place or other.parent != directory:
            continue
        if _name_of(source) == name:
            raise PluginError(f"{other} has the name {name!r} already; remove it first")


def _name_of(source: Source) -> str:
    try:
        return source.read()[0].name
    except PluginError:  # a broken neighbour is no reason to refuse this one
        return source.label


def _is_inside(path: Path, place: Path) -> bool:
    return path.resolve().is_relative_to(place.resolve())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _put(new: Path, place: Path) -> None:
    """Move `new` to `place`; what was there is put back where that fails.

    Files of the user's beside a plugin's own, such as those that it reads, stay in the directory.
    """
    if new.is_file() and (place.is_file() or not os.path.lexists(place)):
        new.replace(place)
        return
    old = aside(place)
    if os.path.lexists(place):
        place.rename(old)  # a directory that is not empty cannot be replaced in one step
    try:
        new.rename(place)
    except OSError:
        if os.path.lexists(old):
            old.rename(place)
        raise
    if old.is_dir() and not old.is_symlink():
        for entry in old.iterdir():
            if not os.path.lexists(place / entry.name):
                entry.rename(place / entry.name)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
