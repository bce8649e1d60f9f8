"""One plugin: what it is, costs, counts, and may reach; its figures go on while it is shown."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical

from int3rceptor_tui.feed import Books
from int3rceptor_tui.keymap import Where, bindings
from int3rceptor_tui.screens.base import ConsoleScreen
from int3rceptor_tui.view_model.lines import FixedLines
from int3rceptor_tui.view_model.plugin_lines import plugin_lines
from int3rceptor_tui.view_model.visible import visible
from int3rceptor_tui.widgets.line_viewer import LineViewer
from int3rceptor_tui.widgets.tab_line import TabLine
from proxy_core.control.views import Update


class PluginScreen(ConsoleScreen):
    """Moves and searches like every other view."""

    BINDINGS = bindings(Where.PLUGIN)
    WHERE = Where.PLUGIN

    def __init__(self, books: Books, name: str) -> None:
        super().__init__(books)
        self.plugin_name = name
        self.tabs = TabLine((visible(name),))
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
        self.show_plugins()
        self.focus_main()

    def show_update(self, update: Update) -> None:
        """See `ConsoleScreen.show_update`."""
        if update.plugins:
            self.show_plugins()

    def show_plugins(self) -> None:
        """Show the plugin as it is in the books; what is gone stays as it was."""
        plugin = self.books.plugins.get(self.plugin_name)
        if plugin is not None:
            self.viewer.show(FixedLines(plugin_lines(plugin, self.books.hints)), keep_place=True)

    @property
    def main_window(self) -> LineViewer:
        """See `ConsoleScreen.main_window`."""
        return self.viewer

    def do_plugin_page(self) -> None:
        """Page down."""
        self.viewer.turn_page(1)

    do_plugin_search = ConsoleScreen.search_open
    do_plugin_search_next = ConsoleScreen.search_next
    do_plugin_search_previous = ConsoleScreen.search_previous
