"""How host functions that read answer: nothing is written unless all of it fits."""

from __future__ import annotations

from proxy_core.plugin_host.codes import BAD_POINTER
from proxy_core.plugin_host.functions.host_side import HostSide


def put(host: HostSide, data: bytes, buf: int, cap: int) -> int:
    """Answer a reader: write `data` if it fits into `cap` bytes, and return its length."""
    length = len(data)
    if length <= cap:
        return length if host.memory.write(buf, data) else BAD_POINTER
    return length if host.memory.holds(buf, cap) else BAD_POINTER
