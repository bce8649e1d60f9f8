"""Reading a module's file, and a first look at its bytes before anything compiles them.

The WebAssembly library would take the text format as well, and walks export lists in time that
grows with their square; both are settled here. Binary format: WebAssembly core 2.0, section 5.5.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from proxy_core.model.words import counted
from proxy_core.plugin_host.faults import ModuleRefused

MODULE_BYTES: Final = 32 * 1024 * 1024
MAX_IMPORTS: Final = 1000
MAX_EXPORTS: Final = 1000
FUNCTION_BYTES: Final = 1024 * 1024
"""One function's code. Compiling takes longer than in proportion, and a guest that runs straight
on cannot be interrupted before the end of its function."""

_MAGIC: Final = b"\0asm"
_CORE_1: Final = b"\x01\0\0\0"
_IMPORT_SECTION: Final = 2
_MEMORY_SECTION: Final = 5
_EXPORT_SECTION: Final = 7
_START_SECTION: Final = 8
_CODE_SECTION: Final = 10


_MOST: Final = {
    _IMPORT_SECTION: ("imports", MAX_IMPORTS),
    _MEMORY_SECTION: ("memories", 1),
    _EXPORT_SECTION: ("exports", MAX_EXPORTS),
}


def read_file(path: Path, limit: int) -> bytes:
    """Return what a regular file of at most `limit` bytes holds. Raises ModuleRefused."""
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ModuleRefused(f"{path.name} is not a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        raise ModuleRefused(f"{path.name} cannot be read: {error.strerror or error}") from error
    if len(data) > limit:
        raise ModuleRefused(f"{path.name} is larger than {limit} bytes")
    return data


def check_bytes(data: bytes) -> None:
    """Raise ModuleRefused unless `data` begins like a core module of a sane shape."""
    if not data:
        raise ModuleRefused("the file is empty; build the plugin again")
    if data[:4] != _MAGIC:
        raise ModuleRefused(
            f"not a WebAssembly module: it begins with {data[:8]!r} instead of {_MAGIC!r}; "
            "text (.wat) must be assembled first"
        )
    if data[4:8] != _CORE_1:
        if data[6:8] == b"\x01\0":
            raise ModuleRefused("a WebAssembly component; plugins are core modules")
        raise ModuleRefused(f"WebAssembly version {data[4:8].hex()}; this host runs version 1")
    for section, start, size in _sections(data):
        if section in _MOST:
            count, _ = _unsigned(data, start, start + size)
            what, most = _MOST[section]
            if count > most:
                raise ModuleRefused(
                    f"{count} {what}; at most {most} {'is' if most == 1 else 'are'} taken"
                )
        elif section == _CODE_SECTION:
            _check_functions(data, start, start + size)


def has_start(data: bytes) -> bool:
    """Whether a module that was checked runs code of its own while it is instantiated."""
    return any(section == _START_SECTION for section, _, _ in _sections(data))


def export_names(data: bytes) -> frozenset[str]:
    """Return what a module exports, before it is compiled; what is malformed exports nothing.

    That is for compiling to refuse, and to say why.
    """
    try:
        return frozenset(
            name
            for section, start, size in _sections(data)
            if section == _EXPORT_SECTION
            for name in _names(data, start, start + size)
        )
    except ModuleRefused:
        return frozenset()


def _names(data: bytes, start: int, end: int) -> Iterator[str]:
    count, position = _unsigned(data, start, end)
    for _ in range(count):
        length, at = _unsigned(data, position, end)
        yield data[at : at + length].decode("utf-8", "replace")
        _, position = _unsigned(data, at + length + 1, end)  # behind its kind: a number


def _check_functions(data: bytes, position: int, end: int) -> None:
    count, position = _unsigned(data, position, end)
    for _ in range(count):
        size, start = _unsigned(data, position, end)
        if size > FUNCTION_BYTES:
            raise ModuleRefused(
                f"a function of {size} bytes; at most {FUNCTION_BYTES} are taken, split it"
            )
        position = start + size


def _sections(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (id, start of contents, size) of each section."""
    position, end = 8, len(data)
    while position < end:
        section = data[position]
        size, start = _unsigned(data, position + 1, end)
        if size > end - start:
            raise ModuleRefused(
                f"truncated: section {section} has {counted(size, 'byte')}, "
                f"of which {end - start} are there"
            )
        yield section, start, size
        position = start + size


def _unsigned(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Read one LEB128 number of 32 bits; return it and where it ends."""
    value = 0
    for shift in range(0, 35, 7):
        if position >= end:
            raise ModuleRefused("truncated in the middle of a section's size")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ModuleRefused("malformed: a number of more than 32 bits")
