"""What was done to a flow on its way, as lines: a section for each change, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from int3rceptor_tui.view_model.body_diff import body_diff
from int3rceptor_tui.view_model.line_diff import line_diff
from int3rceptor_tui.view_model.lines import Piece
from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import ChangeView, FlowDetail, HeadView

Rows = list[list[Piece]]

EVERYBODY = ""
_FRAMING = frozenset({"content-length", "transfer-encoding", "trailer"})
"""Fields that the proxy writes by itself: no editor can, so that none is named for them."""
_STYLES: dict[Literal[" ", "-", "+"], str] = {" ": "dim", "-": "bad", "+": "good"}


def editors(flow: FlowDetail) -> tuple[str, ...]:
    """Return who changed the flow, each once, in order."""
    return tuple(dict.fromkeys(change.by for change in flow.changes))


def change_lines(flow: FlowDetail, by: str = EVERYBODY) -> Rows:
    """Return what was done to the flow, by one editor or by everybody."""
    rows: Rows = []
    for number, change in enumerate(flow.changes, 1):
        if by in (EVERYBODY, change.by):
            rows += [[], *_section(number, change)] if rows else _section(number, change)
    if rows:
        return rows
    if by != EVERYBODY:
        rows.append([(f"{visible(by)} changed nothing of this flow on its way.", "dim")])
    elif not flow.edited_by:
        rows.append([("Nothing changed this flow on its way.", "dim")])
    others = editors(flow) or flow.edited_by
    if others and by not in others:
        rows.append([(f"What did: {visible(', '.join(others))}.", "dim")])
    if flow.edited_by and not flow.changes:
        rows.append([("How is not kept: an answer of its own, or messages.", "dim")])
    return rows


def _section(number: int, change: ChangeView) -> Rows:
    message = "response" if change.of_response else "request"
    rows: Rows = [
        [(f"{number}  ", "dim"), (visible(change.by), "heading"), (f" changed the {message}", "")]
    ]
    rows += _head_diff(change.before, change.after)
    if change.body_before is not None and change.body_after is not None:
        rows += body_diff(change.body_before, change.body_after)
    if change.in_pieces:
        rows.append([("  its body, piece by piece: what that was is not kept", "dim")])
    if len(rows) == 1:
        rows.append([("  into what it was: nothing differs", "dim")])
    return rows


def _head_diff(before: HeadView, after: HeadView) -> Rows:
    """Return the lines of a head that were removed and added; the start line for orientation."""
    rows: Rows = []
    if before.start_line != after.start_line:
        rows.append([(f"- {visible(before.start_line)}", _STYLES["-"])])
        rows.append([(f"+ {visible(after.start_line)}", _STYLES["+"])])
    old, new = _edited(before), _edited(after)
    for edit in line_diff(old, new):
        if edit.mark == "-" and edit.old is not None:
            rows.append(_field("-", old, edit.old))
        elif edit.mark == "+" and edit.new is not None:
            rows.append(_field("+", new, edit.new))
    return rows


def _edited(head: HeadView) -> list[tuple[str, str]]:
    return [field for field in head.fields if field[0].lower() not in _FRAMING]


def _field(mark: Literal["-", "+"], fields: Sequence[tuple[str, str]], place: int) -> list[Piece]:
    name, value = fields[place]
    return [(f"{mark} {visible(name)}: {visible(value)}", _STYLES[mark])]
