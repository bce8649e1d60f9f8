"""Lines that are wider than the window, folded into rows of it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, get_character_cell_size

from int3rceptor_tui.view_model.lines import Piece

_INDENT = "  "
_LEAST_INDENTED = 20  # cells of a window in which there is room for it


def wrap(pieces: Sequence[Piece], width: int) -> list[list[Piece]]:
    """Return a line's rows of at most `width` cells, at least one; what goes on is set in a little.

    It goes on behind a space, where there is one in the second half of what fits. A character that
    is wider than the window has a row of its own.
    """
    indent = _INDENT if width >= _LEAST_INDENTED else ""
    rows: list[list[Piece]] = [[]]
    room = width
    for text, style in pieces:
        rest = text
        while rest:
            taken = _fitting(rest, room)
            if not taken and room >= width - len(indent):
                taken = 1
            if taken < len(rest):
                space = rest.rfind(" ", taken // 2, taken)
                taken = taken if space < 0 else space + 1
            if taken:
                rows[-1].append((rest[:taken], style))
                room -= cell_len(rest[:taken])
                rest = rest[taken:]
            if rest:
                rows.append([(indent, "")] if indent else [])
                room = width - len(indent)
    return rows


def _fitting(text: str, room: int) -> int:
    """Return how many characters fit; an accent stays with its letter."""
    if text.isascii():
        return max(0, min(len(text), room))
    used = 0
    for at, character in enumerate(text):
        used += get_character_cell_size(character)
        if used > room:
            return at
    return len(text)
