"""Tabs on one line, with a title behind them and a word at the right."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip

from int3rceptor_tui.view_model.visible import visible
from int3rceptor_tui.widgets.line_window import LineWindow


class TabLine(LineWindow, can_focus=False):
    """Draws the tabs and tells which was clicked."""

    class Chosen(Message):
        """The user clicked a tab."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, titles: tuple[str, ...], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._titles = titles
        self._active = -1
        self._title = ""
        self._word = ""

    def set_titles(self, titles: tuple[str, ...]) -> None:
        """Show other tabs."""
        if titles != self._titles:
            self._titles = titles
            self.refresh()

    def show(self, active: int, title: str, word: str) -> None:
        """Mark a tab; `title` stands behind the tabs, `word` at the right edge."""
        shown = (active, visible(title), word)
        if shown != (self._active, self._title, self._word):
            self._active, self._title, self._word = shown
            self.refresh()

    def line_count(self) -> int:
        """See `LineWindow.line_count`."""
        return 1

    def draw_line(self, index: int, width: int) -> Strip:
        """See `LineWindow.draw_line`."""
        base = self.rich_style
        segments: list[Segment] = []
        for place, title in enumerate(self._titles):
            style = self.style_named("cursor") if place == self._active else base
            segments.append(Segment(f" {title} ", style))
        used = sum(cell_len(segment.text) for segment in segments)
        word = f" {self._word} " if self._word else ""
        room = max(0, width - used - len(word) - 2)
        title = self._title
        if cell_len(title) > room:
            title = set_cell_size(title, max(0, room - 1)) + "…" if room else ""
        gap = " " * max(0, room - cell_len(title))
        segments.append(Segment("  " + title + gap, base + self.style_named("dim")))
        segments.append(Segment(word, base + self.style_named("key")))
        return Strip(segments).adjust_cell_length(width, base)

    def on_click(self, event: events.Click) -> None:
        """Tell which tab was clicked."""
        start = 0
        for place, title in enumerate(self._titles):
            end = start + len(title) + 2
            if start <= event.x < end:
                self.post_message(self.Chosen(place))
            start = end
