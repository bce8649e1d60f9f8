"""Finding plugins in directories: manifests, and modules without one.

A directory holds a plugin itself (`plugin.toml`), or plugins: subdirectories with a
`plugin.toml`, and bare `.wasm` files beside them or one level down. Nothing is followed out of
the directory it was found in.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proxy_core.plugin_host.faults import ManifestError, ModuleRefused
from proxy_core.plugin_host.files import manifest as manifests
from proxy_core.plugin_host.files.manifest import (
    CONFIG_BYTES,
    MANIFEST_BYTES,
    MANIFEST_NAME,
    Manifest,
)
from proxy_core.plugin_host.files.module_file import MODULE_BYTES, read_file

MAX_ENTRIES: Final = 1000
"""Entries looked at in one directory."""
_NOT_PLUGINS: Final = frozenset({"src", "target", "sdk", "node_modules"})


@dataclass(frozen=True, slots=True)
class Source:
    """Where a plugin is described: its `plugin.toml`, or its module where it has none."""

    path: Path

    @property
    def bare(self) -> bool:
        """Whether there is no manifest."""
        return self.path.name != MANIFEST_NAME

    @property
    def label(self) -> str:
        """A name for it while its own is not known."""
        return self.path.stem if self.bare else self.path.parent.name

    def read(self) -> tuple[Manifest, Path]:
        """Return the manifest as it is now, and the module's path.

        Raises ManifestError and ModuleRefused.
        """
        if self.bare:
            manifest = manifests.for_bare_module(self.path)
        else:
            raw = read_file(self.path, MANIFEST_BYTES)
            try:
                text = raw.decode()
            except UnicodeDecodeError as error:
                raise ManifestError(f"{MANIFEST_NAME} is not UTF-8: {error}") from error
            manifest = manifests.parse(text)
        if manifest.config_file is not None:
            config = read_file(self._inside(manifest.config_file), CONFIG_BYTES)
            manifest = replace(manifest, config=config)
        return manifest, self._inside(manifest.wasm)

    def files(self) -> tuple[Path, ...]:
        """Return the files that the plugin is made of as it is now, there or not; blocks."""
        if self.bare:
            return (self.path,)
        try:
            manifest = manifests.parse(read_file(self.path, MANIFEST_BYTES).decode())
        except (ManifestError, ModuleRefused, UnicodeDecodeError):
            return (self.path,)
        names = (manifest.wasm, manifest.config_file)
        return (self.path, *(self.path.parent / name for name in names if name is not None))

    def fingerprint(self) -> bytes:
        """Return what is different where any of these files says something else; blocks."""
        fingerprint = hashlib.sha256()
        for path in self.files():
            try:
                data = read_file(path, MODULE_BYTES)
            except ModuleRefused as error:
                data = str(error).encode("utf-8", "replace")
            fingerprint.update(hashlib.sha256(data).digest())
        return fingerprint.digest()

    def _inside(self, name: str) -> Path:
        """Return the path of a file that the manifest names. Raises ModuleRefused."""
        directory = self.path.parent
        path = directory / name
        try:
            inside = path.resolve().is_relative_to(directory.resolve())
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, up to 3.12
            raise ModuleRefused(f"{name} cannot be resolved: {error}") from error
        if not inside:
            raise ModuleRefused(f"{name} leads out of the plugin's own directory")
        return path


def scan(directories: Iterable[Path]) -> tuple[list[Source], list[tuple[str, str]]]:
    """Return what lies in `directories`, in order, and what could not be looked at, with why.

    Directories that do not exist hold nothing.
    """
    found: dict[Path, Source] = {}
    refused: list[tuple[str, str]] = []
    for directory in directories:
        with _noting(directory, refused):
            if directory.is_dir():
                for source in _scan_one(directory, refused):
                    found.setdefault(source.path.absolute(), source)
    return list(found.values()), refused


@contextlib.contextmanager
def _noting(place: Path, refused: list[tuple[str, str]]) -> Iterator[None]:
    """Note what cannot be looked at, and go on."""
    try:
        yield
    except OSError as error:
        refused.append((str(place), f"cannot be read: {error.strerror or error}"))
    except ModuleRefused as error:
        refused.append((str(place), f"cannot be read: {error}"))


def places(directories: Iterable[Path]) -> list[Path]:
    """Return the directories in which a plugin may turn up, there or not; blocks."""
    found: list[Path] = []
    for directory in directories:
        found.append(directory)
        with contextlib.suppress(OSError, ModuleRefused):
            if directory.is_dir() and not _has_manifest(directory):
                found += [
                    entry
                    for entry in _entries(directory)
                    if entry.is_dir() and entry.name not in _NOT_PLUGINS
                ]
    return found


def _scan_one(directory: Path, refused: list[tuple[str, str]]) -> Iterator[Source]:
    if _has_manifest(directory):
        yield Source(directory / MANIFEST_NAME)
        return
    for entry in _entries(directory):
        if entry.suffix == ".wasm":
            yield Source(entry)
            continue
        inside: list[Source] = []
        with _noting(entry, refused):  # one that is out of reach hides none of the others
            inside += _scan_inside(entry)
        yield from inside


def _scan_inside(entry: Path) -> list[Source]:
    if not entry.is_dir() or entry.name in _NOT_PLUGINS:
        return []
    if _has_manifest(entry):
        return [Source(entry / MANIFEST_NAME)]
    return [Source(inner) for inner in _entries(entry) if inner.suffix == ".wasm"]


def _has_manifest(directory: Path) -> bool:
    """Whether one lies there; what is no regular file is refused when it is read."""
    return os.path.lexists(directory / MANIFEST_NAME)


def _entries(directory: Path) -> list[Path]:
    entries = []
    for entry in directory.iterdir():
        if entry.name.startswith("."):
            continue
        entries.append(entry)
        if len(entries) > MAX_ENTRIES:
            raise ModuleRefused(f"{directory} has more than {MAX_ENTRIES} entries")
    return sorted(entries)
