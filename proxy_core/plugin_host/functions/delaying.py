"""`host_delay`: what a hook is about goes on later, while the instance is free for others."""

from __future__ import annotations

from typing import Final

from proxy_core.plugin_host.codes import NOT_IN_HOOK, OK, OVER_LIMIT, Hook
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide

LONGEST_MS: Final = 60_000
_NOBODY_WAITS: Final = frozenset({Hook.START, Hook.CAPTURE, Hook.TICK})


def _delay(host: HostSide, ms: int) -> int:
    call = host.call
    if call.hook in _NOBODY_WAITS:
        return NOT_IN_HOOK
    if ms > LONGEST_MS:
        return OVER_LIMIT
    call.delay = ms / 1000
    return OK


DELAYING: Final = HostFunction("host_delay", 1, ("i32",), "i32", _delay, pointers=False)
