"""The plugins, and below them what they log, live."""

from __future__ import annotations

from textual import events, on
from textual.app import ComposeResult

from int3rceptor_tui.feed import Books
from int3rceptor_tui.keymap import Where, bindings
from int3rceptor_tui.messages import FlowChosen, LogLineChosen, PluginChosen
from int3rceptor_tui.screens.base import MainScreen
from int3rceptor_tui.view_model import log_rows, plugin_rows
from int3rceptor_tui.view_model.log_rows import PROGRAM, LogRows
from int3rceptor_tui.view_model.plugin_rows import PluginRows
from int3rceptor_tui.view_model.visible import visible
from int3rceptor_tui.widgets.line_table import LineTable
from int3rceptor_tui.widgets.rule_line import RuleLine
from proxy_core.control.views import Update
from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import PluginStatus


class PluginsScreen(MainScreen):
    """The list above, the log below; tab goes between them."""

    BINDINGS = bindings(Where.PLUGINS)
    WHERE = Where.PLUGINS
    INDEX = 1

    def __init__(self, books: Books) -> None:
        super().__init__(books)
        self.rows = PluginRows(books.hints)
        self._in_log = False
        self.table = LineTable(plugin_rows.COLUMNS, self.rows, id="plugins")
        self.rule = RuleLine()
        self.log_table = LineTable(
            log_rows.COLUMNS, LogRows(books.logs), follow=True, header=False, id="log"
        )

    def compose(self) -> ComposeResult:
        """Lay out."""
        yield self.tabs
        yield self.table
        yield self.rule
        yield self.log_table
        yield from self.compose_bottom()

    def on_mount(self) -> None:
        """Start with the keys in the list."""
        self.show_tabs()
        self.show_plugins()
        self._title()
        self.focus_main()

    def on_screen_resume(self) -> None:
        """Show what came while another screen was up."""
        self.show_plugins()
        self.log_table.sync()
        self.status_bar.refresh()

    @property
    def main_window(self) -> LineTable:
        """See `ConsoleScreen.main_window`: the pane that had the keys last."""
        return self.log_table if self._in_log else self.table

    def show_update(self, update: Update) -> None:
        """See `ConsoleScreen.show_update`."""
        if update.plugins:
            self.show_plugins()
        if update.logs:
            self.log_table.sync(())

    def show_plugins(self) -> None:
        """Show the plugins in the books; their order is that in which they run."""
        plugins = list(self.books.plugins.values())
        before = len(self.rows)
        selected = self.selected
        self.rows.put(plugins)
        if len(plugins) != before:
            self.table.styles.height = min(max(len(plugins), 1), 12) + 1
        position = None if selected is None else self.rows.position_of(selected.name)
        if position is not None and position != self.table.cursor:
            self.table.move_to(position)
        self.table.sync()
        self._title()

    def _title(self) -> None:
        chosen = self.books.logs.filter
        hints = self.books.hints
        if not len(self.rows):
            key = hints["plugins.discover"].hint
            self.rule.show(f"No plugins. Put some into ~/.int3rceptor/plugins and press {key}.", "")
            return
        key = hints["plugins.follow"].hint
        follow = "following" if self.log_table.follow else f"{key} follows"
        if self._in_log:
            follow = f"{hints['plugins.line'].hint} shows a line whole, {follow}"
        title = "Log of all plugins"
        if chosen.plugin is not None:
            who = visible(chosen.plugin) or PROGRAM
            title = f"Log of {who}, {hints['plugins.log'].hint} shows all"
        if chosen.level:
            title += f", {chosen.level.name.lower()} and worse"
        scrolled = "< " if self.log_table.shift else ""  # as in the titles of columns
        self.rule.show(scrolled + title, follow)

    @property
    def selected(self) -> PluginStatus | None:
        """The plugin under the cursor."""
        return self.rows.at(self.table.cursor) if len(self.rows) else None

    # --- the log

    def do_move_left(self) -> None:
        """Move left."""
        super().do_move_left()
        self._title()

    def do_move_right(self) -> None:
        """Move right."""
        super().do_move_right()
        self._title()

    def do_plugins_log(self) -> None:
        """Show only this plugin's log, or all of them again."""
        chosen = self.books.logs.filter
        self._show_lines(self._meant if chosen.plugin is None else None, chosen.level)

    def do_plugins_level(self) -> None:
        """Show only lines that are worse, from the worst on all of them again."""
        chosen = self.books.logs.filter
        self._show_lines(chosen.plugin, LogLevel((chosen.level + 1) % len(LogLevel)))

    @property
    def _meant(self) -> str | None:
        """The plugin under the cursor, or whose line is where the keys are in the log."""
        logs = self.books.logs
        if self._in_log and len(logs):
            return logs.at(self.log_table.cursor).plugin
        return None if self.selected is None else self.selected.name

    def _show_lines(self, plugin: str | None, level: LogLevel) -> None:
        self.books.logs.show(plugin, level)
        self.log_table.forget_drawn()
        self.log_table.set_follow(True)
        self._title()

    def do_plugins_follow(self) -> None:
        """Follow the log, or stop doing so."""
        self.log_table.set_follow(not self.log_table.follow)
        self._title()

    def do_plugins_page(self) -> None:
        """Page down."""
        self.window.turn_page(1)

    @property
    def searched(self) -> LineTable:
        """See `ConsoleScreen.searched`: the log, wherever the keys are."""
        return self.log_table

    do_plugins_search = MainScreen.search_open
    do_plugins_search_next = MainScreen.search_next
    do_plugins_search_previous = MainScreen.search_previous

    @on(LineTable.Moved, "#log")
    def _log_moved(self) -> None:
        self._title()

    def do_plugins_open(self) -> None:
        """Choose what the cursor is on."""
        if isinstance(self.window, LineTable):
            self.window.open()

    @on(LineTable.Opened)
    def _opened(self, event: LineTable.Opened) -> None:
        if event.table is self.table:
            self.post_message(PluginChosen(self.rows.at(self.table.cursor).name))
            return
        logs = self.books.logs
        line = logs.at(self.log_table.cursor)
        if line.flow_id is None:
            self.post_message(LogLineChosen(line.seq))
        else:
            self.post_message(FlowChosen(line.flow_id))

    def do_plugins_line(self) -> None:
        """Show the line under the log's cursor whole."""
        seq = self.log_table.cursor_key
        if seq is None:
            self.notify("There is no log line yet.", timeout=2)
        else:
            self.post_message(LogLineChosen(seq))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Remember the pane."""
        if event.widget in (self.table, self.log_table):
            self._in_log = event.widget is self.log_table
            self._title()

    def do_pane_next(self) -> None:
        """Go to the other pane."""
        self._in_log = not self._in_log
        self.focus_main()

    def do_pane_previous(self) -> None:
        """Go to the other pane."""
        self.do_pane_next()
