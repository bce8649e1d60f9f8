"""What the screens share that show nothing but lines: keys, a plugin, a log line."""

from __future__ import annotations

from abc import abstractmethod

from textual.app import ComposeResult
from textual.containers import Vertical

from int3rceptor_tui.feed import Books
from int3rceptor_tui.screens.base import ConsoleScreen
from int3rceptor_tui.widgets.line_viewer import LineViewer
from int3rceptor_tui.widgets.tab_line import TabLine


class LinesScreen(ConsoleScreen):
    """Lies on top of another screen, which its title line says how to get back to."""

    def __init__(self, books: Books, title: str) -> None:
        super().__init__(books)
        self.tabs = TabLine((title,))
        self.viewer = LineViewer(id="viewer")

    def compose(self) -> ComposeResult:
        """Lay out."""
        with Vertical():
            yield self.tabs
            yield self.viewer
        yield from self.compose_bottom()

    def on_mount(self) -> None:
        """Show the lines."""
        self.tabs.show(0, "", f"{self.books.hints['app.back'].hint} goes back")
        self.show_lines()
        self.focus_main()

    @abstractmethod
    def show_lines(self) -> None:
        """Show what there is to show now."""

    @property
    def main_window(self) -> LineViewer:
        """See `ConsoleScreen.main_window`."""
        return self.viewer
