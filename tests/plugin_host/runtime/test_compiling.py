"""Large modules: compiled aside, alike, and no longer than they may."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import wasmtime

from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.runtime.compiling import SMALL_BYTES, Compiler
from proxy_core.plugin_host.runtime.official import OfficialEngine
from proxy_core.plugin_host.runtime.raw import RawEngine
from proxy_core.plugin_host.runtime.settings import make_config
from tests.plugin_host.guests import MEMORY, wasm
from tests.plugin_host.runtime.test_engines import enter, loaded
from tests.waiting import until

DATA = f'(data (i32.const 0) "{"x" * 60_000}")'
LARGE = (
    f'(module {MEMORY} {DATA * 3} (func (export "on_request") (result i32)'
    " (i32.load8_u (i32.const 59999))))"
)
# Each of these calls costs the compiler as much as all before it.
BOMB = wasm(
    "(module (table 1 funcref) (type $t (func (result i32)))"
    f' (func (export "on_request") (result i32)'
    f" {'(drop (call_indirect (type $t) (i32.const 0)))' * 120_000} i32.const 0))"
)


@pytest.fixture
def compiler() -> Iterator[Compiler]:
    made = Compiler(wasmtime.Engine(make_config()), epochs=False, seconds=1)
    yield made
    made.close()


@pytest.mark.parametrize("engine", [RawEngine, OfficialEngine])
async def test_a_large_module_runs_as_a_small_one_does(
    engine: type[RawEngine | OfficialEngine],
) -> None:
    assert len(wasm(LARGE)) > SMALL_BYTES
    made = engine()
    guest = loaded(made, LARGE)
    assert await enter(guest) == ord("x")
    guest.close()
    made.close()


def test_a_large_module_that_is_none_is_refused_with_the_reason(compiler: Compiler) -> None:
    with pytest.raises(ModuleRefused, match=r"not a valid module: .*magic"):
        compiler.compile(b"\0asn\1\0\0\0" + bytes(SMALL_BYTES))


def test_a_module_that_keeps_the_compiler_busy_is_given_up(compiler: Compiler) -> None:
    with pytest.raises(ModuleRefused, match="not compiled within 1 s of processor time"):
        compiler.compile(BOMB)


async def test_closing_ends_what_is_being_compiled() -> None:
    compiler = Compiler(wasmtime.Engine(make_config()), epochs=False)
    told: list[str] = []

    def work() -> None:
        try:
            compiler.compile(BOMB)
        except ModuleRefused as error:
            told.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    await until(lambda: compiler._running)
    compiler.close()
    thread.join()
    assert told == ["was not compiled: the host has stopped"]
    with pytest.raises(ModuleRefused, match="the host has stopped"):
        compiler.compile(BOMB)
