"""Which engine is chosen, and why."""

from __future__ import annotations

import subprocess
import sys

import pytest

from proxy_core.plugin_host.faults import GuestFailure
from proxy_core.plugin_host.runtime import open_engine, opening, self_test
from proxy_core.plugin_host.runtime.desk import Desk
from proxy_core.plugin_host.runtime.official import OfficialEngine
from proxy_core.plugin_host.runtime.raw import RawEngine
from proxy_core.plugin_host.runtime.raw_guest import RawGuest


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="guests' stacks fail its checks")
def test_the_fast_engine_passes_its_test_here() -> None:
    engine, weakness = open_engine()
    assert isinstance(engine, RawEngine)
    assert weakness is None


def test_a_newer_interpreter_gets_the_other_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_CHECKED_STACKS", (3, 0))
    engine, weakness = open_engine()
    engine.close()
    assert isinstance(engine, OfficialEngine)
    assert weakness is not None
    assert "stack" in weakness


@pytest.mark.parametrize("installed", ["45.0.0", "51.0.0", "dev"])
def test_a_library_that_was_not_proven_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, installed: str
) -> None:
    monkeypatch.setattr(opening, "version", lambda _: installed)
    engine, weakness = open_engine()
    engine.close()
    assert isinstance(engine, OfficialEngine)
    assert weakness == f"wasmtime is {installed}; known are 46 to 50"


def test_missing_entry_points_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: RawEngine) -> None:
        raise AttributeError("undefined symbol: wasmtime_call_future_poll")

    monkeypatch.setattr(RawEngine, "__init__", missing)
    engine, weakness = open_engine()
    engine.close()
    assert isinstance(engine, OfficialEngine)
    assert weakness is not None
    assert "wasmtime_call_future_poll" in weakness


def test_an_engine_without_slices_fails_the_test() -> None:
    engine = OfficialEngine()
    assert self_test.find_fault(engine) == "host functions get wrong arguments"
    engine.close()


@pytest.mark.parametrize(
    ("method", "replacement", "fault"),
    [
        ("run", lambda self, entry: 0, "a plain call gives a wrong result"),
        ("begin", lambda self, entry: -5, "guests are not run in slices"),
    ],
)
def test_wrong_results_fail_the_test(
    monkeypatch: pytest.MonkeyPatch, method: str, replacement: object, fault: str
) -> None:
    monkeypatch.setattr(RawGuest, method, replacement)
    assert self_test.find_fault(RawEngine()) == fault


@pytest.mark.parametrize(
    ("owner", "method", "replacement", "fault"),
    [
        (RawEngine, "desk_code", lambda self, contract: None, "guests have no desk"),
        (Desk, "begin", lambda self, hook: None, "an entry for two flows does not end"),
        (Desk, "edits", lambda self, flows: None, "what a guest asks for is not what is noted"),
        (Desk, "codes", lambda self, flows: [0, 0], "what a guest asks for is not what is noted"),
    ],
)
def test_a_wrong_desk_fails_the_test(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, replacement: object, fault: str
) -> None:
    monkeypatch.setattr(owner, method, replacement)
    assert self_test.find_fault(RawEngine()) == fault


def test_a_failure_inside_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: RawGuest, entry: str) -> int:
        raise GuestFailure("broken")

    monkeypatch.setattr(RawGuest, "run", fail)
    assert self_test.find_fault(RawEngine()) == "the self-test failed: broken"


def test_unpaid_memory_operations_fail_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    free = self_test._MODULE.replace("(memory.fill", "(call $free").replace(
        "(func $spin", "(func $free (param i32 i32 i32)) (func $spin"
    )
    monkeypatch.setattr(self_test, "_MODULE", free)
    fault = self_test.find_fault(RawEngine())
    assert fault is not None
    assert "costs no fuel" in fault


def test_the_library_is_not_imported_before_there_is_a_plugin() -> None:
    script = "import sys, proxy_core.plugin_host; sys.exit('wasmtime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
