"""The words of the status bar, the less important ones left out where there is no room."""

from __future__ import annotations

from rich.cells import cell_len

from int3rceptor_tui.keymap import BY_ID, Hints
from int3rceptor_tui.view_model.first_uses import Question
from int3rceptor_tui.view_model.plugin_rows import count
from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import CoreStatus
from proxy_core.model.words import counted, plural

Part = tuple[str, str]


_LEAST_QUESTION = 40  # cells; in fewer it says nothing


def status_parts(
    status: CoreStatus | None,
    rate: float,
    note: str,
    width: int,
    question: Question | None = None,
    hints: Hints = BY_ID,
) -> list[Part]:
    """Return (text, style name) pieces that fill at most `width` cells."""
    if status is None or note:
        return [(f" {visible(note)}"[:width], "warn" if status is not None else "dim")]
    left: list[Part] = [
        (" ● ", "good"),
        (" ".join(status.listening) or "not listening", "heading"),
    ]
    mode = " ".join(mode for mode in status.modes if mode != "regular")
    if mode:
        left.append((f"  {mode}", "dim"))
    if status.api:
        left.append((f"  API {status.api.removeprefix('http://')}", "dim"))
    lost, clients = status.log_lines_dropped, status.client_connections
    kept = f" ({status.flows_kept} kept)" if status.flows_evicted else ""
    # The most important first; what does not fit is left out from the end.
    fields: list[list[Part]] = [
        [(f"{status.flows_seen}", ""), (f" {plural('flow', status.flows_seen)}{kept}", "dim")],
        [(f"{rate:.0f}/s", "" if rate else "dim")],
        [(f"{status.held} held", "warn" if status.held else "dim")],
        *([[(f"{count(lost)} dropped", "warn")]] if lost else []),
        [
            (
                counted(status.plugins_ready, "plugin"),
                "" if status.plugins_ready else "dim",
            ),
            *([(f" {status.plugins_failing} failed", "bad")] if status.plugins_failing else []),
        ],
        [(f"{hints['app.help'].hint} help", "key")],
        *([] if lost else [[("0 dropped", "dim")]]),
        [(counted(clients, "client"), "dim")],
    ]
    used = sum(cell_len(text) for text, _ in left)
    room = width - used - 3
    if question is not None and room >= _LEAST_QUESTION:
        if status.held:  # somebody waits: before everything else
            fields.insert(0, fields.pop(2))
        if room - _need(fields[0]) >= _LEAST_QUESTION:
            room -= _need(fields[0])
        fields.insert(0, [(question.line(room, hints), "warn")])
    parts = list(left)
    for field in fields:
        need = _need(field)
        if used + need > width:
            continue
        parts.append((" │ ", "dim"))
        parts.extend(field)
        used += need
    return parts


def _need(field: list[Part]) -> int:
    """Return the cells that a field takes, with what parts it from the one before."""
    return 3 + sum(cell_len(text) for text, _ in field)
