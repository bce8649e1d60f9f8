"""The one line at the bottom: where the proxy listens and how it is doing."""

from __future__ import annotations

from rich.segment import Segment
from textual.strip import Strip

from int3rceptor_tui.feed import Books
from int3rceptor_tui.view_model.status_line import status_parts
from int3rceptor_tui.widgets.line_window import LineWindow


class StatusBar(LineWindow, can_focus=False):
    """Draws `Books.status`; call `refresh` when that changed."""

    def __init__(self, books: Books) -> None:
        super().__init__(id="status")
        self._books = books
        self.note = ""
        """What the console itself has to say: "starting", "stopped: ..."."""

    def line_count(self) -> int:
        """See `LineWindow.line_count`."""
        return 1

    def draw_line(self, index: int, width: int) -> Strip:
        """See `LineWindow.draw_line`."""
        segments: list[Segment] = []
        base = self.rich_style
        books = self._books
        question = books.first_uses.open
        parts = status_parts(books.status, books.rate, self.note, width, question, books.hints)
        for text, name in parts:
            segments.append(Segment(text, base + self.style_named(name) if name else base))
        return Strip(segments).adjust_cell_length(width, base)
