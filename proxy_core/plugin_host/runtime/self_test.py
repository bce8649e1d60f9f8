"""Does the fast engine do here what it must? Asked once, before it runs anybody's code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import wasmtime

from proxy_core.plugin_host.abi import agree
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import GuestAborted, GuestFailure, OutOfFuel
from proxy_core.plugin_host.files.manifest import GuestLimits, Manifest
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide
from proxy_core.plugin_host.guest import Engine, Guest
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.logs import StartLog

_MODULE: Final = """
(module
  (import "env" "host_sum" (func $sum (param i32 i64) (result i64)))
  (import "env" "host_stop" (func $stop))
  (memory (export "memory") 17)
  (data (i32.const 8) "ok")
  (func $spin (param i32)
    (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0))))
  (func (export "plugin_init") (result i32) (call $spin (i32.const 1000)) (i32.const 7))
  (func (export "on_request") (result i32)
    (i32.wrap_i64 (call $sum (i32.const -1) (i64.const 0x100000002))))
  (func (export "on_response") (result i32) (call $spin (i32.const 100000)) (i32.const -3))
  (func (export "on_connect") (result i32) (call $stop) (i32.const 0))
  (func (export "on_capture") (result i32)
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 1000000))
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 1000000)) (i32.const 0)))
"""

_DESK_MODULE: Final = """
(module
  (import "env" "host_log" (func $log (param i32 i32 i32)))
  (import "env" "host_add_header" (func $add (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "name: value")
  (func (export "int3_abi_version") (result i32) (i32.const 1))
  (func (export "on_request") (result i32)
    (call $log (i32.const 2) (i32.const 8) (i32.const 4))
    (i32.sub (call $add (i32.const 8) (i32.const 4) (i32.const 14) (i32.const 5))
      (i32.const 3))))
"""


def _sum(host: HostSide, low: int, wide: int) -> int:
    return -5 if (low, wide, host.memory.read(8, 2)) == (0xFFFFFFFF, 0x100000002, b"ok") else 0


def _stop(host: HostSide, *_: int) -> int:
    raise GuestAborted("self-test")


_FUNCTIONS: Final = {
    "host_sum": HostFunction("host_sum", 0, ("i32", "i64"), "i64", _sum),
    "host_stop": HostFunction("host_stop", 0, (), "i32", _stop),
}


_DESK_FUNCTIONS: Final = {
    "host_log": HostFunction("host_log", 0, ("i32",) * 3, "i32", _stop),
    "host_add_header": HostFunction("host_add_header", 1, ("i32",) * 4, "i32", _stop),
}


def find_fault(engine: Engine) -> str | None:
    """Return what the engine does wrong, or None."""
    try:
        return _try_out(engine, _MODULE, _FUNCTIONS, _find_fault) or _try_out(
            engine, _DESK_MODULE, _DESK_FUNCTIONS, _find_desk_fault
        )
    except (GuestFailure, wasmtime.WasmtimeError, TypeError, ValueError) as error:
        return f"the self-test failed: {error}"


def _try_out(
    engine: Engine,
    module: str,
    functions: Mapping[str, HostFunction],
    look: Callable[[Guest], str | None],
) -> str | None:
    code = engine.compile(bytes(wasmtime.wat2wasm(module)))
    contract = replace(agree(code.imports, code.exports, functions), starts=False)
    call = HookCall(Hook.START, Manifest("self-test", ""), StartLog(1))
    limits = GuestLimits(deadline_ms=600_000)
    guest = engine.instantiate(code, contract, limits, call)
    try:
        return look(guest)
    finally:
        guest.close()


def _find_fault(guest: Guest) -> str | None:
    if guest.run("plugin_init") != 7:
        return "a plain call gives a wrong result"
    guest.settle()
    if guest.begin("on_request") != -5:
        return "host functions get wrong arguments"
    if guest.begin("on_response") is not None:
        return "guests are not run in slices"
    finish = guest.finish()
    try:
        for _ in range(1000):
            finish.send(None)
    except StopIteration as end:
        if end.value != -3:
            return "a call in slices gives a wrong result"
    else:
        return "a call in slices does not end"
    try:
        guest.begin("on_connect")
    except GuestAborted:
        pass
    else:
        return "host functions cannot stop a guest"
    try:
        guest.begin("on_capture")
    except OutOfFuel:
        return None
    return "filling memory costs no fuel: wasmtime 46 or newer is needed"


def _find_desk_fault(guest: Guest) -> str | None:
    guest.settle()
    desk = guest.desk
    if desk is None:
        return "guests have no desk"
    desk.lay_out(2, 1, 1)
    if desk.begin(Hook.REQUEST) is None:
        return "an entry for two flows does not end"
    steps = [edits.steps for edits in desk.edits(2) or () if edits is not None]
    lines, dropped = desk.take_lines()
    if (
        desk.codes(2) != [-3, -3]
        or steps != [((False, b"name", b"value"),)] * 2
        or [*lines] != [(0, 2, b"name")]
        or dropped != 1
    ):
        return "what a guest asks for is not what is noted"
    return None
