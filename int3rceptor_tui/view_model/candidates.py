"""What a line at the prompt could become: as many as fit on a line, with the chosen one."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from int3rceptor_tui.view_model.lines import Piece
from int3rceptor_tui.view_model.visible import visible


def candidate_pieces(candidates: Sequence[str], chosen: int | None, width: int) -> list[Piece]:
    """Return pieces of at most `width` cells; `chosen` is the place of the one that was taken."""
    shown = [f" {visible(candidate.strip())} " for candidate in candidates]
    start = end = 0
    while end < len(shown):
        start, end = end, _page_end(shown, end, width)
        if chosen is None or chosen < end:
            break
    pieces: list[Piece] = []
    for place in range(start, end):
        name = "cursor" if place == chosen else "dim"
        pieces.append((set_cell_size(shown[place], min(cell_len(shown[place]), width)), name))
    room = width - sum(cell_len(text) for text, _ in pieces)
    if end < len(shown) and room > 0:
        pieces.append(("…", "dim"))
    return pieces


def _page_end(shown: Sequence[str], start: int, width: int) -> int:
    """Return behind which one the line that begins with `start` is full; it has at least one."""
    used = 0
    for place in range(start, len(shown)):
        used += cell_len(shown[place])
        if used > width - 1 and place > start:
            return place
    return len(shown)
