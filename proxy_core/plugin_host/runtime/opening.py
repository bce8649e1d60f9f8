"""Choosing the engine: the fast one where it is known and shown to work, else the other."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Final

from proxy_core.plugin_host.guest import Engine
from proxy_core.plugin_host.runtime.official import OfficialEngine

PROVEN: Final = range(46, 51)
"""Versions of the library with the entry points as `raw` declares them.

A wrong declaration ends the process or worse, so a self-test alone would come too late. Older
versions also let a guest fill memory without paying fuel for it.
"""
_CHECKED_STACKS: Final = (3, 14)
"""From here on the interpreter checks the C stack's bounds, which guests' own stacks fail."""


def open_engine() -> tuple[Engine, str | None]:
    """Return an engine, and why it is not the fast one where it is not. Blocks some 10 ms."""
    reason = _why_not_even_try()
    if reason is None:
        from proxy_core.plugin_host.runtime.raw import RawEngine
        from proxy_core.plugin_host.runtime.self_test import find_fault

        try:
            engine = RawEngine()
            reason = find_fault(engine)
            if reason is None:
                return engine, None
        except AttributeError as error:
            reason = f"the WebAssembly library has other entry points: {error}"
    return OfficialEngine(), reason


def open_engine_beside() -> Engine:
    """Return an engine for guests that could keep the loop. Blocks some 10 ms."""
    engine, weakness = open_engine()
    engine.close()
    if weakness is not None:
        return OfficialEngine()
    from proxy_core.plugin_host.runtime.beside import BesideEngine

    return BesideEngine()


def _why_not_even_try() -> str | None:
    if sys.version_info >= _CHECKED_STACKS:
        return f"Python {sys.version_info[0]}.{sys.version_info[1]} checks the C stack's bounds"
    installed = version("wasmtime")
    if not installed.partition(".")[0].isdecimal() or int(installed.split(".")[0]) not in PROVEN:
        return f"wasmtime is {installed}; known are {PROVEN.start} to {PROVEN.stop - 1}"
    return None
