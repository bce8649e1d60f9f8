"""The line above the prompt: what the text in it could become."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual.strip import Strip

from int3rceptor_tui.view_model.candidates import candidate_pieces
from int3rceptor_tui.widgets.line_window import LineWindow


class CandidateLine(LineWindow, can_focus=False):
    """Hidden where there is nothing to choose from."""

    def __init__(self) -> None:
        super().__init__(id="candidates")
        self.display = False
        self._candidates: Sequence[str] = ()
        self._chosen: int | None = None

    def show(self, candidates: Sequence[str], chosen: int | None) -> None:
        """Show these, one of them as taken."""
        self._candidates, self._chosen = candidates, chosen
        self.display = bool(candidates)
        self.refresh()

    def line_count(self) -> int:
        """See `LineWindow.line_count`."""
        return 1

    def draw_line(self, index: int, width: int) -> Strip:
        """See `LineWindow.draw_line`."""
        base = self.rich_style
        pieces = candidate_pieces(self._candidates, self._chosen, width)
        segments = [Segment(text, base + self.style_named(name)) for text, name in pieces]
        return Strip(segments).adjust_cell_length(width, base)
