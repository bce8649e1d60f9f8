"""`proxy_*_shared_*`: values under keys, with compare-and-swap, and queues between contexts.

Values are in the plugin's key-value state, under keys of their own, behind the number that
compare-and-swap goes by; they survive a reload. Those of plugins with a VM ID are in memory, shared
by all with that ID. Queues are in memory, and survive the instance.
"""

from __future__ import annotations

import struct
from typing import Final

from proxy_core.plugin_host import codes as abi
from proxy_core.plugin_host.belongings.state import VALUE_BYTES, KeyValueState
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    CAS_MISMATCH,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import instance_of
from proxy_core.plugin_host.foreign.proxy_wasm.machines import (
    find_queue,
    machine_of,
    resolve_queue,
)
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import give, give_u32
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide, ValueType

NAME_BYTES: Final = 1000
"""Of a key or of a queue's name."""
_PREFIX: Final = b"shared:"
_CAS: Final = struct.Struct("<I")


def _text(host: HostSide, ptr: int, length: int) -> bytes | int:
    if not host.memory.holds(ptr, length):
        return INVALID_MEMORY
    return BAD_ARGUMENT if length > NAME_BYTES else host.memory.read(ptr, length) or b""


def _data(host: HostSide) -> KeyValueState:
    machine = machine_of(host)
    return machine.data if machine.vm_id else host.call.belongings.state


def _stored(host: HostSide, key: bytes) -> tuple[int, bytes] | None:
    """Return (number to compare, value)."""
    raw = _data(host).get(_PREFIX + key)
    return None if raw is None else (_CAS.unpack_from(raw)[0], raw[_CAS.size :])


def _get_data(
    host: HostSide, kp: int, kn: int, address_at: int, length_at: int, cas_at: int
) -> int:
    key = _text(host, kp, kn)
    if isinstance(key, int):
        return NOT_FOUND if key == BAD_ARGUMENT else key
    stored = _stored(host, key)
    if stored is None:
        return NOT_FOUND
    cas, value = stored
    if not host.memory.holds(cas_at, 4):
        return INVALID_MEMORY
    status = give(host, value, address_at, length_at)
    return status if status != OK else give_u32(host, cas, cas_at)


def _set_data(host: HostSide, kp: int, kn: int, vp: int, vn: int, cas: int) -> int:
    key = _text(host, kp, kn)
    if isinstance(key, int):
        return key
    if not host.memory.holds(vp, vn):
        return INVALID_MEMORY
    limit = host.call.manifest.limits.kv_bytes
    if vn > min(limit, VALUE_BYTES):
        return INTERNAL_FAILURE
    with machine_of(host).lock:
        stored = _stored(host, key)
        old = 0 if stored is None else stored[0]
        if stored is not None and cas not in (0, old):
            return CAS_MISMATCH
        value = _CAS.pack(old % 0xFFFFFFFF + 1) + (host.memory.read(vp, vn) or b"")
        code = _data(host).set(_PREFIX + key, value, limit)
    return OK if code == abi.OK else INTERNAL_FAILURE


def _register(host: HostSide, np: int, nn: int, at: int) -> int:
    name = _text(host, np, nn)
    if isinstance(name, int):
        return name
    if not host.memory.holds(at, 4):
        return INVALID_MEMORY
    queue = machine_of(host).register(name)
    if queue is None:
        return INTERNAL_FAILURE
    instance = instance_of(host)
    instance.uses_queues = True
    queue.add_listener(instance)
    return give_u32(host, queue.number, at)


def _resolve(host: HostSide, vp: int, vn: int, np: int, nn: int, at: int) -> int:
    machine, name = _text(host, vp, vn), _text(host, np, nn)
    if INVALID_MEMORY in (machine, name) or not host.memory.holds(at, 4):
        return INVALID_MEMORY
    if isinstance(machine, int) or isinstance(name, int):
        return NOT_FOUND  # nothing has so long a name
    queue = resolve_queue(host, machine, name)
    return NOT_FOUND if queue is None else give_u32(host, queue.number, at)


def _enqueue(host: HostSide, number: int, ptr: int, length: int) -> int:
    if not host.memory.holds(ptr, length):
        return INVALID_MEMORY
    limit = host.call.manifest.limits.kv_bytes
    if length > min(limit, VALUE_BYTES):
        return INTERNAL_FAILURE
    queue = find_queue(host, number)
    return NOT_FOUND if queue is None else queue.put(host.memory.read(ptr, length) or b"", limit)


def _dequeue(host: HostSide, number: int, address_at: int, length_at: int) -> int:
    queue = find_queue(host, number)
    if queue is None:
        return NOT_FOUND
    item = queue.first()
    if isinstance(item, int):
        return item
    status = give(host, item, address_at, length_at)
    if status == OK:
        queue.drop_first()
    return status


_I3: Final[tuple[ValueType, ...]] = ("i32",) * 3
_I5: Final[tuple[ValueType, ...]] = ("i32",) * 5

FUNCTIONS: Final = (
    HostFunction("proxy_get_shared_data", 0, _I5, "i32", _get_data),
    HostFunction("proxy_set_shared_data", 0, _I5, "i32", _set_data),
    HostFunction("proxy_register_shared_queue", 0, _I3, "i32", _register),
    HostFunction("proxy_resolve_shared_queue", 0, _I5, "i32", _resolve),
    HostFunction("proxy_enqueue_shared_queue", 0, _I3, "i32", _enqueue),
    HostFunction("proxy_dequeue_shared_queue", 0, _I3, "i32", _dequeue),
)
