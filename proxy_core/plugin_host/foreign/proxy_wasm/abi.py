"""What a Proxy-Wasm module and this host agree on: its version, callbacks and host functions.

Functions that are not there answer UNIMPLEMENTED where they have a status to answer with, whatever
else their type is. What cannot be answered is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from proxy_core.plugin_host.abi import Declared, Import, Signature
from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.foreign import wasi
from proxy_core.plugin_host.foreign.proxy_wasm import (
    buffers,
    http_calls,
    map_functions,
    metric_functions,
    plain_functions,
    properties,
    shared,
    stream_functions,
)
from proxy_core.plugin_host.functions.host_side import HostFunction, ValueType

VERSIONS: Final = {
    "proxy_abi_version_0_2_1": (0, 2, 1),
    "proxy_abi_version_0_2_0": (0, 2, 0),
    "proxy_abi_version_0_1_0": (0, 1, 0),
}
"""Marker exports and what they stand for, the newest first."""
ALLOCATORS: Final = ("proxy_on_memory_allocate", "malloc")

FUNCTIONS: Final[Mapping[str, HostFunction]] = {
    function.name: function
    for room in (
        buffers,
        http_calls,
        map_functions,
        metric_functions,
        plain_functions,
        properties,
        shared,
        stream_functions,
    )
    for function in room.FUNCTIONS
}
_PARTLY_SUPPORTED: Final = ("proxy_call_foreign_function",)
_CALLBACKS_UNSUPPORTED: Final = (
    "proxy_on_foreign_function",
    "proxy_on_grpc_close",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive_trailing_metadata",
)


def _takes(count: int, returns: bool = False) -> Signature:
    return ("i32",) * count, ("i32",) if returns else ()


_ENTRIES: Final[Mapping[str, tuple[Signature, ...]]] = {
    "_initialize": (_takes(0),),
    "_start": (_takes(0),),
    "proxy_on_memory_allocate": (_takes(1, True),),
    "malloc": (_takes(1, True),),
    "proxy_on_context_create": (_takes(2),),
    "proxy_on_vm_start": (_takes(2, True),),
    "proxy_on_configure": (_takes(2, True),),
    "proxy_on_tick": (_takes(1),),
    "proxy_on_queue_ready": (_takes(2),),
    "proxy_on_http_call_response": (_takes(5),),
    "proxy_on_request_headers": (_takes(3, True), _takes(2, True)),
    "proxy_on_request_body": (_takes(3, True),),
    "proxy_on_request_trailers": (_takes(2, True),),
    "proxy_on_response_headers": (_takes(3, True), _takes(2, True)),
    "proxy_on_response_body": (_takes(3, True),),
    "proxy_on_response_trailers": (_takes(2, True),),
    "proxy_on_new_connection": (_takes(1, True),),
    "proxy_on_downstream_data": (_takes(3, True),),
    "proxy_on_downstream_connection_close": (_takes(2),),
    "proxy_on_upstream_data": (_takes(3, True),),
    "proxy_on_upstream_connection_close": (_takes(2),),
    "proxy_on_done": (_takes(1, True),),
    "proxy_on_log": (_takes(1),),
    "proxy_on_delete": (_takes(1),),
}
"""Exports that are called, and the types that they may have."""
_MAINS: Final[Mapping[str, Signature]] = {
    "main": _takes(2, True),
    "__main_argc_argv": _takes(2, True),
    "__main_void": _takes(0, True),
}
"""Called after `_initialize` where they have this type; other languages have other mains."""
_FUNCTION_KINDS: Final = frozenset({"i32", "i64", "f32", "f64"})


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed on."""

    version: tuple[int, int, int]
    imports: tuple[Import, ...]
    entries: Mapping[str, Signature]
    unsupported: tuple[str, ...]
    """Imports that answer UNIMPLEMENTED, and callbacks that are never called."""
    has_memory: bool


def settle_terms(imports: Sequence[Declared], exports: Sequence[Declared]) -> Terms:
    """Match a module's declarations with what is here. Raises ModuleRefused."""
    by_name = {export.name: export for export in exports}
    version = next(number for marker, number in VERSIONS.items() if marker in by_name)
    memory = by_name.get("memory")
    if memory is not None and (memory.kind != "memory" or memory.shared):
        raise ModuleRefused("'memory' is exported as something else than a plain memory")
    bound, unsupported = _imports(imports)
    if memory is None and any(item.function.pointers for item in bound):
        raise ModuleRefused("imports functions that work on memory, but exports none as 'memory'")
    never = tuple(name for name in _CALLBACKS_UNSUPPORTED if name in by_name)
    return Terms(version, bound, _entries(by_name), unsupported + never, memory is not None)


def _entries(exports: Mapping[str, Declared]) -> dict[str, Signature]:
    entries: dict[str, Signature] = {}
    for name, possible in _ENTRIES.items():
        export = exports.get(name)
        if export is None:
            continue
        if export.signature is None or export.signature not in possible:
            raise ModuleRefused(f"exports {export}; it must be {_spell(possible)}")
        entries[name] = export.signature
    for name, signature in _MAINS.items():
        export = exports.get(name)
        if export is not None and export.signature == signature:
            entries[name] = signature
    return entries


def _imports(imports: Sequence[Declared]) -> tuple[tuple[Import, ...], tuple[str, ...]]:
    bound: dict[tuple[str, str], tuple[Import, Declared]] = {}
    unsupported: list[str] = []
    for declared in imports:
        key = declared.module, declared.name
        if key in bound:
            if bound[key][1] != declared:
                raise ModuleRefused(
                    f"imports {declared.module}.{declared.name} twice, with different types"
                )
            continue
        if declared.module in wasi.MODULES:
            item = wasi.bind(declared)
        elif declared.module == "env" and declared.signature is not None:
            item = _bind(declared, declared.signature)
            run = item.function.run
            if run is plain_functions.unimplemented or declared.name in _PARTLY_SUPPORTED:
                unsupported.append(declared.name)
        else:
            raise ModuleRefused(f"imports {declared}; functions of env and WASI are all there is")
        bound[key] = item, declared
    return tuple(item for item, _ in bound.values()), tuple(unsupported)


def _bind(declared: Declared, signature: Signature) -> Import:
    params, results = signature
    function = FUNCTIONS.get(declared.name)
    if function is None:
        return Import(_unknown(declared, params, results), True)
    whole = () if function.result is None else (function.result,)
    if params != function.params or results not in ((), whole):
        raise ModuleRefused(f"imports {declared}; it must be {_spell([(function.params, whole)])}")
    return Import(function, bool(results))


def _unknown(declared: Declared, params: tuple[str, ...], results: tuple[str, ...]) -> HostFunction:
    if results != ("i32",) or not set(params) <= _FUNCTION_KINDS:
        raise ModuleRefused(
            f"imports {declared}, which is unknown here, and returns no status to say so with"
        )
    kinds: dict[str, ValueType] = {"i32": "i32", "i64": "i64", "f32": "f32", "f64": "f64"}
    run = plain_functions.unimplemented
    return HostFunction(
        declared.name, 0, tuple(kinds[kind] for kind in params), "i32", run, pointers=False
    )


def _spell(signatures: Sequence[Signature]) -> str:
    return " or ".join(
        f"({', '.join(params)}) -> ({', '.join(results)})" for params, results in signatures
    )
