"""What became of a body: a diff of its text line by line, or for bytes where they begin to differ.

Content codings are taken off, and JSON is laid out anew, as where bodies are shown. Everything is
bounded: the text that is compared, the edits looked for, and the lines that come of it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import AnyStr

from int3rceptor_tui.view_model.body_text import decode_body, looks_binary, to_text
from int3rceptor_tui.view_model.formats import size
from int3rceptor_tui.view_model.json_text import json_lines
from int3rceptor_tui.view_model.line_diff import Edit, line_diff
from int3rceptor_tui.view_model.lines import HexLines, Piece, TextLines
from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import BodyView
from proxy_core.model.words import counted

Rows = list[list[Piece]]

TEXT_BYTES = 512 * 1024
"""Decoded bytes of each body that are compared as text."""
MOST_LINES = 4000
"""Lines of each that are compared."""
MOST_ROWS = 400
"""Lines of difference that are shown."""
_CONTEXT = 2
_LONG = 120
_LEAD = 24  # characters left before the first difference of a long line
_STYLES = {" ": "dim", "-": "bad", "+": "good"}


def body_diff(before: BodyView, after: BodyView) -> Rows:
    """Return the lines that tell how a body was changed; at least one."""
    head = f"body  {_sizes(before, after)}"
    old, new = _decoded(before), _decoded(after)
    if old == new:
        what = "the same bytes" if before.kept == after.kept else "only the content coding differs"
        return [[(f"  {head}: {what}", "dim")]]
    rows: Rows = [[(f"~ {head}", "notice")]]
    if looks_binary(old) or looks_binary(new):
        return rows + _bytes(old, new)
    old_lines, new_lines = _lines(old, before), _lines(new, after)
    if old_lines == new_lines or not (old and new):  # told apart by white space that is laid out
        old_lines, new_lines = _plain(old, before), _plain(new, after)
    rows += _hunks(old_lines[:MOST_LINES], new_lines[:MOST_LINES]) or _bytes(old, new)
    if max(len(old_lines), len(new_lines)) > MOST_LINES or max(len(old), len(new)) > TEXT_BYTES:
        most = f"{MOST_LINES} lines and {size(TEXT_BYTES)}"
        rows.append([(f"  no more than {most} were compared", "notice")])
    return rows


def _sizes(*bodies: BodyView) -> str:
    told = [f"{size(body.size)} {visible(body.encoding or '')}".strip() for body in bodies]
    return " → ".join(told)


def _decoded(body: BodyView) -> bytes:
    return decode_body(body.kept, body.encoding).data


def _lines(data: bytes, body: BodyView) -> list[str]:
    text = to_text(data, body.content_type)
    laid_out = json_lines(text)
    if laid_out is None:
        return _plain(data, body)
    count = min(len(laid_out), MOST_LINES + 1)
    return ["".join(piece for piece, _ in laid_out.line(at)) for at in range(count)]


def _plain(data: bytes, body: BodyView) -> list[str]:
    if not data:
        return []
    lines = TextLines(to_text(data[:TEXT_BYTES], body.content_type))
    return ["".join(piece for piece, _ in lines.line(at)) for at in range(len(lines))]


def _bytes(old: bytes, new: bytes) -> Rows:
    """Show where two bodies that are no text begin to differ."""
    at = _common(old, new)
    rows: Rows = [[(f"  first difference at byte {at} (0x{at:x})", "dim")]]
    for mark, data in (("-", old), ("+", new)):
        row = HexLines(data).line(at // 16) if at // 16 * 16 < len(data) else [("(ends here)", "")]
        rows.append([(f"{mark} " + "".join(piece for piece, _ in row), _STYLES[mark])])
    return rows


def _hunks(old: list[str], new: list[str]) -> Rows:
    """Show what differs with a little around it."""
    edits = line_diff(old, new)
    near = _near(edits)
    rows: Rows = []
    for before, at in pairwise([-1, *near]):
        if len(rows) >= MOST_ROWS:
            rest = sum(edit.mark != " " for edit in edits[at:])
            rows.append([(f"  and {counted(rest, 'line')} more", "notice")])
            return rows
        if at != before + 1:
            rows.append([("  ...", "dim")])
        edit = edits[at]
        text = old[edit.old] if edit.old is not None else new[edit.new or 0]
        partner = _partner(edits, at)
        if partner is not None:
            other = edits[partner]
            text = _narrowed(text, old[other.old] if other.old is not None else new[other.new or 0])
        rows.append([(f"{edit.mark} {text}", _STYLES[edit.mark])])
    if near and near[-1] != len(edits) - 1:
        rows.append([("  ...", "dim")])
    return rows


def _near(edits: list[Edit]) -> list[int]:
    """Return the places of the edits that are shown: changes, and what is close to one."""
    shown: set[int] = set()
    for at, edit in enumerate(edits):
        if edit.mark != " ":
            shown.update(range(max(0, at - _CONTEXT), min(len(edits), at + _CONTEXT + 1)))
    # Where one line only would be left out, "..." takes no less room.
    lone = {at for at in range(len(edits)) if _is_lone(at, shown, len(edits))}
    return sorted(shown | lone)


def _is_lone(at: int, shown: set[int], count: int) -> bool:
    before, after = at == 0 or at - 1 in shown, at == count - 1 or at + 1 in shown
    return before and after and count > 1


def _partner(edits: list[Edit], at: int) -> int | None:
    """Return the line that one which was replaced alone was replaced by, or the other way."""
    mark = edits[at].mark
    if mark == " ":
        return None
    other = at + 1 if mark == "-" else at - 1
    if not 0 <= other < len(edits) or edits[other].mark in (" ", mark):
        return None
    around = (min(at, other) - 1, max(at, other) + 1)
    alone = all(not 0 <= place < len(edits) or edits[place].mark == " " for place in around)
    return other if alone else None


def _narrowed(line: str, other: str) -> str:
    """Leave out of a long line what it begins with as the other does: the change is in sight."""
    common = _common(line, other)
    if max(len(line), len(other)) <= _LONG or common <= _LEAD:
        return line
    return "…" + line[common - _LEAD :]


def _common(one: AnyStr, other: AnyStr) -> int:
    """Return how much of both beginnings is the same; comparing slices is quicker than looping."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
