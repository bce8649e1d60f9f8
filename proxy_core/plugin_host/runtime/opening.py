"""Choosing the engine: the fast one where a self-test shows that it works here, else the other."""

from __future__ import annotations

import sys
from typing import Final

from proxy_core.plugin_host.guest import Engine
from proxy_core.plugin_host.runtime.official import OfficialEngine

_KNOWN_STACKS: Final = (3, 14)
"""From here on the interpreter checks the C stack's bounds, which the guests' own stacks fail."""


def open_engine() -> tuple[Engine, str | None]:
    """Return an engine, and why it is not the fast one where it is not. Blocks some 10 ms."""
    reason: str | None
    if sys.version_info >= _KNOWN_STACKS:
        reason = f"Python {sys.version_info[0]}.{sys.version_info[1]} checks the C stack's bounds"
    else:
        try:
            from proxy_core.plugin_host.runtime.raw import RawEngine
            from proxy_core.plugin_host.runtime.self_test import find_fault

            engine = RawEngine()
            reason = find_fault(engine)
            if reason is None:
                return engine, None
        except (AttributeError, ImportError, OSError) as error:
            reason = f"the WebAssembly library has other entry points: {error}"
    return OfficialEngine(), reason
