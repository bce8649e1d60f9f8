"""Files that only their owner may read: private from the first byte, and never half written.

Publishing is a hard link to a file that is complete and on disk already, so of two processes that
publish the same name at once one wins and the other reads what the winner wrote; no lock is needed
and none can be left behind.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from proxy_core.errors import PrivateFileError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAX_BYTES = 1024 * 1024

REMEDY = "make it a file of this user with mode 0600, or pass another --data-dir"


def private_directory(path: Path) -> list[str]:
    """Make `path` a directory of mode 0700, and its missing parents too.

    Return what was repaired, one sentence each. Raises PrivateFileError where it cannot be had.
    """
    try:
        missing = [p for p in (path, *path.parents) if not p.exists()]
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
        found = stat.S_IMODE(path.stat().st_mode)
        if found & _OTHERS:
            path.chmod(0o700)
            return [f"{path} was open to other users (mode {found:04o}); it is 0700 now"]
        _probe(path)
    except FileExistsError as error:
        raise PrivateFileError(
            f"{path} is a file, not a directory; pass another --data-dir"
        ) from error
    except OSError as error:
        raise PrivateFileError(
            f"{path} cannot be used ({_reason(error)}); give it to this user or pass --data-dir"
        ) from error
    return []


def _probe(directory: Path) -> None:
    """Raise OSError where `directory` is none, or may not be listed."""
    with os.scandir(directory):
        pass


def read_private(
    path: Path, if_read: str, remedy: str = REMEDY, only_ours: bool = False
) -> tuple[bytes, list[str]] | None:
    """Return a secret file's bytes and what was repaired; None where there is no such file.

    A file that other users could read is made 0600 first; `if_read` says what to do about what
    they may have read. With `only_ours` another user's file is refused. Raises PrivateFileError
    where it cannot be read or repaired.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not hold us up
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PrivateFileError(f"{path} cannot be read ({_reason(error)}); {remedy}") from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise PrivateFileError(f"{path} is no regular file; {remedy}")
        if only_ours and status.st_uid != os.geteuid():
            raise PrivateFileError(f"{path} belongs to another user; {remedy}")
        found = stat.S_IMODE(status.st_mode)
        repairs = []
        if found & _OTHERS:
            os.fchmod(fd, 0o600)
            repairs.append(
                f"{path} was open to other users (mode {found:04o}); it is 0600 now. If they "
                f"may have read it, {if_read}"
            )
        return os.read(fd, _MAX_BYTES), repairs
    except OSError as error:
        raise PrivateFileError(
            f"{path} is open to other users or unreadable ({_reason(error)}); {remedy}"
        ) from error
    finally:
        os.close(fd)


def publish(path: Path, data: bytes, mode: int) -> bool:
    """Create `path` with `data` in one step; return False where it exists already.

    The file has `mode` before it has a first byte, and is on disk before it has its name. Raises
    PrivateFileError where it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                os.fchmod(fd, mode)
                file.write(data)
                file.flush()
                os.fsync(fd)
            os.link(draft, path)
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        _sync_directory(path.parent)
    except OSError as error:
        raise PrivateFileError(
            f"{path} cannot be written ({_reason(error)}); make room, allow this user to write "
            "there, or pass another --data-dir"
        ) from error
    return True


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
