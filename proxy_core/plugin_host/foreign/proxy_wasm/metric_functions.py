"""`proxy_*_metric`: counters, gauges and histograms among the plugin's metrics.

A histogram is shown as two of them, `NAME.count` and `NAME.sum`. Numbers of metrics belong to the
instance; what was counted belongs to the plugin.
"""

from __future__ import annotations

from typing import Final

from proxy_core.plugin_host import codes as abi
from proxy_core.plugin_host.belongings.metrics import NAME_BYTES, NAMES
from proxy_core.plugin_host.foreign.proxy_wasm.codes import (
    BAD_ARGUMENT,
    INTERNAL_FAILURE,
    INVALID_MEMORY,
    NOT_FOUND,
    OK,
    MetricType,
)
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import instance_of
from proxy_core.plugin_host.foreign.proxy_wasm.transfer import give_u32, give_u64
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide

_SUFFIX_BYTES: Final = len(".count")
_LARGEST: Final = 2**63 - 1


def _define(host: HostSide, kind: int, np: int, nn: int, at: int) -> int:
    if kind > MetricType.HISTOGRAM:
        return BAD_ARGUMENT
    if not (host.memory.holds(np, nn) and host.memory.holds(at, 4)):
        return INVALID_MEMORY
    if not 0 < nn <= NAME_BYTES - _SUFFIX_BYTES:
        return BAD_ARGUMENT
    name = host.memory.read(np, nn) or b""
    instance = instance_of(host)
    number = instance.metric_ids.get((kind, name))
    if number is None:
        if len(instance.metrics) >= NAMES or not _appear(host, kind, name):
            return INTERNAL_FAILURE
        number = instance.metric_ids[kind, name] = len(instance.metrics)
        instance.metrics.append((kind, name))
    return give_u32(host, number, at)


def _appear(host: HostSide, kind: int, name: bytes) -> bool:
    """Let a metric be seen before anything was counted."""
    names = [name + b".count", name + b".sum"] if kind == MetricType.HISTOGRAM else [name]
    return all(host.call.belongings.metrics.add(each, 0) == abi.OK for each in names)


def _find(host: HostSide, number: int) -> tuple[int, bytes] | None:
    metrics = instance_of(host).metrics
    return metrics[number] if number < len(metrics) else None


def _record(host: HostSide, number: int, value: int) -> int:
    found = _find(host, number)
    if found is None:
        return NOT_FOUND
    kind, name = found
    metrics = host.call.belongings.metrics
    value = min(value, _LARGEST)
    if kind == MetricType.HISTOGRAM:
        metrics.add(name + b".count", 1)
        metrics.add(name + b".sum", value)
    else:
        metrics.set(name, value)
    return OK


def _increment(host: HostSide, number: int, delta: int) -> int:
    found = _find(host, number)
    if found is None:
        return NOT_FOUND
    kind, name = found
    delta = (delta ^ 2**63) - 2**63  # as the signed number that it is
    if kind == MetricType.HISTOGRAM or (kind == MetricType.COUNTER and delta < 0):
        return BAD_ARGUMENT
    host.call.belongings.metrics.add(name, delta)
    return OK


def _get(host: HostSide, number: int, at: int) -> int:
    found = _find(host, number)
    if found is None:
        return NOT_FOUND
    kind, name = found
    if kind == MetricType.HISTOGRAM:
        return BAD_ARGUMENT
    return give_u64(host, host.call.belongings.metrics.get(name), at)


FUNCTIONS: Final = (
    HostFunction("proxy_define_metric", 0, ("i32",) * 4, "i32", _define),
    HostFunction("proxy_record_metric", 0, ("i32", "i64"), "i32", _record, pointers=False),
    HostFunction("proxy_increment_metric", 0, ("i32", "i64"), "i32", _increment, pointers=False),
    HostFunction("proxy_get_metric", 0, ("i32", "i32"), "i32", _get),
)
