"""Configuration, features and logging: what a handler may call at any time."""

from __future__ import annotations

from typing import Final

from proxy_core.model.log_line import LogLevel
from proxy_core.model.words import counted
from proxy_core.plugin_host.foreign.http_wasm.arguments import answer, instance_of, signed
from proxy_core.plugin_host.foreign.http_wasm.passage import Features
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.logs import LINE_BYTES

_LEVEL_INFO: Final = 0
_LEVEL_NONE: Final = 3
_ALL: Final = sum(Features)


def get_config(host: HostSide, at: int, limit: int) -> int:
    """Hand over the manifest's configuration."""
    return answer(host, "get_config", host.call.manifest.config, at, limit)


def enable_features(host: HostSide, wanted: int) -> int:
    """Switch features on, for this flow or while loading for all, and return those that are on."""
    instance = instance_of(host)
    known = Features(wanted & _ALL)
    if instance.passage is None:
        instance.features |= known
        return int(instance.features)
    instance.passage.features |= known
    return int(instance.passage.features)


def log(host: HostSide, level: int, at: int, length: int) -> int:
    """Write a line; nothing about logging traps."""
    number = signed(level)
    if number >= _LEVEL_NONE:
        return 0
    call = host.call
    if not host.memory.holds(at, length):
        text = f"log: {counted(length, 'byte')} at {at} outside its memory"
        call.journal.write(LogLevel.WARN, text, call.flow_id)
        return 0
    raw = host.memory.read(at, min(length, LINE_BYTES)) or b""
    text = raw.decode("utf-8", "replace")
    if length > LINE_BYTES:
        text += f"... ({counted(length - LINE_BYTES, 'byte')} more)"
    call.journal.write(LogLevel(max(0, number + 1)), text, call.flow_id)
    return 0


def log_enabled(host: HostSide, level: int) -> int:
    """Whether a handler should take the trouble: from info on, which is where other hosts begin.

    What it logs at debug all the same is kept.
    """
    return int(_LEVEL_INFO <= signed(level) < _LEVEL_NONE)
