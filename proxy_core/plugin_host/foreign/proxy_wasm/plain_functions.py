"""What filters ask of the host itself: to log, to tell the time, to tick.

And the answer of what is not there, as gRPC calls and most foreign functions.
"""

from __future__ import annotations

from typing import Final

from proxy_core.model.log_line import LogLevel
from proxy_core.model.words import counted
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
    UNIMPLEMENTED,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import instance_of
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import give, give_u32, give_u64
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide, ValueType
from proxy_core.plugin_host.logs import LINE_BYTES

_CLEAR_ROUTE_CACHE: Final = b"clear_route_cache"
SHORTEST_TICK: Final = 0.01
"""Seconds; what is shorter is taken for this."""

_LEVELS: Final = (
    LogLevel.DEBUG,  # trace
    LogLevel.DEBUG,
    LogLevel.INFO,
    LogLevel.WARN,
    LogLevel.ERROR,
    LogLevel.ERROR,  # critical
)


def _log(host: HostSide, level: int, ptr: int, length: int) -> int:
    """Log a line. OK also where the plugin logs too much: filters take anything else for fatal."""
    if level >= len(_LEVELS):
        return BAD_ARGUMENT
    if not host.memory.holds(ptr, length):
        return INVALID_MEMORY
    raw = host.memory.read(ptr, min(length, LINE_BYTES)) or b""
    text = raw.decode("utf-8", "replace")
    if length > LINE_BYTES:
        text += f"... ({counted(length - LINE_BYTES, 'byte')} more)"
    stream = instance_of(host).stream
    host.call.journal.write(_LEVELS[level], text, None if stream is None else stream.flow.id)
    return OK


def _log_level(host: HostSide, at: int) -> int:
    """Everything is kept, so the lowest level is the one."""
    return give_u32(host, 0, at)


def _now(host: HostSide, at: int) -> int:
    return give_u64(host, host.call.belongings.now_ns(), at)


def _set_tick(host: HostSide, milliseconds: int) -> int:
    seconds = milliseconds / 1000
    instance_of(host).tick_seconds = max(seconds, SHORTEST_TICK) if seconds else 0.0
    return OK


def _call_status(host: HostSide, code_at: int, address_at: int, length_at: int) -> int:
    """The status of the HTTP call whose answer is being told."""
    answer = instance_of(host).answer
    if answer is None:
        return NOT_FOUND
    if not host.memory.holds(code_at, 4):
        return INVALID_MEMORY
    status = give(host, answer.message.encode(), address_at, length_at)
    return status if status != OK else give_u32(host, answer.status, code_at)


def _nothing(host: HostSide, *arguments: int) -> int:
    return OK


def _equal(host: HostSide, left: int, right: int) -> int:
    return int(left == right)


def _call_foreign(
    host: HostSide, np: int, nn: int, ap: int, an: int, address_at: int, length_at: int
) -> int:
    """Carry out the one foreign function that filters for Envoy need and that means nothing here.

    It took the place of `proxy_clear_route_cache` in later versions. Its result is empty, and
    need not be wanted.
    """
    memory = host.memory
    if not (memory.holds(np, nn) and memory.holds(ap, an)):
        return INVALID_MEMORY
    if nn != len(_CLEAR_ROUTE_CACHE) or memory.read(np, nn) != _CLEAR_ROUTE_CACHE:
        return UNIMPLEMENTED
    statuses = [give_u32(host, 0, at) for at in (address_at, length_at) if at]
    return INVALID_MEMORY if INVALID_MEMORY in statuses else OK


def unimplemented(host: HostSide, *arguments: int) -> int:
    """Answer for a function that this host does not have."""
    return UNIMPLEMENTED


_I1: Final[tuple[ValueType, ...]] = ("i32",)
_I2: Final[tuple[ValueType, ...]] = ("i32",) * 2
_I3: Final[tuple[ValueType, ...]] = ("i32",) * 3
_I6: Final[tuple[ValueType, ...]] = ("i32",) * 6

FUNCTIONS: Final = (
    HostFunction("proxy_log", 0, _I3, "i32", _log),
    HostFunction("proxy_get_log_level", 0, _I1, "i32", _log_level),
    HostFunction("proxy_get_current_time_nanoseconds", 0, _I1, "i32", _now),
    HostFunction("proxy_set_tick_period_milliseconds", 0, _I1, "i32", _set_tick, pointers=False),
    HostFunction("proxy_get_status", 0, _I3, "i32", _call_status),
    # There are no routes here whose choice could have been kept.
    HostFunction("proxy_clear_route_cache", 0, (), "i32", _nothing, pointers=False),
    HostFunction("proxy_call_foreign_function", 0, _I6, "i32", _call_foreign),
    # What Emscripten's runtime imports beside them.
    HostFunction("emscripten_notify_memory_growth", 0, _I1, None, _nothing, pointers=False),
    HostFunction("pthread_equal", 0, _I2, "i32", _equal, pointers=False),
)
