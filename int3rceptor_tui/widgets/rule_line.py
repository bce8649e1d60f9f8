"""A line between two panes, with a title."""

from __future__ import annotations

from rich.segment import Segment
from textual.strip import Strip

from int3rceptor_tui.widgets.line_window import LineWindow


class RuleLine(LineWindow, can_focus=False):
    """Draws `── title ───── word ──`."""

    def __init__(self) -> None:
        super().__init__()
        self._title = ""
        self._word = ""

    def show(self, title: str, word: str) -> None:
        """Change the words."""
        if (title, word) != (self._title, self._word):
            self._title, self._word = title, word
            self.refresh()

    def line_count(self) -> int:
        """See `LineWindow.line_count`."""
        return 1

    def draw_line(self, index: int, width: int) -> Strip:
        """See `LineWindow.draw_line`."""
        base, line = self.rich_style, self.rich_style + self.style_named("dim")
        word = f" {self._word} " if self._word else ""
        fill = max(0, width - len(self._title) - len(word) - 6)
        return Strip(
            [
                Segment("── ", line),
                Segment(self._title, base + self.style_named("heading")),
                Segment(" " + "─" * fill, line),
                Segment(word, line),
                Segment("──", line),
            ]
        ).adjust_cell_length(width, base)
