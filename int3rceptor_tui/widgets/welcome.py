"""The first screen while there are no flows: how to send some, with the real port and CA."""

from __future__ import annotations

from rich.segment import Segment
from textual.strip import Strip

from int3rceptor_tui.feed import Books
from int3rceptor_tui.view_model.welcome_lines import welcome_lines
from int3rceptor_tui.widgets.line_window import LineWindow


class Welcome(LineWindow):
    """Draws the lines of `welcome_lines`, a little in from the edge."""

    def __init__(self, books: Books) -> None:
        super().__init__(id="welcome")
        self._books = books
        self.note = ""
        """What the console itself has to say: "starting", "stopped: ..."."""

    def _lines(self) -> list[list[tuple[str, str]]]:
        return welcome_lines(self._books.status, self.note, self._books.hints)

    def line_count(self) -> int:
        """See `LineWindow.line_count`."""
        return len(self._lines())

    def draw_line(self, index: int, width: int) -> Strip:
        """See `LineWindow.draw_line`."""
        base = self.rich_style
        margin = "   " if width >= 60 else ""
        segments = [Segment(margin, base)]
        for text, name in self._lines()[index]:
            segments.append(Segment(text, base + self.style_named(name) if name else base))
        return Strip(segments).adjust_cell_length(width, base)
