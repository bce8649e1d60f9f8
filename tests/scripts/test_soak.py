"""`scripts/bench soak`: a few seconds of it, and what it takes for a failure."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from int3rceptor_tui.demo.client import Answer

TOOLS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"
ADDED = (b"X-Plugin-Modified", b"true")


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module("soak")


def test_a_short_soak_answers_everything_while_plugins_are_reloaded_and_trap() -> None:
    command = [sys.executable, str(TOOLS / "soak.py"), "--json", "--minutes", "0.075"]
    command += ["--rate", "40", "--warm-up", "1", "--captured", "20000"]
    done = subprocess.run(command, capture_output=True, text=True)
    result = json.loads(done.stdout)
    assert (result["requests"], result["failures"]) == (180, {})
    assert result["reloads"] >= 8
    assert result["generations"]["header-modifier"] >= 4
    assert result["traps"]["stumbler"] >= 3
    assert result["calls"]["mock"] == 180
    assert result["stores"]["at the start"] == 5
    assert result["rss_curve_mb"]
    # So short a run is all warming up: memory is not judged here.
    verdicts = {what: good for what, good in result["verdicts"].items() if "memory" not in what}
    assert len(verdicts) == 5
    assert all(verdicts.values()), done.stderr
    assert done.returncode == (0 if all(result["verdicts"].values()) else 1)


@pytest.mark.parametrize(
    ("answer", "mocked", "fault"),
    [
        (Answer(200, [ADDED], b"x" * 1024), False, None),
        (Answer(200, [], b'{"mock": true}'), True, None),
        (Answer(502, [ADDED], b"x" * 1024), False, "status 502"),
        (Answer(200, [ADDED], b"x" * 1023), False, "wrong body"),
        (Answer(200, [], b"x" * 1024), False, "response not seen by header-modifier"),
        (Answer(200, [ADDED], b"x" * 1024), True, "not answered by mock"),
    ],
)
def test_an_answer_that_is_not_as_it_should_be_is_a_failure(
    soak: ModuleType, answer: Answer, mocked: bool, fault: str | None
) -> None:
    assert importlib.import_module("soak_load").fault_of(answer, mocked) == fault


def test_memory_counts_from_the_warm_up_on_and_single_samples_do_not_matter(
    soak: ModuleType,
) -> None:
    sizes = [1, 1, *[100] * 10, *[100] * 4, 500, *[102] * 5]
    samples = [soak.Sample(float(at), size * 10**6, 5, 5) for at, size in enumerate(sizes)]
    assert soak.memory(samples, 2.0) == [100.0, 100.0, 102.0]
