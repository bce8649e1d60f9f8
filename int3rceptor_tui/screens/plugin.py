"""One plugin: what it is, costs, counts, and may reach; its figures go on while it is shown."""

from __future__ import annotations

from int3rceptor_tui.feed import Books
from int3rceptor_tui.keymap import Where, bindings
from int3rceptor_tui.screens.base import ConsoleScreen
from int3rceptor_tui.screens.lines import LinesScreen
from int3rceptor_tui.view_model.lines import FixedLines
from int3rceptor_tui.view_model.plugin_lines import plugin_lines
from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import Update


class PluginScreen(LinesScreen):
    """Moves and searches like every other view."""

    BINDINGS = bindings(Where.PLUGIN)
    WHERE = Where.PLUGIN

    def __init__(self, books: Books, name: str) -> None:
        super().__init__(books, visible(name))
        self.plugin_name = name

    def show_update(self, update: Update) -> None:
        """See `ConsoleScreen.show_update`."""
        if update.plugins:
            self.show_lines()

    def show_lines(self) -> None:
        """Show the plugin as it is in the books; what is gone stays as it was."""
        plugin = self.books.plugins.get(self.plugin_name)
        if plugin is not None:
            self.viewer.show(FixedLines(plugin_lines(plugin, self.books.hints)), keep_place=True)

    def do_plugin_page(self) -> None:
        """Page down."""
        self.viewer.turn_page(1)

    do_plugin_search = ConsoleScreen.search_open
    do_plugin_search_next = ConsoleScreen.search_next
    do_plugin_search_previous = ConsoleScreen.search_previous
