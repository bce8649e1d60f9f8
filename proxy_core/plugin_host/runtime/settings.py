"""How both engines are set up, and how the library's failures are told to people."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi

from proxy_core.plugin_host.abi import Declared, Signature
from proxy_core.plugin_host.byte_copies import address_of_bytes, copy_out
from proxy_core.plugin_host.faults import GuestFailure, GuestTrapped, ModuleRefused, OutOfFuel
from proxy_core.plugin_host.files.manifest import MIB, GuestLimits
from proxy_core.plugin_host.guest import Code

TABLE_ELEMENTS: Final = 100_000
TABLES: Final = 8
_MESSAGE_LENGTH: Final = 500


_SETTINGS: Final = {
    "consume_fuel": True,
    "wasm_threads": False,
    "shared_memory": False,
    "wasm_memory64": False,
    # For a guest's desk; a guest's own are counted by `limit_store`.
    "wasm_multi_memory": True,
    "wasm_gc": False,
    "wasm_function_references": False,
    "wasm_stack_switching": False,
    "wasm_exceptions": False,
    "wasm_component_model": False,
    "wasm_relaxed_simd_deterministic": True,
    # LinearMemory keeps a view between calls.
    "memory_may_move": False,
    # A large module must not take every core away from the loop while it compiles.
    "parallel_compilation": False,
}


def make_config() -> wasmtime.Config:
    """The settings common to both engines.

    Switched off: what runs other threads or waits for them (threads), and what allocates outside
    the limits or is not paid for in fuel (garbage collection, stack switching).
    """
    config = wasmtime.Config()
    for name, value in _SETTINGS.items():
        setattr(config, name, value)
    return config


def describe_settings() -> str:
    """Return the settings common to both engines, for telling compiled code apart."""
    return " ".join(f"{name}={value}" for name, value in _SETTINGS.items())


def library_version() -> str:
    """Return the WebAssembly library's name and version."""
    return f"wasmtime {version('wasmtime')}"


def value_type(kind: str) -> wasmtime.ValType:
    """Return the library's name of a value type."""
    return {
        "i32": wasmtime.ValType.i32,
        "i64": wasmtime.ValType.i64,
        "f32": wasmtime.ValType.f32,
        "f64": wasmtime.ValType.f64,
    }[kind]()


def limit_store(store: wasmtime.Store, limits: GuestLimits, *, desk: bool = False) -> None:
    """Bound what the guest in a store may allocate, beside its desk where it gets one."""
    store.set_limits(
        memory_size=limits.memory_mb * MIB,
        table_elements=TABLE_ELEMENTS,
        instances=1 + 2 * desk,
        tables=TABLES + desk,
        memories=1 + desk,
    )


def compile_code(engine: wasmtime.Engine, data: bytes) -> Code:
    """Compile a binary module and read its declarations. Raises ModuleRefused."""
    try:
        module = _make_module(ffi.wasmtime_module_new, engine, data)
    except wasmtime.WasmtimeError as error:
        raise ModuleRefused(f"not a valid module: {first_line(error)}") from error
    return _read_code(module)


def _make_module(
    make: Callable[..., Any], engine: wasmtime.Engine, data: bytes, start: int = 0
) -> wasmtime.Module:
    """Make a module of bytes where they are; the library's Python API copies them first.

    That copy holds the interpreter's lock, and with it the loop, for a millisecond a mebibyte.
    """
    made = ctypes.POINTER(ffi.wasmtime_module_t)()
    first = address_of_bytes(data) + start
    at = ctypes.cast(ctypes.c_void_p(first), ctypes.POINTER(ctypes.c_uint8))
    error = make(engine.ptr(), at, len(data) - start, ctypes.byref(made))
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)
    return wasmtime.Module._from_ptr(made)


def serialize_code(code: Code) -> bytes:
    """Return compiled code as bytes."""
    module: wasmtime.Module = code.handle
    raw = ffi.wasm_byte_vec_t()
    error: Any = ffi.wasmtime_module_serialize(module.ptr(), ctypes.byref(raw))
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)
    try:
        return copy_out(ctypes.addressof(raw.data.contents), raw.size)
    finally:
        ffi.wasm_byte_vec_delete(ctypes.byref(raw))


def deserialize_code(engine: wasmtime.Engine, blob: bytes, start: int) -> Code:
    """Take compiled code from bytes, which must be what `serialize_code` gave: they are run.

    Raises ModuleRefused where the library sees that another engine made them.
    """
    try:
        module = _make_module(ffi.wasmtime_module_deserialize, engine, blob, start)
    except wasmtime.WasmtimeError as error:
        raise ModuleRefused(f"not code of this engine: {first_line(error)}") from error
    return _read_code(module)


def _read_code(module: wasmtime.Module) -> Code:
    imports = tuple(_declare(i.name or "", i.type, i.module) for i in module.imports)
    exports = tuple(_declare(e.name, e.type, "") for e in module.exports)
    return Code(module, imports, exports)


def _declare(name: str, type_: object, module: str) -> Declared:
    signature: Signature | None = None
    shared = False
    pages: tuple[int, int | None] | None = None
    match type_:
        case wasmtime.FuncType():
            kind = "function"
            signature = (
                tuple(str(t) for t in type_.params),
                tuple(str(t) for t in type_.results),
            )
        case wasmtime.MemoryType():
            kind, shared = "memory", type_.is_shared
            pages = (type_.limits.min, type_.limits.max)
        case wasmtime.TableType():
            kind = "table"
        case wasmtime.GlobalType():
            kind = "global"
        case _:
            kind = "tag"
    return Declared(name, kind, signature, module, shared, pages)


def first_line(error: Exception) -> str:
    """The gist of a library message: the cause where one is named, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if "Caused by:" in lines:
        causes = lines[lines.index("Caused by:") + 1 :]
        return f"{lines[0]}: {' '.join(causes)}"[:_MESSAGE_LENGTH]
    return lines[0][:_MESSAGE_LENGTH]


def not_instantiated(problem: object) -> ModuleRefused:
    """Say why a module cannot have an instance, and what would let it, where something would."""
    remedy = "; see limits.memory_mb in its manifest" if "memory" in str(problem) else ""
    return ModuleRefused(f"cannot be instantiated: {problem}{remedy}")


_WORDS: Final = {
    "UNREACHABLE": "executed 'unreachable' (a panic or a failed assertion)",
    "MEMORY_OUT_OF_BOUNDS": "accessed memory out of bounds",
    "HEAP_MISALIGNED": "accessed memory misaligned",
    "STACK_OVERFLOW": "overflowed its stack",
    "TABLE_OUT_OF_BOUNDS": "accessed a table out of bounds",
    "INDIRECT_CALL_TO_NULL": "called a null function",
    "BAD_SIGNATURE": "called a function by the wrong type",
    "INTEGER_OVERFLOW": "overflowed an integer",
    "INTEGER_DIVISION_BY_ZERO": "divided by zero",
    "BAD_CONVERSION_TO_INTEGER": "converted a number to an integer that cannot hold it",
}


def failure_of(trap: wasmtime.Trap, fuel: int) -> GuestFailure:
    """Say what a trap means; `fuel` is what the entry had."""
    try:
        code = trap.trap_code
        name = "" if code is None else code.name
    except ValueError:  # a code newer than the library's Python half
        name = ""
    if name == "OUT_OF_FUEL":
        return OutOfFuel(f"used up its fuel of {fuel} units; see limits.fuel in its manifest")
    what = _WORDS.get(name) or (name.lower().replace("_", " ") if name else first_line(trap))
    where = _innermost(trap)
    return GuestTrapped(f"trapped: {what}{where}")


def _innermost(trap: wasmtime.Trap) -> str:
    try:
        frames = trap.frames
        function = frames[0].func_name or f"#{frames[0].func_index}" if frames else None
    except ValueError:  # a name that is not UTF-8
        return ""
    return f" in function {function[:200]}" if function else ""
