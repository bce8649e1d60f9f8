"""Files of the plugin host that are for its user alone: 0600 in 0700, never half written.

Raises OSError as it comes; who calls knows what the file was for.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class NotPrivate(OSError):
    """A file is no regular file, belongs to somebody else, or is open to others."""


def private_directory(path: Path) -> None:
    """Make `path`, parents too, or close it to others where it is there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) & _OTHERS:
        path.chmod(0o700)


def read_private(path: Path, limit: int, strict: bool = True) -> bytes | None:
    """Return up to `limit` + 1 bytes; None where there is no such file.

    Where `strict`, raises NotPrivate unless it is a regular file of this user's that nobody else
    may read or write.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NotPrivate("is no regular file")
        if strict and found.st_uid != os.geteuid():
            raise NotPrivate("belongs to another user")
        if strict and found.st_mode & _OTHERS:
            raise NotPrivate(f"is open to other users (mode {stat.S_IMODE(found.st_mode):04o})")
        return file.read(limit + 1)


def write_private(path: Path, *parts: bytes) -> None:
    """Replace `path` by a file of these bytes in one step, its directory being there."""
    _publish(path, parts, os.replace)


def publish_private(path: Path, *parts: bytes) -> None:
    """Make a file of these bytes in one step, unless there is one of that name already."""

    def link(draft: Path, path: Path) -> None:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()

    _publish(path, parts, link)


def _publish(path: Path, parts: tuple[bytes, ...], name_it: Callable[[Path, Path], None]) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(descriptor)
        name_it(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
