"""Filters as WebAssembly text: a prelude that all share, and what each does beside it."""

from __future__ import annotations

from tests.plugin_host.guests import wasm

_IMPORTS = {
    "log": 3,
    "get_buffer_bytes": 5,
    "set_buffer_bytes": 5,
    "get_header_map_value": 5,
    "add_header_map_value": 5,
    "replace_header_map_value": 5,
    "remove_header_map_value": 3,
    "get_property": 4,
    "get_shared_data": 5,
    "set_shared_data": 5,
    "register_shared_queue": 3,
    "resolve_shared_queue": 5,
    "enqueue_shared_queue": 3,
    "dequeue_shared_queue": 3,
    "define_metric": 4,
    "set_tick_period_milliseconds": 1,
    "set_effective_context": 1,
    "continue_stream": 1,
    "close_stream": 1,
    "done": 0,
    "http_call": 10,
    "send_local_response": 8,
    "grpc_cancel": 1,
}
_RESULTS = {"": "", "i32": " (result i32)"}
_I32 = " i32"
ROOM = 4096
"""Where the allocator begins; below, texts lie that tests put there."""


def filter_of(
    *callbacks: str,
    texts: dict[int, bytes] | None = None,
    version: str = "0_2_1",
    pages: int = 2,
) -> bytes:
    """Assemble a filter whose allocator is `proxy_on_memory_allocate`.

    Imports are `$log` and so on, without `proxy_`. `$address`, `$length` and `$number` are where
    results may be written; `$say` logs what lies there.
    """
    imports = "\n".join(
        f'(import "env" "proxy_{name}" (func ${name} (param{_I32 * count}) (result i32)))'
        for name, count in _IMPORTS.items()
    )
    data = "\n".join(
        f'(data (i32.const {at}) "{_escaped(text)}")' for at, text in (texts or {}).items()
    )
    return wasm(
        f"""(module {imports}
        (import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
        (memory (export "memory") {pages}) {data}
        (global $room (mut i32) (i32.const {ROOM}))
        (global $address i32 (i32.const 0))
        (global $length i32 (i32.const 4))
        (global $number i32 (i32.const 8))
        (func (export "proxy_abi_version_{version}"))
        (func (export "proxy_on_memory_allocate") (param i32) (result i32)
          (global.get $room) (global.set $room (i32.add (global.get $room) (local.get 0))))
        (func $say (drop (call $log (i32.const 2)
          (i32.load (global.get $address)) (i32.load (global.get $length)))))
        {" ".join(callbacks)})"""
    )


def _escaped(text: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in text)


def on(name: str, params: int, body: str, result: str = "i32") -> str:
    """A callback, exported as `proxy_on_NAME`."""
    declared = f"(param{_I32 * params})" if params else ""
    return f'(func (export "proxy_on_{name}") {declared}{_RESULTS[result]} {body})'


def text(at: int, length: int) -> str:
    """Push a text's place and length."""
    return f"(i32.const {at}) (i32.const {length})"


def add(map_number: int, name: tuple[int, int], value: tuple[int, int]) -> str:
    """Add a header."""
    return (
        f"(drop (call $add_header_map_value (i32.const {map_number}) {text(*name)} {text(*value)}))"
    )


def say(at: int, length: int) -> str:
    """Log a text."""
    return f"(drop (call $log (i32.const 2) {text(at, length)}))"


CONTINUE = "(i32.const 0)"
PAUSE = "(i32.const 1)"
