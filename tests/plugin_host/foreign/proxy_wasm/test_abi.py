"""What a module and the host agree on, and what is refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_core.plugin_host.abi import Declared, Signature
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.foreign.proxy_wasm.abi import FUNCTIONS, settle_terms
from proxy_core.plugin_host.foreign.proxy_wasm.codes import UNIMPLEMENTED
from proxy_core.plugin_host.hook.commit import commit
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE, FakeGuest
from tests.plugin_host.foreign.proxy_wasm.fake_filter import FakeFilter
from tests.plugin_host.guests import make_flow, respond_with

MARKER = Declared("proxy_abi_version_0_2_1", "function", ((), ()))
MEMORY = Declared("memory", "memory", pages=(1, None))


def env(name: str, params: int, result: bool = True, kind: str = "i32") -> Declared:
    signature: Signature = ((kind,) * params, ("i32",) if result else ())
    return Declared(name, "function", signature, "env")


def export(name: str, params: int, result: bool = False) -> Declared:
    return Declared(name, "function", (("i32",) * params, ("i32",) if result else ()))


@pytest.mark.parametrize(
    ("marker", "version"),
    [
        ("proxy_abi_version_0_1_0", (0, 1, 0)),
        ("proxy_abi_version_0_2_0", (0, 2, 0)),
        ("proxy_abi_version_0_2_1", (0, 2, 1)),
    ],
)
def test_the_marker_names_the_version(marker: str, version: tuple[int, int, int]) -> None:
    assert settle_terms([], [Declared(marker, "function", ((), ()))]).version == version


def test_the_newest_of_several_versions_counts() -> None:
    old = Declared("proxy_abi_version_0_1_0", "function", ((), ()))
    assert settle_terms([], [old, MARKER]).version == (0, 2, 1)


@pytest.mark.parametrize("params", [2, 3])
def test_callbacks_about_headers_take_two_or_three_arguments(params: int) -> None:
    terms = settle_terms([], [MARKER, export("proxy_on_request_headers", params, True)])
    assert terms.entries["proxy_on_request_headers"] == (("i32",) * params, ("i32",))


@pytest.mark.parametrize(
    "wrong",
    [
        export("proxy_on_request_headers", 4, True),
        export("proxy_on_request_body", 2, True),
        export("proxy_on_tick", 1, True),
        export("malloc", 2, True),
        Declared("proxy_on_log", "memory"),
    ],
)
def test_a_callback_of_another_type_is_refused(wrong: Declared) -> None:
    with pytest.raises(ModuleRefused, match=wrong.name):
        settle_terms([], [MARKER, wrong])


def test_a_main_of_another_language_is_left_alone() -> None:
    assert settle_terms([], [MARKER, export("main", 0)]).entries == {}
    terms = settle_terms([], [MARKER, export("main", 2, True), export("__main_void", 0, True)])
    assert set(terms.entries) == {"main", "__main_void"}


def test_imports_are_bound_by_name_once() -> None:
    twice = env("proxy_log", 3)
    imports = [twice, twice, Declared("sched_yield", "function", ((), ("i32",)), "wasi_unstable")]
    terms = settle_terms(imports, [MARKER, MEMORY])
    assert [(item.function.module, item.function.name) for item in terms.imports] == [
        ("env", "proxy_log"),
        ("wasi_unstable", "sched_yield"),
    ]


def test_every_function_may_be_declared_without_its_result() -> None:
    terms = settle_terms([env("proxy_continue_request", 0, False)], [MARKER])
    assert terms.imports[0].results == ()


def test_what_is_not_there_answers_unimplemented_and_is_listed() -> None:
    imports = [
        env("proxy_grpc_call", 12),
        env("proxy_grpc_stream", 7),  # of SDKs before 0.2.0
        env("proxy_invented", 2),
        env("odd", 1, kind="f64"),
    ]
    terms = settle_terms(imports, [MARKER, export("proxy_on_grpc_close", 3)])
    never = ("proxy_on_grpc_close",)
    assert terms.unsupported == tuple(item.name for item in imports) + never
    host = FakeGuest().host
    for item in terms.imports:
        arguments = [0] * len(item.function.params)
        assert item.function.run(host, *arguments) == UNIMPLEMENTED


def test_foreign_functions_are_listed_though_one_is_there() -> None:
    terms = settle_terms([env("proxy_call_foreign_function", 6)], [MARKER, MEMORY])
    assert terms.unsupported == ("proxy_call_foreign_function",)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (env("proxy_log", 2), "proxy_log"),
        (env("proxy_invented", 1, False), "unknown here"),
        (Declared("proxy_invented", "function", ((), ("i64",)), "env"), "unknown here"),
        (Declared("proxy_log", "function", (("i32",) * 3, ("i32",)), "other"), "env and WASI"),
        (Declared("table", "table", None, "env"), "env and WASI"),
        (Declared("fd_close", "function", ((), ()), "wasi_unstable"), "fd_close"),
    ],
)
def test_what_cannot_be_answered_is_refused(wrong: Declared, reason: str) -> None:
    with pytest.raises(ModuleRefused, match=reason):
        settle_terms([wrong], [MARKER, MEMORY])


def test_one_name_with_two_types_is_refused() -> None:
    with pytest.raises(ModuleRefused, match="twice"):
        settle_terms([env("proxy_log", 3), env("proxy_log", 3, False)], [MARKER, MEMORY])


def test_pointers_need_a_plain_memory() -> None:
    with pytest.raises(ModuleRefused, match="memory"):
        settle_terms([env("proxy_log", 3)], [MARKER])
    with pytest.raises(ModuleRefused, match="memory"):
        settle_terms([], [MARKER, Declared("memory", "global")])


def test_every_function_takes_as_many_numbers_as_it_says() -> None:
    for function in FUNCTIONS.values():
        assert isinstance(function.run(FakeGuest().host, *[0] * len(function.params)), int)


POINTERS = st.sampled_from([0, 1, 8, 64, 1000, PAGE - 4, PAGE - 1, PAGE, 2**31, HIGH - 3, HIGH])


@given(data=st.data(), name=st.sampled_from(sorted(FUNCTIONS)))
def test_nothing_that_a_filter_passes_makes_a_function_fail(data: st.DataObject, name: str) -> None:
    function = FUNCTIONS[name]
    flow = respond_with(make_flow())
    guest = FakeFilter(data.draw(st.sampled_from([Hook.REQUEST, Hook.RESPONSE])), flow)
    assert guest.stream is not None
    for side in guest.stream.sides.values():
        side.data, side.trailers = bytearray(b"data"), [(b"t", b"1")]
    pattern = data.draw(st.binary(min_size=1, max_size=64))
    guest.buffer[: PAGE // 2] = (pattern * (PAGE // 2))[: PAGE // 2]
    arguments = [
        data.draw(st.one_of(POINTERS, st.integers(0, 12), st.integers(0, HIGH)))
        for _ in function.params
    ]
    status = function.run(guest.host, *arguments)
    assert isinstance(status, int)
    assert 0 <= status <= 12
    commit(guest.call)


@pytest.mark.parametrize("number", [1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_no_number_makes_a_function_fail(number: int) -> None:
    for function in FUNCTIONS.values():
        wide = [number | number << 32 if kind == "i64" else number for kind in function.params]
        assert isinstance(function.run(FakeGuest().host, *wide), int)
