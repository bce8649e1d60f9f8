"""`plugin install`: what runs of a plugin, its manifest and module, put where it is found."""

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
        directory.mkdir(parents=True, exist_ok=True)
        if found.source.bare:
            _write(new, data)
        else:
            module = new / found.manifest.wasm
            module.parent.mkdir(parents=True)
            _write(module, data)
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
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _put(new: Path, place: Path) -> None:
    """Move `new` to `place`; what was there is put back where that fails."""
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
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
