"""WebAssembly's text format, made into a module."""

from __future__ import annotations

import wasmtime

from proxy_core.plugin_host.faults import ModuleRefused


def assemble(text: str) -> bytes:
    """Return the binary module of a `.wat`. Raises ModuleRefused, naming line and column."""
    try:
        return bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        place = next((line.removeprefix("--> ") for line in lines if line.startswith("-->")), "")
        at = f" at {place.replace('<anon>:', 'line ')}" if place else ""
        raise ModuleRefused(f"not valid WebAssembly text{at}: {lines[0][:500]}") from error
