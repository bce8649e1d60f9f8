"""`proxy_*_buffer_*`: bodies, bytes of tunnels, answers to calls and configurations, in pieces."""

from __future__ import annotations

from typing import Final

from proxy_core.plugin_host.byte_copies import slice_of, splice
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
    Buffer,
    StreamType,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import instance_of
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import deny, give, give_u32
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide, ValueType

BUFFER_BYTES: Final = 16 * 1024 * 1024
"""What a buffer may grow to when a filter writes into it."""

_FROM_CLIENT: Final = (Buffer.REQUEST_BODY, Buffer.DOWNSTREAM_DATA)


def configuration(host: HostSide) -> bytes:
    """The plugin's configuration; nothing where the manifest has none."""
    config = host.call.manifest.config
    return b"" if config == b"{}" else config


def _find(host: HostSide, number: int) -> bytearray | bytes | int:
    """Return a buffer, or the status for why there is none. Only a bytearray can be written."""
    if number > Buffer.FOREIGN_ARGUMENTS:
        return BAD_ARGUMENT
    instance = instance_of(host)
    if number <= Buffer.UPSTREAM_DATA:
        stream = instance.stream
        data = None if stream is None else stream.sides[StreamType(number)].data
        return NOT_FOUND if data is None else data
    match number:
        case Buffer.CALL_BODY:
            return NOT_FOUND if instance.answer is None else instance.answer.body
        case Buffer.VM_CONFIGURATION:
            return host.call.manifest.proxy_wasm.vm_config
        case Buffer.PLUGIN_CONFIGURATION:
            return configuration(host)
    return NOT_FOUND


def _get_bytes(
    host: HostSide, number: int, start: int, most: int, address_at: int, length_at: int
) -> int:
    data = _find(host, number)
    if isinstance(data, int):
        return data
    return give(host, slice_of(data, start, start + most), address_at, length_at)


def _get_status(host: HostSide, number: int, length_at: int, flags_at: int) -> int:
    data = _find(host, number)
    if isinstance(data, int):
        return data
    if not host.memory.holds(flags_at, 4):
        return INVALID_MEMORY
    status = give_u32(host, len(data), length_at)
    return status if status != OK else give_u32(host, 0, flags_at)


def _set_bytes(host: HostSide, number: int, start: int, size: int, ptr: int, length: int) -> int:
    data = _find(host, number)
    if isinstance(data, int):
        return data
    if not isinstance(data, bytearray):
        return BAD_ARGUMENT
    permissions = host.call.manifest.permissions
    if number in _FROM_CLIENT:
        allowed = permissions.modify_requests
    else:
        allowed = permissions.modify_responses
    if not allowed:
        return deny(host, "proxy_set_buffer_bytes")
    if not host.memory.holds(ptr, length):
        return INVALID_MEMORY
    kept = len(data) - max(0, min(len(data), start + size) - start)
    if kept + length > BUFFER_BYTES:
        return BAD_ARGUMENT
    splice(data, start, size, host.memory.read(ptr, length) or b"")
    stream = instance_of(host).stream
    if stream is not None and number <= Buffer.UPSTREAM_DATA:
        stream.sides[StreamType(number)].edited = True
    return OK


def _get_configuration(host: HostSide, address_at: int, length_at: int) -> int:
    """0.1.0: the text for whoever is being started."""
    if instance_of(host).starting_vm:
        return give(host, host.call.manifest.proxy_wasm.vm_config, address_at, length_at)
    return give(host, configuration(host), address_at, length_at)


_I2: Final[tuple[ValueType, ...]] = ("i32",) * 2
_I3: Final[tuple[ValueType, ...]] = ("i32",) * 3
_I5: Final[tuple[ValueType, ...]] = ("i32",) * 5

FUNCTIONS: Final = (
    HostFunction("proxy_get_buffer_bytes", 0, _I5, "i32", _get_bytes),
    HostFunction("proxy_get_buffer_status", 0, _I3, "i32", _get_status),
    HostFunction("proxy_set_buffer_bytes", 0, _I5, "i32", _set_bytes),
    HostFunction("proxy_get_configuration", 0, _I2, "i32", _get_configuration),
)
