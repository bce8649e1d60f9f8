"""Host functions on what a plugin keeps between calls: its key-value state and its metrics.

They take effect at once, for all instances, whether or not the hook ends well.
"""

from __future__ import annotations

from typing import Final

from proxy_core.plugin_host.belongings.metrics import NAME_BYTES
from proxy_core.plugin_host.belongings.state import KEY_BYTES, VALUE_BYTES
from proxy_core.plugin_host.codes import ABSENT, BAD_POINTER, OVER_LIMIT
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide
from proxy_core.plugin_host.functions.readers import put

_SIGN: Final = 1 << 63


def _kv_get(host: HostSide, kp: int, kn: int, buf: int, cap: int) -> int:
    if kn > KEY_BYTES:
        return OVER_LIMIT
    key = host.memory.read(kp, kn)
    if key is None:
        return BAD_POINTER
    value = host.view.belongings.state.get(key)
    return ABSENT if value is None else put(host, value, buf, cap)


def _kv_set(host: HostSide, kp: int, kn: int, vp: int, vn: int) -> int:
    call = host.view
    limit = call.manifest.limits.kv_bytes
    if kn > KEY_BYTES or vn > min(limit, VALUE_BYTES):
        return OVER_LIMIT
    key, value = host.memory.read(kp, kn), host.memory.read(vp, vn)
    if key is None or value is None:
        return BAD_POINTER
    return call.belongings.state.set(key, value, limit)


def _kv_add(host: HostSide, kp: int, kn: int, delta: int) -> int:
    call = host.view
    if kn > KEY_BYTES:
        return OVER_LIMIT
    key = host.memory.read(kp, kn)
    if key is None:
        return BAD_POINTER
    return call.belongings.state.add(key, _signed(delta), call.manifest.limits.kv_bytes)


def _metric_add(host: HostSide, np: int, nn: int, delta: int) -> int:
    if nn > NAME_BYTES:
        return OVER_LIMIT
    name = host.memory.read(np, nn)
    return BAD_POINTER if name is None else host.view.belongings.metrics.add(name, _signed(delta))


def _signed(number: int) -> int:
    return (number ^ _SIGN) - _SIGN


_I4: Final = ("i32", "i32", "i32", "i32")

KEEPING: Final = (
    HostFunction("host_kv_get", 1, _I4, "i32", _kv_get),
    HostFunction("host_kv_set", 1, _I4, "i32", _kv_set),
    HostFunction("host_kv_add", 1, ("i32", "i32", "i64"), "i64", _kv_add),
    HostFunction("host_metric_add", 1, ("i32", "i32", "i64"), "i32", _metric_add),
)
"""The host functions of this module."""
