"""What the user has allowed plugins to reach, kept in one file of the data directory.

A decision is about one kind of permission, the very entries that were asked for, and one module, by
its hash: where any of these changes, the user is asked again. A file that cannot be trusted counts
as empty. Blocks; for worker threads and other processes too.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from proxy_core.model.plugin_status import AskedPermission, PermissionKind, PermissionState
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.files.reach import real_directories
from proxy_core.private_files import (
    NotPrivate,
    private_directory,
    read_private,
    write_private,
)

FILE_NAME: Final = "plugin-grants.json"
MOST_PLUGINS: Final = 1000
"""Beyond it the decisions about the plugin that was decided on first are forgotten."""
_FILE_BYTES: Final = 16 * 1024 * 1024
_VERSION: Final = 1


class _Decision(msgspec.Struct, forbid_unknown_fields=True):
    file_hash: str
    entries: tuple[str, ...]
    granted: bool


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: int = _VERSION
    plugins: dict[str, dict[str, _Decision]] = {}


def hash_of(data: bytes) -> str:
    """What decisions know a module by."""
    return hashlib.sha256(data).hexdigest()


def wanted_by(manifest: Manifest, base: Path) -> list[tuple[PermissionKind, tuple[str, ...]]]:
    """Return what a manifest in the directory `base` asks for, directories as they really are."""
    asked = manifest.permissions
    return [
        ("network", asked.network),
        ("filesystem", real_directories(asked.filesystem, base.absolute())),
    ]


class Permits:
    """What one version of a plugin asked for, and may reach by now. Read from any thread."""

    __slots__ = ("_asked", "_granted", "file_hash")

    def __init__(self, file_hash: str = "", asked: Sequence[AskedPermission] = ()) -> None:
        self.file_hash = file_hash
        self._asked = {each.kind: each for each in asked}
        self._granted: dict[str, tuple[str, ...]] = {}
        self._sum_up()

    @property
    def asked(self) -> tuple[AskedPermission, ...]:
        """Everything it asked for, and what was decided."""
        return tuple(self._asked.values())

    def entries(self, kind: PermissionKind) -> tuple[str, ...]:
        """What it asked for of a kind, granted or not."""
        asked = self._asked.get(kind)
        return () if asked is None else asked.entries

    def granted(self, kind: PermissionKind) -> tuple[str, ...]:
        """The entries of a kind that it may reach."""
        return self._granted.get(kind, ())

    def decide(self, kind: PermissionKind, granted: bool) -> None:
        """Let a decision take effect."""
        asked = self._asked[kind]
        state = PermissionState.GRANTED if granted else PermissionState.DENIED
        self._asked[kind] = msgspec.structs.replace(asked, state=state)
        self._sum_up()

    def _sum_up(self) -> None:
        self._granted = {
            kind: asked.entries
            for kind, asked in self._asked.items()
            if asked.state is PermissionState.GRANTED
        }


class Grants:
    """The decisions. Without a directory they are kept in memory only."""

    def __init__(self, directory: Path | None, tell: Callable[[str], None]) -> None:
        """Call `tell`, on any thread, with what a user should know."""
        self._path = None if directory is None else directory / FILE_NAME
        self._tell = tell
        self._memory = _File()
        self._lock = threading.Lock()

    def state(
        self, name: str, file_hash: str, kind: PermissionKind, entries: Sequence[str]
    ) -> PermissionState:
        """What was decided about exactly this."""
        with self._lock:
            decision = self._read().plugins.get(name, {}).get(kind)
        if decision is None or (decision.file_hash, decision.entries) != (
            file_hash,
            tuple(entries),
        ):
            return PermissionState.UNASKED
        return PermissionState.GRANTED if decision.granted else PermissionState.DENIED

    def decide(
        self, name: str, file_hash: str, kind: PermissionKind, entries: Sequence[str], granted: bool
    ) -> None:
        """Keep a decision, in place of the one before. Raises OSError where it cannot be kept."""
        with self._lock, self._alone():
            file = self._read()
            decisions = file.plugins.setdefault(name, {})
            decisions[kind] = _Decision(file_hash, tuple(entries), granted)
            while len(file.plugins) > MOST_PLUGINS:
                del file.plugins[next(iter(file.plugins))]
            self._write(file)

    def permits(
        self, name: str, file_hash: str, wanted: Sequence[tuple[PermissionKind, Sequence[str]]]
    ) -> Permits:
        """Return what one version of a plugin asks for, with what was decided."""
        asked = [
            AskedPermission(kind, tuple(entries), self.state(name, file_hash, kind, entries))
            for kind, entries in wanted
            if entries
        ]
        return Permits(file_hash, asked)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from changing the file meanwhile."""
        if self._path is None:
            yield
            return
        private_directory(self._path.parent)
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> _File:
        if self._path is None:
            return self._memory
        try:
            raw = read_private(self._path, _FILE_BYTES)
            if raw is None:
                return _File()
            if len(raw) > _FILE_BYTES:
                raise NotPrivate("is too large")
            file = msgspec.json.decode(raw, type=_File)
            if file.version != _VERSION:
                raise NotPrivate(f"has version {file.version}; known is {_VERSION}")
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self._tell(f"{self._path} {error}; plugins reach nothing until they are allowed anew")
            return _File()
        return file

    def _write(self, file: _File) -> None:
        if self._path is not None:
            write_private(self._path, msgspec.json.format(msgspec.json.encode(file), indent=2))
