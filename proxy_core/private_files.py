"""Files that only their owner may read: private from the first byte, and never half written.

Raises OSError as it comes; who calls knows what the file was for. A file gets its name when it is
complete and on disk already, so of two processes that publish the same name at once one wins and
the other reads what the winner wrote; no lock is needed and none can be left behind.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class NotPrivate(OSError):
    """A file is no regular file, belongs to somebody else, or is open to others."""


def private_directory(path: Path) -> int | None:
    """Make `path` a directory of mode 0700 that can be listed, and its missing parents too.

    Return the mode it had, where others had a part in it.
    """
    for directory in reversed([p for p in path.parents if not p.exists()]):
        directory.mkdir(mode=0o700, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    found = stat.S_IMODE(path.stat().st_mode)
    if found & _OTHERS:
        path.chmod(0o700)
        return found
    with os.scandir(path):
        return None


@contextlib.contextmanager
def open_private(path: Path, links: bool = False) -> Iterator[int]:
    """Open a regular file to read, for its descriptor; through symbolic links only with `links`.

    Raises NotPrivate for what is no regular file.
    """
    # Without O_NONBLOCK, opening a named pipe would wait for a writer.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags if links else flags | os.O_NOFOLLOW)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotPrivate("is no regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def check_owner(descriptor: int) -> None:
    """Raise NotPrivate unless the file is this user's."""
    if os.fstat(descriptor).st_uid != os.geteuid():
        raise NotPrivate("belongs to another user")


def open_to_others(descriptor: int) -> int | None:
    """Return the file's mode where others may read or write it."""
    found = stat.S_IMODE(os.fstat(descriptor).st_mode)
    return found if found & _OTHERS else None


def read_some(descriptor: int, limit: int) -> bytes:
    """Return at most `limit` bytes of an open file."""
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(limit)


def read_private(path: Path, limit: int, strict: bool = True) -> bytes | None:
    """Return up to `limit` + 1 bytes; None where there is no such file.

    Where `strict`, raises NotPrivate unless it is a regular file of this user's that nobody else
    may read or write.
    """
    try:
        with open_private(path) as descriptor:
            if strict:
                check_owner(descriptor)
                if (mode := open_to_others(descriptor)) is not None:
                    raise NotPrivate(f"is open to other users (mode {mode:04o})")
            return read_some(descriptor, limit + 1)
    except FileNotFoundError:
        return None


def write_private(path: Path, *parts: bytes) -> None:
    """Replace `path` by a file of these bytes in one step, its directory being there."""
    _write(path, parts, 0o600, os.replace)


def publish_private(path: Path, *parts: bytes, mode: int = 0o600) -> bool:
    """Make a file of these bytes in one step; return False where there is one already.

    The file has `mode` before it has a first byte, and is on disk before it has its name.
    """
    try:
        _write(path, parts, mode, _link)
    except FileExistsError:
        return False
    return True


def _link(draft: Path, path: Path) -> None:
    os.link(draft, path)
    draft.unlink()


def _write(
    path: Path, parts: tuple[bytes, ...], mode: int, name_it: Callable[[Path, Path], None]
) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
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
