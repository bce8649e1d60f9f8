"""The hostile set: what each module does, and what must come of it.

`AT_THE_DOOR` are refused when they are loaded; `IN_A_HOOK` load, do their worst when a request
comes, and lose that call. Each says which words the log must have.
"""

from __future__ import annotations

from typing import Final

from tests.plugin_host.guests import LOG, MEMORY, guest, importing, wasm
from tests.plugin_host.hostile.host_calls import ANNOTATE, HOST_CALLS, RANDOM, RESPOND, SET_FIELD
from tests.plugin_host.hostile.hostile import ENDLESS_FUEL, SPIN, Hostile

HOOK: Final = '(func (export "on_request") (result i32) i32.const 0)'
LITTLE_FUEL: Final = "[limits]\nfuel = 1000"
SIZE: Final = importing("host_get_memory_size", 0)
ABORT: Final = '(import "env" "host_abort" (func $abort (param i32 i32)))'
ADD_HEADER: Final = importing("host_add_header", 4)
GET_HEADERS: Final = importing("host_get_headers", 2)
WASI: Final = '(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))'


def module(more: str, imports: str = "") -> bytes:
    """A module with a page of memory, a harmless hook, and `more`."""
    return wasm(f"(module {imports} {MEMORY} {HOOK} {more})")


def binary(*sections: tuple[int, bytes]) -> bytes:
    """A module put together by hand, sections of less than 2**14 bytes."""
    data = b"\0asm\1\0\0\0"
    for number, content in sections:
        size = bytes([len(content) & 0x7F | 0x80, len(content) >> 7])
        data += bytes([number]) + size + content
    return data


AT_THE_DOOR: Final[dict[str, Hostile]] = {
    # files that are no modules
    "empty file": Hostile(b"", "empty"),
    "text format": Hostile(b"(module)", "not a WebAssembly module"),
    "shell script": Hostile(b"#!/bin/sh\nexit\n", "not a WebAssembly module"),
    "native program": Hostile(b"\x7fELF" + bytes(60), "not a WebAssembly module"),
    "escape sequences for a file": Hostile(b"\x1b[2J\x1b]0;x\x07", "not a WebAssembly module"),
    "half a header": Hostile(b"\0asm", "WebAssembly version"),
    "version 2": Hostile(b"\0asm\2\0\0\0", "WebAssembly version 02000000"),
    "component": Hostile(b"\0asm\x0d\0\1\0", "component"),
    "truncated": Hostile(module("")[:-4], "truncated"),
    "flipped bits": Hostile(
        bytes(b ^ 0x10 if i == 54 else b for i, b in enumerate(module(""))), "not a valid module"
    ),
    "huge section": Hostile(b"\0asm\1\0\0\0\x01\xff\xff\xff\xff\x0f", "truncated"),
    "number without end": Hostile(b"\0asm\1\0\0\0\x01" + b"\xff" * 9, "more than 32 bits"),
    "sections out of order": Hostile(binary((7, b"\0"), (1, b"\0")), "not a valid module"),
    "100,000 exports": Hostile(
        b"\0asm\1\0\0\0\x07\x04\xa0\x8d\x06\0", "100000 exports; at most 1000"
    ),
    "100,000 imports": Hostile(
        b"\0asm\1\0\0\0\x02\x04\xa0\x8d\x06\0", "100000 imports; at most 1000"
    ),
    "function of 2 MiB": Hostile(
        b"\0asm\1\0\0\0\x0a\x85\x80\x80\x01\x01\x80\x80\x80\x01" + bytes(2**21), "split it"
    ),
    "50,001 locals": Hostile(
        binary((1, b"\1\x60\0\0"), (3, b"\1\0"), (10, b"\1\6\1\xd1\x86\3\x7f\x0b")),
        "not a valid module",
    ),
    # hooks and memory of the wrong kind
    "no hook": Hostile(wasm("(module)"), "exports no hook"),
    "hook with parameters": Hostile(
        wasm('(module (func (export "on_request") (param i32) (result i32) i32.const 0))'),
        "must be () -> (i32)",
    ),
    "hook without result": Hostile(wasm('(module (func (export "on_request")))'), "must be"),
    "hook of floats": Hostile(
        wasm('(module (func (export "on_request") (result f64) f64.const 0))'), "must be"
    ),
    "hook with two results": Hostile(
        wasm('(module (func (export "on_request") (result i32 i32) i32.const 0 i32.const 0))'),
        "must be",
    ),
    "hook that is a global": Hostile(
        wasm('(module (global (export "on_request") i32 (i32.const 0)))'), "global"
    ),
    "plugin_init with a parameter": Hostile(
        module('(func (export "plugin_init") (param i32) (result i32) i32.const 0)'), "must be"
    ),
    "memory that is a table": Hostile(
        wasm(f'(module (table (export "memory") 1 funcref) {HOOK})'), "as a table"
    ),
    "memory under another name": Hostile(
        wasm(f'(module {LOG} (memory (export "ram") 1) {HOOK})'), "exports no memory"
    ),
    "logging without memory": Hostile(wasm(f"(module {LOG} {HOOK})"), "exports no memory"),
    "shared memory": Hostile(
        wasm(f'(module (memory (export "memory") 1 1 shared) {HOOK})'), "not a valid module"
    ),
    "memory of 64 bits": Hostile(
        wasm(f'(module (memory (export "memory") i64 1) {HOOK})'), "not a valid module"
    ),
    "two memories": Hostile(module("(memory 1)"), "2 memories; at most 1 is taken"),
    "table of 64 bits": Hostile(module("(table i64 1 funcref)"), "not a valid module"),
    "pages of one byte": Hostile(
        wasm(f'(module (memory (export "memory") 1 (pagesize 1)) {HOOK})'), "not a valid module"
    ),
    "threads": Hostile(
        module("(func (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1))))"),
        "not a valid module",
    ),
    "exceptions": Hostile(module("(tag $t) (func (throw $t))"), "not a valid module"),
    "garbage collection": Hostile(
        module("(type $s (struct (field i32))) (func (drop (struct.new_default $s)))"),
        "not a valid module",
    ),
    "references to functions": Hostile(
        module("(type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0)))"),
        "not a valid module",
    ),
    "stack switching": Hostile(
        module(
            "(type $f (func)) (type $c (cont $f)) (func $g) (elem declare func $g)"
            " (func (drop (cont.new $c (ref.func $g))))"
        ),
        "not a valid module",
    ),
    # imports
    "imported memory": Hostile(
        wasm(f'(module (import "env" "memory" (memory 1)) {HOOK})'), "memory"
    ),
    "imported global": Hostile(
        wasm(f'(module (import "env" "host_log" (global i32)) {HOOK})'), "global"
    ),
    "unknown import": Hostile(module("", '(import "env" "exec" (func))'), "does not offer"),
    "import from elsewhere": Hostile(module("", '(import "os" "system" (func))'), "does not offer"),
    "import with markup in its name": Hostile(
        module("", '(import "env" "[red]\\1b[31m" (func))'), "does not offer"
    ),
    "WASI": Hostile(module("", WASI), "without WASI"),
    "import of a wrong type": Hostile(
        module("", '(import "env" "host_log" (func (param i64 i32 i32)))'), "it is (i32"
    ),
    "import twice, differently": Hostile(
        module("", f'{LOG} (import "env" "host_log" (func (param i32 i32 i32) (result i32)))'),
        "twice",
    ),
    "v1 import in v0": Hostile(module("", ADD_HEADER), "needs ABI v1"),
    # growth before the first hook
    "memory over its limit": Hostile(
        wasm(f'(module (memory (export "memory") 65536) {HOOK})'), "cannot be instantiated"
    ),
    "table over its limit": Hostile(module("(table 4000000000 funcref)"), "cannot be instantiated"),
    "too many tables": Hostile(module("(table 1 funcref)" * 50), "cannot be instantiated"),
    "data outside memory": Hostile(module('(data (i32.const 65536) "x")'), "out of bounds"),
    "elements outside a table": Hostile(
        module("(table 1 funcref) (elem (i32.const 1) $f) (func $f)"), "out of bounds"
    ),
    # code that runs while the plugin loads
    "endless start": Hostile(
        module(f"(func $s {SPIN}) (start $s)"), "fuel of 1000000", LITTLE_FUEL
    ),
    "endless start, endless fuel": Hostile(
        module(f"(func $s {SPIN}) (start $s)"), "within 100 ms", ENDLESS_FUEL
    ),
    "endless _initialize": Hostile(
        module(f'(func (export "_initialize") {SPIN})'), "fuel of 1000000", LITTLE_FUEL
    ),
    "endless plugin_init": Hostile(
        module(f'(func (export "plugin_init") (result i32) {SPIN} i32.const 0)'),
        "within 100 ms",
        ENDLESS_FUEL,
    ),
    "endless version": Hostile(
        module(f'(func (export "int3_abi_version") (result i32) {SPIN} i32.const 1)'),
        "fuel of 1000000",
        LITTLE_FUEL,
    ),
    "trap in start": Hostile(module("(func $s unreachable) (start $s)"), "unreachable"),
    "trap in _initialize": Hostile(
        module('(func (export "_initialize") unreachable)'), "unreachable"
    ),
    "trap in plugin_init": Hostile(
        module('(func (export "plugin_init") (result i32) unreachable)'), "unreachable"
    ),
    "trap in version": Hostile(
        module('(func (export "int3_abi_version") (result i32) unreachable)'), "unreachable"
    ),
    "abort in start": Hostile(
        module("(func $s (call $abort (i32.const 0) (i32.const 1))) (start $s)", ABORT), "aborted"
    ),
    "endless recursion in plugin_init": Hostile(
        module('(func $r (export "plugin_init") (result i32) (i32.add (call $r) (call $r)))'),
        "overflowed its stack",
    ),
    "endless memory growth in start": Hostile(
        module("(func $s (loop (drop (memory.grow (i32.const 1))) (br 0))) (start $s)"),
        "fuel of 1000000",
        LITTLE_FUEL,
    ),
    "host calls without end in start": Hostile(
        module("(func $s (loop (drop (call $get_memory_size)) (br 0))) (start $s)", SIZE),
        "within 100 ms",
        ENDLESS_FUEL,
    ),
    "plugin_init that says no": Hostile(
        module('(func (export "plugin_init") (result i32) i32.const -1)'), "returned -1"
    ),
    "unknown version": Hostile(
        module('(func (export "int3_abi_version") (result i32) i32.const 7)'), "is 7"
    ),
    "version that is none": Hostile(
        module('(func (export "int3_abi_version") (result i32) i32.const -1)'), "is -1"
    ),
}

IN_A_HOOK: Final[dict[str, Hostile]] = {
    **HOST_CALLS,
    # time
    "endless loop": Hostile(guest(f"{SPIN} i32.const 0"), "used up its fuel"),
    "endless loop, endless fuel": Hostile(
        guest(f"{SPIN} i32.const 0"), "within 100 ms", ENDLESS_FUEL
    ),
    "endless tail calls": Hostile(
        guest("call $r i32.const 0", imports="(func $r return_call $r)"), "used up its fuel"
    ),
    "endless tail calls through a table": Hostile(
        guest(
            "call $r i32.const 0",
            imports="(type $t (func)) (table funcref (elem $r)) "
            "(func $r (return_call_indirect (type $t) (i32.const 0)))",
        ),
        "within 100 ms",
        ENDLESS_FUEL,
    ),
    "endless host calls through a table": Hostile(
        guest(
            "(loop (drop (call_indirect (type $t) (i32.const 0))) (br 0)) i32.const 0",
            imports=f"{SIZE} (type $t (func (result i32))) (table funcref (elem $get_memory_size))",
        ),
        "within 100 ms",
        ENDLESS_FUEL,
    ),
    "endless branches by a table": Hostile(
        guest(f"(loop (br_table {'0 ' * 1000} (i32.const 999))) i32.const 0"), "used up its fuel"
    ),
    "endless copies of elements": Hostile(
        guest(
            "(loop (table.copy (i32.const 0) (i32.const 1) (i32.const 9999)) (br 0)) i32.const 0",
            imports="(table 10000 funcref)",
        ),
        "used up its fuel",
    ),
    "elements past the end": Hostile(
        guest(
            "(table.init $e (i32.const 1) (i32.const 0) (i32.const 2)) i32.const 0",
            imports="(table 2 funcref) (func $f) (elem $e func $f $f)",
        ),
        "trapped",
    ),
    "memory grown to its limit and touched": Hostile(
        guest(
            "(local $i i32) (drop (memory.grow (i32.const 95)))"
            "(loop (i32.store (local.get $i) (i32.const 1))"
            " (local.set $i (i32.add (local.get $i) (i32.const 4096))) (br 0)) i32.const 0"
        ),
        "out of bounds",
        "[limits]\nmemory_mb = 6",
    ),
    "endless recursion": Hostile(
        guest("call $r i32.const 0", imports="(func $r call $r call $r)"), "its stack"
    ),
    "recursion with a large frame": Hostile(
        guest(
            "(call $r (i64.const 0)) i32.const 0",
            imports=f"(func $r (param i64) (local {'i64 ' * 1000}) (local.get 0) (call $r))",
        ),
        "its stack",
    ),
    "recursion through a table": Hostile(
        guest(
            "call $r i32.const 0",
            imports="(type $t (func)) (table funcref (elem $r)) "
            "(func $r (call_indirect (type $t) (i32.const 0)) (call_indirect (i32.const 0)))",
        ),
        "its stack",
    ),
    "endless host calls": Hostile(
        guest("(loop (drop (call $get_memory_size)) (br 0)) i32.const 0", imports=SIZE),
        "within 100 ms",
        ENDLESS_FUEL,
    ),
    "random storm": Hostile(
        guest(
            "(loop (drop (call $random (i32.const 0) (i32.const 65536))) (br 0)) i32.const 0",
            imports=RANDOM,
        ),
        "within 100 ms",
        ENDLESS_FUEL,
    ),
    "header storm that goes on": Hostile(
        guest(
            "(loop (drop (call $add_header (i32.const 0) (i32.const 1) (i32.const 0)"
            " (i32.const 1))) (br 0)) i32.const 0",
            imports=ADD_HEADER + '(data (i32.const 0) "x")',
        ),
        "within 100 ms",
        ENDLESS_FUEL,
    ),
    # room
    "endless memory fill": Hostile(
        guest(
            "(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0)) i32.const 0"
        ),
        "used up its fuel",
    ),
    "endless memory growth": Hostile(
        guest("(loop (drop (memory.grow (i32.const 1))) (br 0)) i32.const 0"), "used up its fuel"
    ),
    "endless table growth": Hostile(
        guest(
            "(loop (drop (table.grow $t (ref.null func) (i32.const 1000))) (br 0)) i32.const 0",
            imports="(table $t 1 funcref)",
        ),
        "used up its fuel",
    ),
    # traps
    "unreachable": Hostile(guest("unreachable"), "trapped"),
    "load past the end": Hostile(guest("(i32.load (i32.const -4))"), "out of bounds"),
    "store past the end": Hostile(
        guest("(i64.store (i32.const 65530) (i64.const 0)) i32.const 0"), "out of bounds"
    ),
    "copy past the end": Hostile(
        guest("(memory.copy (i32.const 1) (i32.const 0) (i32.const 65536)) i32.const 0"),
        "out of bounds",
    ),
    "division by zero": Hostile(guest("(i32.div_u (i32.const 1) (i32.const 0))"), "trapped"),
    "division that overflows": Hostile(
        guest("(i32.div_s (i32.const 0x80000000) (i32.const -1))"), "trapped"
    ),
    "number from no number": Hostile(guest("(i32.trunc_f64_s (f64.const nan))"), "trapped"),
    "call of nothing": Hostile(
        guest("(call_indirect (result i32) (i32.const 0))", imports="(table 1 funcref)"),
        "trapped",
    ),
    "call past the table": Hostile(
        guest("(call_indirect (result i32) (i32.const 9))", imports="(table 1 funcref)"),
        "trapped",
    ),
    "call of another type": Hostile(
        guest(
            "(call_indirect (result i32) (i32.const 0))",
            imports="(table funcref (elem $f)) (func $f)",
        ),
        "trapped",
    ),
    # answers
    "abort with a bad pointer": Hostile(
        guest("(call $abort (i32.const -1) (i32.const -1)) i32.const 0", imports=ABORT),
        "bad pointer",
    ),
    "abort with escape sequences": Hostile(
        guest(
            "(call $abort (i32.const 0) (i32.const 9)) i32.const 0",
            imports=ABORT + '(data (i32.const 0) "\\1b[2J\\00\\ff[b]")',
        ),
        "aborted: \x1b[2J\0\ufffd",
    ),
    "respond without response": Hostile(guest("i32.const 3"), "without host_respond"),
    "unknown verdict": Hostile(guest("i32.const 77"), "means nothing"),
    "failure": Hostile(guest("i32.const -2147483648"), "failed with -2147483648"),
    # edits that must not stay
    "header and then a trap": Hostile(
        guest(
            "(drop (call $add_header (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1)))"
            " unreachable",
            imports=ADD_HEADER + '(data (i32.const 0) "x")',
        ),
        "trapped",
    ),
    "method and then failure": Hostile(
        guest(
            "(drop (call $set_field (i32.const 0) (i32.const 0) (i32.const 4))) i32.const -1",
            imports=SET_FIELD + '(data (i32.const 0) "POST")',
        ),
        "failed with -1",
    ),
    "annotation and then no fuel": Hostile(
        guest(
            "(drop (call $annotate (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 3)))"
            f" {SPIN} i32.const 0",
            imports=ANNOTATE + '(data (i32.const 0) "tag")',
        ),
        "used up its fuel",
    ),
    "response and then a trap": Hostile(
        guest(
            "(drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0)"
            " (i32.const 9))) unreachable",
            imports=RESPOND,
        ),
        "trapped",
    ),
}
