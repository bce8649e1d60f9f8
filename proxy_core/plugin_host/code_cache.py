"""Compiled modules on disk, so that a plugin that has not changed is not compiled again.

What is read from there runs as machine code, outside any sandbox. So the directory and its files
are this user's alone, and each file begins with an HMAC-SHA256, by a key that lies beside them,
over its name and all that follows; it is looked at before anything else is. A file that does not
pass is never loaded: the module is compiled, the file replaced, and the log says so.

Blocks; for worker threads, several at once, of several processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import platform
import secrets
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.guest import Code, Engine
from proxy_core.private_files import (
    NotPrivate,
    private_directory,
    publish_private,
    read_private,
    write_private,
)

TOTAL_BYTES: Final = 256 * 1024 * 1024
"""What all files together may have; those not used for longest go first."""
MODULE_BYTES: Final = TOTAL_BYTES // 2
_KEY_NAME: Final = "key"
_KEY_BYTES: Final = 32
_MAC_BYTES: Final = 32
_STALE_SECONDS: Final = 3600.0
"""After this a half-written file is nobody's any more."""


@dataclass(frozen=True, slots=True)
class KeyParts:
    """All that compiled code depends on."""

    file_hash: str
    """SHA-256 of the module, in hexadecimal."""
    library: str
    """The WebAssembly library's version."""
    settings: str
    """How the engine is set up."""
    cpu: str
    engine: str
    """Which of our engines."""

    def name(self) -> str:
        """Return the file's name: a hash of all parts, none of which can pass for another."""
        digest = hashlib.sha256()
        for part in astuple(self):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return digest.hexdigest()


class CodeCache:
    """The directory. It gives up, with one line in the log, where it cannot be used."""

    def __init__(self, directory: Path, tell: Callable[[str], None]) -> None:
        """Call `tell`, on any thread, with what a user should know."""
        self._directory = directory
        self._tell = tell
        self._usable = True
        self._cpu: str | None = None

    def compile(self, engine: Engine, data: bytes) -> Code:
        """Return a module's code, from the disk where it is there. Raises ModuleRefused."""
        key = self._open()
        if key is None:
            return engine.compile(data)
        if self._cpu is None:
            self._cpu = describe_cpu()
        parts = KeyParts(
            hashlib.sha256(data).hexdigest(),
            engine.library,
            engine.settings,
            self._cpu,
            engine.name,
        )
        name = parts.name()
        code = self._load(engine, name, key)
        if code is None:
            code = engine.compile(data)
            self._store(name, key, engine.serialize(code))
        return code

    def _open(self) -> bytes | None:
        """Return the key, made if need be; None where there is no cache to be had."""
        if not self._usable:
            return None
        try:
            private_directory(self._directory)
            if self._directory.stat().st_uid != os.geteuid():
                raise NotPrivate("belongs to another user")
            return self._read_key()
        except OSError as error:
            self._give_up(error)
            return None

    def _read_key(self) -> bytes:
        path = self._directory / _KEY_NAME
        try:
            key = read_private(path, _KEY_BYTES)
        except OSError as error:
            key = b""
            fault = f"{error}"
        else:
            fault = "has not the length of a key"
        if key is None:
            publish_private(path, secrets.token_bytes(_KEY_BYTES))
            key = read_private(path, _KEY_BYTES) or b""  # another process may have been first
        if len(key) != _KEY_BYTES:
            self._tell(f"{path} {fault}; it is replaced, and all plugins are compiled anew")
            key = secrets.token_bytes(_KEY_BYTES)
            write_private(path, key)
        return key

    def _give_up(self, error: OSError) -> None:
        if self._usable:
            self._usable = False
            self._tell(
                f"compiled plugins cannot be kept in {self._directory} ({error}); they are "
                "compiled at each start"
            )

    def _load(self, engine: Engine, name: str, key: bytes) -> Code | None:
        path = self._directory / name
        try:
            raw = read_private(path, _MAC_BYTES + MODULE_BYTES)
            if raw is None:
                return None
            blob = memoryview(raw)[_MAC_BYTES:]
            if not hmac.compare_digest(raw[:_MAC_BYTES], _mac(key, name, blob)):
                raise NotPrivate("is damaged or was tampered with")
            code = engine.deserialize(raw, _MAC_BYTES)
        except (OSError, ModuleRefused) as error:
            self._tell(f"{path} is not loaded: {error}; the plugin is compiled again")
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return code

    def _store(self, name: str, key: bytes, blob: bytes) -> None:
        if len(blob) > MODULE_BYTES:
            return
        try:
            write_private(self._directory / name, _mac(key, name, blob), blob)
            self._tidy()
        except OSError as error:
            self._give_up(error)

    def _tidy(self) -> None:
        """Delete what was not used for longest, until the rest is within TOTAL_BYTES."""
        found = []
        now = time.time()
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # by another process
                    status = entry.stat(follow_symlinks=False)
                    if entry.name.startswith("."):
                        if now - status.st_mtime > _STALE_SECONDS:
                            Path(entry).unlink()
                    elif entry.name != _KEY_NAME:
                        found.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= TOTAL_BYTES:
                break
            total -= size
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()


def _mac(key: bytes, name: str, blob: bytes | memoryview) -> bytes:
    made = hmac.new(key, name.encode(), hashlib.sha256)
    made.update(blob)
    return made.digest()


def describe_cpu() -> str:
    """Return the processors' models and features, as far as the system tells them."""
    told = {platform.machine(), platform.processor()}
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        for line in file:
            label = line.partition(":")[0].strip()
            if label in ("model name", "flags", "Features", "CPU part", "isa"):
                told.add(line.strip())
    return "\n".join(sorted(told))
