"""What a module must be to be a handler, and how it is started."""

from __future__ import annotations

import pytest

from proxy_core.plugin_host.abi import Contract
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.foreign.http_wasm.dialect import HttpWasm
from proxy_core.plugin_host.foreign.http_wasm.functions import FUNCTIONS
from proxy_core.plugin_host.runtime.raw import RawEngine
from tests.plugin_host.foreign.http_wasm.modules import NEXT, NOTHING, handler
from tests.plugin_host.guests import MEMORY, wasm


def agreed(module: bytes) -> Contract:
    engine = RawEngine()
    try:
        code = engine.compile(module)
        return HttpWasm().agree(code.imports, code.exports)
    finally:
        engine.close()


def test_a_handler_has_two_functions_and_a_memory() -> None:
    contract = agreed(handler())
    assert contract.hooks == {Hook.REQUEST, Hook.RESPONSE, Hook.CAPTURE}
    assert set(contract.entries) == {"handle_request", "handle_response"}
    assert contract.imports == ()


def test_every_host_function_can_be_imported() -> None:
    contract = agreed(handler(*FUNCTIONS))
    assert {item.function.name for item in contract.imports} == set(FUNCTIONS)
    assert len(FUNCTIONS) == 19


@pytest.mark.parametrize("name", ["_initialize", "_start"])
def test_a_runtime_is_started_by_the_first_of_its_starts(name: str) -> None:
    start = f'(func (export "{name}"))'
    assert name in agreed(handler(more=start)).entries
    both = '(func (export "_start")) (func (export "_initialize"))'
    assert "_start" not in agreed(handler(more=both)).entries


def test_an_import_may_be_declared_twice() -> None:
    twice = '(import "http_handler" "get_config" (func (param i32 i32) (result i32)))' * 2
    contract = agreed(wasm(f"(module {twice} {MEMORY} {NEXT} {NOTHING})"))
    assert [item.function.name for item in contract.imports] == ["get_config"]


def test_wasi_is_there_for_runtimes() -> None:
    module = '(import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))'
    contract = agreed(wasm(f"(module {module} {MEMORY} {NEXT} {NOTHING})"))
    assert [item.function.module for item in contract.imports] == ["wasi_snapshot_preview1"]


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (f"{NEXT} {NOTHING}", "found none"),
        (f'(table (export "memory") 1 funcref) {NEXT} {NOTHING}', "found table 'memory'"),
        (f"{MEMORY} {NEXT}", "handle_response.*found none"),
        (
            f'{MEMORY} (func (export "handle_request") (result i32) i32.const 1) {NOTHING}',
            "handle_request.*found.*i32",
        ),
        (
            f'{MEMORY} {NEXT} (func (export "handle_response") (param i32))',
            "handle_response.*found",
        ),
        (f'(import "env" "host_log" (func)) {MEMORY} {NEXT} {NOTHING}', "have modules"),
        (f'(import "http_handler" "get_path" (func)) {MEMORY} {NEXT} {NOTHING}', "does not have"),
        (
            f'(import "http_handler" "get_uri" (func (param i32))) {MEMORY} {NEXT} {NOTHING}',
            "takes",
        ),
        (f'(import "http_handler" "log" (global i32)) {MEMORY} {NEXT} {NOTHING}', "global"),
    ],
)
def test_what_is_no_handler_is_refused_and_told_what_was_found(module: str, why: str) -> None:
    with pytest.raises(ModuleRefused, match=why):
        agreed(wasm(f"(module {module})"))
