"""`host_read_file`: pieces of regular files, below granted directories and nowhere else.

The way down is walked by descriptors from the root, and no link is followed on it: a granted
directory was asked for by the place that its links really lead to, and below it a link may lead
anywhere. Disks may be slow, so hooks wait for the answer while the loop goes on.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from proxy_core.plugin_host.codes import ABSENT, BAD_POINTER, NOT_PERMITTED, OVER_LIMIT
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide

NAME: Final = "host_read_file"
PATH_BYTES: Final = 4096
READ_BYTES: Final = 1024 * 1024
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a named pipe would wait for a writer.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENAMETOOLONG, errno.EIO})


def _read_file(
    host: HostSide, pp: int, pn: int, offset: int, buf: int, cap: int
) -> int | Coroutine[Any, Any, int]:
    call = host.call
    granted = call.belongings.permits.granted("filesystem")
    if not granted:
        return call.deny(NAME)
    if pn > PATH_BYTES:
        return OVER_LIMIT
    path = host.memory.read(pp, pn)
    if path is None or not host.memory.holds(buf, cap):
        return BAD_POINTER
    candidates = places(path, [os.fsencode(directory) for directory in granted])
    if not candidates:
        return call.deny(NAME)
    length = min(cap, READ_BYTES)

    def answer(found: bytes | int) -> int:
        if isinstance(found, int):
            return call.deny(NAME) if found == NOT_PERMITTED else found
        return len(found) if host.memory.write(buf, found) else BAD_POINTER

    async def wait() -> int:
        return answer(await asyncio.to_thread(read_first, candidates, offset, length))

    try:
        asyncio.get_running_loop()
    except RuntimeError:  # on a thread already: loading, or the engine that runs guests on one
        return answer(read_first(candidates, offset, length))
    return wait()


def places(path: bytes, directories: Sequence[bytes]) -> list[list[bytes]]:
    """Return where `path` may be, as components from the root on; empty where it is not granted.

    A relative path is looked for in each directory in turn.
    """
    parts = [part for part in path.split(b"/") if part]
    if not parts or b"." in parts or b".." in parts or b"\0" in path:
        return []
    roots = [[part for part in directory.split(b"/") if part] for directory in directories]
    if not path.startswith(b"/"):
        return [root + parts for root in roots]
    inside = any(len(parts) > len(root) and parts[: len(root)] == root for root in roots)
    return [parts] if inside else []


def read_first(candidates: Sequence[Sequence[bytes]], offset: int, length: int) -> bytes | int:
    """Read from the first of the candidates that is there. Blocks."""
    found: bytes | int = ABSENT
    for parts in candidates:
        found = _read(parts, offset, length)
        if found != ABSENT:
            break
    return found


def _read(parts: Sequence[bytes], offset: int, length: int) -> bytes | int:
    try:
        descriptor = os.open(b"/", _DIRECTORY)
        try:
            for part in parts[:-1]:
                try:
                    deeper = os.open(part, _DIRECTORY, dir_fd=descriptor)
                except NotADirectoryError:
                    found = os.stat(part, dir_fd=descriptor, follow_symlinks=False)
                    return NOT_PERMITTED if stat.S_ISLNK(found.st_mode) else ABSENT
                os.close(descriptor)
                descriptor = deeper
            return _read_regular(parts[-1], descriptor, offset, length)
        finally:
            os.close(descriptor)
    except OSError as error:
        return ABSENT if error.errno in _ABSENT else NOT_PERMITTED


def _read_regular(name: bytes, directory: int, offset: int, length: int) -> bytes | int:
    # Opening a device may do something already.
    if not stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
        return NOT_PERMITTED
    descriptor = os.open(name, _FILE, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return NOT_PERMITTED
        return os.pread(descriptor, length, offset)
    finally:
        os.close(descriptor)


READING: Final = HostFunction(
    NAME, 1, ("i32", "i32", "i32", "i32", "i32"), "i32", _read_file, waits=True
)
