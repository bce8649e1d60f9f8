"""Plugins as rows: what their last column tells."""

from __future__ import annotations

from int3rceptor_tui.view_model.columns import fit
from int3rceptor_tui.view_model.plugin_rows import COLUMNS, PluginRows
from proxy_core.model.ids import FlowId
from proxy_core.model.plugin_status import (
    AskedPermission,
    Comparison,
    LoadPhase,
    PermissionState,
    PluginState,
)
from tests.tui.fake_control import make_plugin

OPEN = AskedPermission("network", ("example.com",), PermissionState.UNASKED)
DECIDED = AskedPermission("filesystem", ("/srv",), PermissionState.DENIED)


def last_cell(**changes: object) -> tuple[str, str]:
    rows = PluginRows()
    rows.put([make_plugin("alpha", **changes)])
    return rows.cells_at(0)[-1]


def test_an_error_is_told_before_an_open_question_and_that_before_what_it_is() -> None:
    assert last_cell() == ("What alpha does", "dim")
    assert last_cell(asked=(DECIDED,)) == ("What alpha does", "dim")
    assert last_cell(asked=(OPEN, DECIDED)) == ("P decides on network", "warn")
    failing = {"last_error": "trapped", "state": PluginState.FAILING}
    assert last_cell(asked=(OPEN,), **failing) == ("trapped", "bad")
    assert last_cell(asked=(OPEN,), last_error="trapped") == ("trapped", "warn")


def test_eighty_columns_leave_room_for_which_key_decides() -> None:
    cells = dict(fit(COLUMNS, 80))[len(COLUMNS) - 1]
    assert cells >= len("P decides on network")
    both = OPEN, AskedPermission("filesystem", ("/srv",), PermissionState.UNASKED)
    assert last_cell(asked=both)[0].startswith("P decides on network, files")


def test_a_plugin_in_quarantine_says_when_it_is_called_again() -> None:
    resting = {"state": PluginState.QUARANTINED, "quarantined_for": 42.0}
    assert last_cell(**resting) == ("called again in 42s", "bad")
    assert last_cell(last_error="trapped", **resting) == ("called again in 42s; trapped", "bad")


def test_how_a_generation_differs_is_told_before_what_it_is() -> None:
    same = Comparison(3, 20)
    other = Comparison(3, 20, (FlowId(4), FlowId(9)))
    assert last_cell(compared=same) == ("0/20 differ; What alpha does", "dim")
    assert last_cell(compared=other) == ("2/20 differ; What alpha does", "notice")
    assert last_cell(compared=same, description="") == ("0/20 differ", "dim")
    assert last_cell(compared=other, last_error="trapped") == ("trapped", "warn")


def test_a_load_under_way_is_told_before_all_else() -> None:
    rows = PluginRows()
    loading = {"state": PluginState.LOADING, "phase": LoadPhase.COMPILING, "loading_for": 3.2}
    rows.put(
        [
            make_plugin("alpha", generation=0, **loading),
            make_plugin("beta", generation=4, last_error="trapped", **loading),
        ]
    )
    first, second = rows.cells_at(0), rows.cells_at(1)
    assert first[2] == ("compiling", "notice")
    assert first[-1] == ("3.2s so far", "notice")
    assert second[-1] == ("3.2s so far; generation 4 goes on", "notice")
