"""The little of WASI that a filter's language runtime needs to start, and nothing of the system.

Standard output and error go to the plugin's log; there are clocks and random bytes; environment
and arguments are empty. Every other function is there and answers BADF (bad file descriptor), as
there is no file to open. WASI snapshot preview 1, and `wasi_unstable` before it, which is the same
as far as it goes here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.abi import Declared, Import
from proxy_core.plugin_host.faults import GuestExited, ModuleRefused
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide, ValueType
from proxy_core.plugin_host.logs import LINE_BYTES

MODULES: Final = ("wasi_snapshot_preview1", "wasi_unstable")

SUCCESS: Final = 0
BADF: Final = 8
FAULT: Final = 21
INVAL: Final = 28
NOTSUP: Final = 58

STDOUT: Final = 1
STDERR: Final = 2
RANDOM_BYTES: Final = 64 * 1024
SLICES: Final = 1024
"""Pieces of memory that one `fd_write` may name."""

_REALTIME: Final = 0
_MONOTONIC: Final = 1
_LEVELS: Final = {STDOUT: LogLevel.INFO, STDERR: LogLevel.ERROR}
_CHARACTER_DEVICE: Final = 2
_RIGHT_TO_WRITE: Final = 64


def bind(declared: Declared) -> Import:
    """Return what a WASI import of a module is bound to. Raises ModuleRefused."""
    if declared.signature is None:
        raise ModuleRefused(f"imports {declared}; WASI has functions only")
    params, results = declared.signature
    known = _KNOWN.get(declared.name)
    if known is None:
        if results != ("i32",) or not set(params) <= {"i32", "i64"}:
            raise ModuleRefused(f"imports {declared}, which is no function of WASI preview 1")
        return Import(_missing(declared.module, declared.name, params), True)
    kinds, run, result = known
    if params != kinds or results != (() if result is None else (result,)):
        raise ModuleRefused(
            f"imports {declared}; in WASI preview 1 it takes ({', '.join(kinds)}) and returns "
            f"{result or 'nothing'}"
        )
    function = HostFunction(declared.name, 0, kinds, result, run, module=declared.module)
    return Import(function, result is not None)


def _missing(module: str, name: str, params: tuple[str, ...]) -> HostFunction:
    kinds: tuple[ValueType, ...] = tuple("i64" if kind == "i64" else "i32" for kind in params)
    return HostFunction(name, 0, kinds, "i32", _no_such_file, pointers=False, module=module)


def _no_such_file(host: HostSide, *arguments: int) -> int:
    return BADF


def _write(host: HostSide, descriptor: int, slices: int, count: int, written: int) -> int:
    """Write to the log, line by line; at most LINE_BYTES are taken at once."""
    level = _LEVELS.get(descriptor)
    if level is None:
        return BADF
    if count > SLICES:
        return INVAL
    table = host.memory.read(slices, 8 * count)
    if table is None or not host.memory.holds(written, 4):
        return FAULT
    room, taken = LINE_BYTES, bytearray()
    for at, length in struct.iter_unpack("<II", table):
        piece = host.memory.read(at, min(length, room)) if host.memory.holds(at, length) else None
        if piece is None:
            return FAULT
        taken += piece
        room -= len(piece)
    host.memory.write(written, struct.pack("<I", len(taken)))
    text = host.unfinished.get(descriptor, b"") + taken
    *lines, rest = text.split(b"\n")
    if len(rest) >= LINE_BYTES:
        lines.append(rest)
        rest = b""
    host.unfinished[descriptor] = rest
    for line in lines:
        _log(host, level, line)
    return SUCCESS


def _log(host: HostSide, level: LogLevel, line: bytes) -> None:
    text = line.decode("utf-8", "replace").rstrip()
    if text:
        host.call.journal.write(level, text, host.call.flow_id)


def _exit(host: HostSide, code: int) -> int:
    for descriptor, rest in host.unfinished.items():
        _log(host, _LEVELS[descriptor], rest)
    host.unfinished.clear()
    raise GuestExited(f"ended itself with exit code {code}")


def _clock_time(host: HostSide, clock: int, precision: int, at: int) -> int:
    if clock not in (_REALTIME, _MONOTONIC):
        return NOTSUP
    belongings = host.call.belongings
    now = belongings.now_ns() if clock == _REALTIME else belongings.steady_ns()
    return SUCCESS if host.memory.write(at, struct.pack("<Q", now)) else FAULT


def _clock_resolution(host: HostSide, clock: int, at: int) -> int:
    if clock not in (_REALTIME, _MONOTONIC):
        return NOTSUP
    return SUCCESS if host.memory.write(at, struct.pack("<Q", 1)) else FAULT


def _random(host: HostSide, at: int, length: int) -> int:
    if length > RANDOM_BYTES:
        return INVAL
    if not host.memory.holds(at, length):
        return FAULT
    host.memory.write(at, host.call.belongings.random_bytes(length))
    return SUCCESS


def _none_of_them(host: HostSide, count: int, size: int) -> int:
    """Tell of an empty environment, or of no arguments."""
    if not (host.memory.holds(count, 4) and host.memory.holds(size, 4)):
        return FAULT
    host.memory.write(count, bytes(4))
    host.memory.write(size, bytes(4))
    return SUCCESS


def _nothing_to_give(host: HostSide, pointers: int, text: int) -> int:
    return SUCCESS


def _describe(host: HostSide, descriptor: int, at: int) -> int:
    """Standard output and error are a terminal to write to: no runtime seeks in those."""
    if descriptor not in _LEVELS:
        return BADF
    description = struct.pack("<BxHxxxxQQ", _CHARACTER_DEVICE, 0, _RIGHT_TO_WRITE, 0)
    return SUCCESS if host.memory.write(at, description) else FAULT


def _yield(host: HostSide) -> int:
    return SUCCESS


def _poll(host: HostSide, wanted: int, happened: int, count: int, at: int) -> int:
    """Say that nothing happened: Go's runtime sleeps by this, and ends where it fails."""
    return SUCCESS if host.memory.write(at, bytes(4)) else FAULT


_I2: Final[tuple[ValueType, ...]] = ("i32", "i32")
_I4: Final[tuple[ValueType, ...]] = ("i32", "i32", "i32", "i32")
_KNOWN: Final[Mapping[str, tuple[tuple[ValueType, ...], Callable[..., int], ValueType | None]]] = (
    MappingProxyType(
        {
            "args_get": (_I2, _nothing_to_give, "i32"),
            "args_sizes_get": (_I2, _none_of_them, "i32"),
            "clock_res_get": (_I2, _clock_resolution, "i32"),
            "clock_time_get": (("i32", "i64", "i32"), _clock_time, "i32"),
            "environ_get": (_I2, _nothing_to_give, "i32"),
            "environ_sizes_get": (_I2, _none_of_them, "i32"),
            "fd_fdstat_get": (_I2, _describe, "i32"),
            "fd_write": (_I4, _write, "i32"),
            "poll_oneoff": (_I4, _poll, "i32"),
            "proc_exit": (("i32",), _exit, None),
            "random_get": (_I2, _random, "i32"),
            "sched_yield": ((), _yield, "i32"),
        }
    )
)
