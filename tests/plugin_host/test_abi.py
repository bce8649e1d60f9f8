"""Which modules the host agrees with, judged by what they declare."""

from __future__ import annotations

import pytest

from proxy_core.plugin_host.abi import Contract, Declared, Signature, agree, check_version
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.functions.host_functions import HOST_FUNCTIONS

TO_I32: Signature = ((), ("i32",))
LOG: Signature = (("i32",) * 3, ())
MEMORY = Declared("memory", "memory")


def function(name: str, signature: Signature = TO_I32, module: str = "") -> Declared:
    return Declared(name, "function", signature, module)


def imported(name: str, params: int, *results: str) -> Declared:
    return function(name, (("i32",) * params, results), "env")


def judge(imports: list[Declared], exports: list[Declared]) -> Contract:
    return agree(imports, exports, HOST_FUNCTIONS)


def refusal(imports: list[Declared], exports: list[Declared]) -> str:
    with pytest.raises(ModuleRefused) as caught:
        judge(imports, exports)
    return str(caught.value)


REQUEST = function("on_request")
VERSION = function("int3_abi_version")


def test_a_hook_alone_is_v0() -> None:
    contract = judge([], [REQUEST])
    assert contract.name == "int3 v0"
    assert contract.hooks == {Hook.REQUEST}
    assert not contract.has_memory


def test_the_marker_makes_v1() -> None:
    contract = judge([imported("host_get_header", 4, "i32")], [VERSION, REQUEST, MEMORY])
    assert contract.name == "int3 v1"
    assert [item.function.name for item in contract.imports] == ["host_get_header"]


def test_all_five_hooks_are_seen() -> None:
    names = ["on_request", "on_response", "on_connect", "on_capture", "on_rule_match"]
    assert judge([], [function(name) for name in names]).hooks == {
        Hook.REQUEST,
        Hook.RESPONSE,
        Hook.CONNECT,
        Hook.CAPTURE,
        Hook.RULE_MATCH,
    }


def test_v1_has_more_hooks() -> None:
    names = ["on_request_chunk", "on_response_chunk", "on_websocket_message", "on_tick"]
    contract = judge([], [VERSION, *map(function, names)])
    assert contract.hooks == {
        Hook.REQUEST_CHUNK,
        Hook.RESPONSE_CHUNK,
        Hook.WEBSOCKET_MESSAGE,
        Hook.TICK,
    }
    assert contract.not_called == ()


def test_hooks_of_v1_are_not_called_in_v0_whatever_their_type() -> None:
    contract = judge([], [REQUEST, function("on_tick", (("i32",), ()))])
    assert contract.hooks == {Hook.REQUEST}
    assert contract.not_called == ("on_tick",)


@pytest.mark.parametrize("name", ["host_get_body", "host_set_body"])
def test_bodies_are_wanted_by_those_that_import_a_function_on_them(name: str) -> None:
    parameters = 3 if name == "host_get_body" else 2
    exports = [VERSION, REQUEST, MEMORY]
    assert judge([imported(name, parameters, "i32")], exports).uses_bodies
    assert not judge([imported("host_log", 3)], exports).uses_bodies


@pytest.mark.parametrize("results", [(), ("i32",)])
def test_a_host_function_is_bound_with_or_without_its_result(results: tuple[str, ...]) -> None:
    contract = judge([imported("host_log", 3, *results)], [REQUEST, MEMORY])
    assert [item.with_result for item in contract.imports] == [bool(results)]


def test_the_same_import_twice_is_bound_once() -> None:
    contract = judge([imported("host_log", 3), imported("host_log", 3)], [REQUEST, MEMORY])
    assert len(contract.imports) == 1


def test_the_same_import_with_two_types_is_refused() -> None:
    twice = [imported("host_log", 3), imported("host_log", 3, "i32")]
    assert "env.host_log twice" in refusal(twice, [REQUEST, MEMORY])


@pytest.mark.parametrize(
    ("exports", "why"),
    [
        ([], "exports no hook that this host calls"),
        ([function("run")], "it exports run"),
        ([function("on_tick")], "exports no hook"),
        (
            [function("on_request", ((), ()))],
            r"'on_request' of type () -> (); it must be () -> (i32)",
        ),
        ([function("on_request", (("i32",), ("i32",)))], "it must be"),
        ([Declared("on_request", "global")], "global 'on_request'"),
        ([REQUEST, function("plugin_init", ((), ()))], "'plugin_init' of type"),
        ([REQUEST, function("_initialize")], "'_initialize' of type"),
        ([REQUEST, function("plugin_shutdown")], "'plugin_shutdown' of type"),
        ([REQUEST, function("int3_abi_version", ((), ("i64",)))], "'int3_abi_version' of type"),
        ([REQUEST, Declared("memory", "global")], "'memory' is exported as a global"),
        ([REQUEST, Declared("memory", "memory", shared=True)], "shared memory"),
        ([function("proxy_abi_version_0_2_1", ((), ()))], "speaks Proxy-Wasm 0.2.1"),
        ([function("handle_request")], "speaks http-wasm"),
    ],
)
def test_exports_that_do_not_fit_are_refused(exports: list[Declared], why: str) -> None:
    assert why in refusal([], exports)


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        (imported("host_fly", 0), "which this host does not offer"),
        (imported("host_log", 2), "it is (i32, i32, i32) -> (i32), or the same without result"),
        (imported("host_log", 3, "i64"), "it is"),
        (function("host_log", LOG, "host"), "'host.host_log'"),
        (Declared("memory", "memory", module="env"), "memory 'env.memory'"),
        (Declared("host_log", "global", module="env"), "global 'env.host_log'"),
        (function("fd_write", LOG, "wasi_snapshot_preview1"), "build it without WASI"),
    ],
)
def test_imports_that_cannot_be_given_are_refused(declared: Declared, why: str) -> None:
    assert why in refusal([declared], [REQUEST, MEMORY])


def test_a_refusal_names_what_there_is() -> None:
    message = refusal([imported("host_fly", 0)], [REQUEST, MEMORY])
    assert "host_abort, host_get_memory_size, host_log" in message
    assert "host_set_header" not in message


def test_functions_that_work_on_memory_need_one() -> None:
    assert "exports no memory" in refusal([imported("host_log", 3)], [REQUEST])


def test_functions_that_do_not_work_on_memory_need_none() -> None:
    assert judge([imported("host_get_memory_size", 0, "i32")], [REQUEST]).imports


@pytest.mark.parametrize("version", [0, 2, -1])
def test_other_versions_are_refused(version: int) -> None:
    with pytest.raises(ModuleRefused, match=f"int3_abi_version is {version}"):
        check_version(version)


def test_the_known_version_is_taken() -> None:
    check_version(1)
