"""`proxy_*_shared_*`: values under keys, with compare-and-swap, and queues between contexts.

Values are in the plugin's key-value state, under keys of their own, behind the number that
compare-and-swap goes by; they survive a reload. Queues are in memory, and survive the instance.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final

from proxy_core.plugin_host import codes as abi
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    CAS_MISMATCH,
    EMPTY,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import MOST_NEWS, instance_of
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import give, give_u32
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide, ValueType

MOST_QUEUES: Final = 100
NAME_BYTES: Final = 1000
"""Of a key or of a queue's name."""
ITEM_BYTES: Final = 64
"""What an item counts for besides its bytes."""
_PREFIX: Final = b"shared:"
_CAS: Final = struct.Struct("<I")


class Queues:
    """The shared queues of one plugin. `size` counts their items against `limits.kv_bytes`."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._items: dict[int, deque[bytes]] = {}
        self.size = 0

    def register(self, name: bytes) -> int | None:
        """Return the queue's number, from 1 on; None where there are too many."""
        number = self._ids.get(name)
        if number is None:
            if len(self._ids) >= MOST_QUEUES:
                return None
            number = self._ids[name] = len(self._ids) + 1
            self._items[number] = deque()
        return number

    def find(self, name: bytes) -> int | None:
        """Return the number of a queue that is registered."""
        return self._ids.get(name)

    def put(self, number: int, item: bytes, limit: int) -> int:
        """Append an item; OK, NOT_FOUND, or INTERNAL_FAILURE where `size` would pass `limit`."""
        queue = self._items.get(number)
        if queue is None:
            return NOT_FOUND
        if self.size + len(item) + ITEM_BYTES > limit:
            return INTERNAL_FAILURE
        queue.append(item)
        self.size += len(item) + ITEM_BYTES
        return OK

    def first(self, number: int) -> bytes | int:
        """Return the oldest item and leave it there; NOT_FOUND or EMPTY."""
        queue = self._items.get(number)
        if queue is None:
            return NOT_FOUND
        return queue[0] if queue else EMPTY

    def drop_first(self, number: int) -> None:
        """Take the oldest item out."""
        self.size -= len(self._items[number].popleft()) + ITEM_BYTES


def _queues(host: HostSide) -> Queues:
    belongings = host.call.belongings
    if not isinstance(belongings.foreign, Queues):
        belongings.foreign = Queues()
    return belongings.foreign


def _text(host: HostSide, ptr: int, length: int) -> bytes | int:
    if not host.memory.holds(ptr, length):
        return INVALID_MEMORY
    return BAD_ARGUMENT if length > NAME_BYTES else host.memory.read(ptr, length) or b""


def _stored(host: HostSide, key: bytes) -> tuple[int, bytes] | None:
    """Return (number to compare, value)."""
    raw = host.call.belongings.state.get(_PREFIX + key)
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
    if vn > limit:
        return INTERNAL_FAILURE
    stored = _stored(host, key)
    old = 0 if stored is None else stored[0]
    if stored is not None and cas not in (0, old):
        return CAS_MISMATCH
    value = _CAS.pack(old % 0xFFFFFFFF + 1) + (host.memory.read(vp, vn) or b"")
    code = host.call.belongings.state.set(_PREFIX + key, value, limit)
    return OK if code == abi.OK else INTERNAL_FAILURE


def _register(host: HostSide, np: int, nn: int, at: int) -> int:
    name = _text(host, np, nn)
    if isinstance(name, int):
        return name
    if not host.memory.holds(at, 4):
        return INVALID_MEMORY
    number = _queues(host).register(name)
    instance_of(host).uses_queues = True
    return INTERNAL_FAILURE if number is None else give_u32(host, number, at)


def _resolve(host: HostSide, vp: int, vn: int, np: int, nn: int, at: int) -> int:
    machine, name = _text(host, vp, vn), _text(host, np, nn)
    if INVALID_MEMORY in (machine, name) or not host.memory.holds(at, 4):
        return INVALID_MEMORY
    if machine not in (b"", host.call.manifest.proxy_wasm.vm_id.encode()):
        return NOT_FOUND  # queues are a plugin's own
    number = None if isinstance(name, int) else _queues(host).find(name)
    return NOT_FOUND if number is None else give_u32(host, number, at)


def _enqueue(host: HostSide, number: int, ptr: int, length: int) -> int:
    if not host.memory.holds(ptr, length):
        return INVALID_MEMORY
    limit = host.call.manifest.limits.kv_bytes
    if length > limit:
        return INTERNAL_FAILURE
    status = _queues(host).put(number, host.memory.read(ptr, length) or b"", limit)
    news = instance_of(host).news
    if status == OK and len(news) < MOST_NEWS:
        news.append(number)
    return status


def _dequeue(host: HostSide, number: int, address_at: int, length_at: int) -> int:
    queues = _queues(host)
    item = queues.first(number)
    if isinstance(item, int):
        return item
    status = give(host, item, address_at, length_at)
    if status == OK:
        queues.drop_first(number)
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
