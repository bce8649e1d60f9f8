"""Keys and tokens in files, and what people are told about them: what was repaired, what to do.

The files are those of `private_files`; every failure is a PrivateFileError with its remedy.
"""

from __future__ import annotations

import os
from pathlib import Path

from proxy_core.errors import PrivateFileError
from proxy_core.private_files import (
    NotPrivate,
    check_owner,
    open_private,
    open_to_others,
    private_directory,
    publish_private,
    read_some,
)

_MAX_BYTES = 1024 * 1024

REMEDY = "make it a file of this user with mode 0600, or pass another --data-dir"


def secret_directory(path: Path) -> list[str]:
    """Make `path` a directory of mode 0700, and its missing parents too.

    Return what was repaired, one sentence each. Raises PrivateFileError where it cannot be had.
    """
    try:
        found = private_directory(path)
    except FileExistsError as error:
        raise PrivateFileError(
            f"{path} is a file, not a directory; pass another --data-dir"
        ) from error
    except OSError as error:
        raise PrivateFileError(
            f"{path} cannot be used ({_reason(error)}); give it to this user or pass --data-dir"
        ) from error
    if found is None:
        return []
    return [f"{path} was open to other users (mode {found:04o}); it is 0700 now"]


def read_secret(
    path: Path, if_read: str, remedy: str = REMEDY, only_ours: bool = False
) -> tuple[bytes, list[str]] | None:
    """Return a secret file's bytes and what was repaired; None where there is no such file.

    A file that other users could read is made 0600 first; `if_read` says what to do about what
    they may have read. With `only_ours` another user's file is refused. Raises PrivateFileError
    where it cannot be read or repaired.
    """
    repairs = []
    try:
        with open_private(path, links=True) as descriptor:
            if only_ours:
                check_owner(descriptor)
            found = open_to_others(descriptor)
            if found is not None:
                os.fchmod(descriptor, 0o600)
                repairs.append(
                    f"{path} was open to other users (mode {found:04o}); it is 0600 now. If they "
                    f"may have read it, {if_read}"
                )
            return read_some(descriptor, _MAX_BYTES), repairs
    except FileNotFoundError:
        return None
    except NotPrivate as error:
        raise PrivateFileError(f"{path} {error}; {remedy}") from error
    except OSError as error:
        raise PrivateFileError(
            f"{path} is open to other users or unreadable ({_reason(error)}); {remedy}"
        ) from error


def publish(path: Path, data: bytes, mode: int) -> bool:
    """Create `path` with `data` in one step; return False where it exists already.

    Raises PrivateFileError where it cannot be written.
    """
    try:
        return publish_private(path, data, mode=mode)
    except OSError as error:
        raise PrivateFileError(
            f"{path} cannot be written ({_reason(error)}); make room, allow this user to write "
            "there, or pass another --data-dir"
        ) from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
