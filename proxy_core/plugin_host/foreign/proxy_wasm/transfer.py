"""Values on their way into a filter's memory and out of it; every pointer is checked.

A result that has no fixed size is written where the filter's own allocator makes room for it, and
address and length are written to where the filter wants them.
"""

from __future__ import annotations

import struct

from proxy_core.model.headers import Field
from proxy_core.plugin_host.foreign.proxy_wasm.codes import INTERNAL_FAILURE, INVALID_MEMORY, OK
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import instance_of
from proxy_core.plugin_host.functions import header_block
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.hook import edit_rules as rules

_U32 = 0xFFFFFFFF


def deny(host: HostSide, name: str) -> int:
    """Count a call that the plugin's permissions do not allow; return the status for it."""
    host.call.deny(name)
    return INTERNAL_FAILURE


def give(host: HostSide, data: bytes, address_at: int, length_at: int) -> int:
    """Hand over bytes of any length; OK or INVALID_MEMORY. Nothing is allocated for none."""
    memory = host.memory
    if not (memory.holds(address_at, 4) and memory.holds(length_at, 4)):
        return INVALID_MEMORY
    address = 0
    if data:
        allocator = instance_of(host).allocator
        if allocator is None:
            return INVALID_MEMORY
        address = host.enter(allocator, len(data)) & _U32
        if address == 0 or not memory.write(address, data):
            return INVALID_MEMORY
    memory.write(address_at, struct.pack("<I", address))
    memory.write(length_at, struct.pack("<I", len(data)))
    return OK


def give_u32(host: HostSide, number: int, at: int) -> int:
    """Write a 32-bit number; OK or INVALID_MEMORY."""
    return OK if host.memory.write(at, struct.pack("<I", number & _U32)) else INVALID_MEMORY


def give_u64(host: HostSide, number: int, at: int) -> int:
    """Write a 64-bit number; OK or INVALID_MEMORY."""
    packed = struct.pack("<Q", number & 0xFFFFFFFFFFFFFFFF)
    return OK if host.memory.write(at, packed) else INVALID_MEMORY


def pack_pairs(pairs: list[Field]) -> bytes:
    """Serialise a map; an empty one is no bytes at all."""
    return header_block.pack(pairs) if pairs else b""


def unpack_pairs(data: bytes) -> list[Field] | None:
    """Read a serialised map; None where it is malformed or has too many fields."""
    if data == b"\0":
        return []
    return header_block.unpack(data, rules.HEADER_COUNT + 8)
