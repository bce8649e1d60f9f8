"""The list of flows, or, while there is none, how to send some."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult

from int3rceptor_tui.feed import Books
from int3rceptor_tui.keymap import Where, bindings
from int3rceptor_tui.messages import FlowChosen
from int3rceptor_tui.screens.base import MainScreen
from int3rceptor_tui.view_model.flow_rows import COLUMNS, FlowRows
from int3rceptor_tui.widgets.line_table import LineTable
from int3rceptor_tui.widgets.line_window import LineWindow
from int3rceptor_tui.widgets.welcome import Welcome
from proxy_core.control.views import Update
from proxy_core.model.ids import FlowId


class FlowsScreen(MainScreen):
    """The first screen."""

    BINDINGS = bindings(Where.FLOWS)
    WHERE = Where.FLOWS
    INDEX = 0

    def __init__(self, books: Books) -> None:
        super().__init__(books)
        self.table = LineTable(COLUMNS, FlowRows(books.flows), follow=True, id="flows")
        self.welcome = Welcome(books)

    def compose(self) -> ComposeResult:
        """Lay out."""
        yield self.tabs
        yield self.table
        yield self.welcome
        yield from self.compose_bottom()

    def on_mount(self) -> None:
        """Start with the keys in the list."""
        self._choose()
        self.focus_main()

    def on_screen_resume(self) -> None:
        """Show what came while another screen was up."""
        self._choose()
        self.table.sync()
        self.status_bar.refresh()

    def _choose(self) -> None:
        empty = not len(self.books.flows)
        if self.table.display == empty:
            self.welcome.display = empty
            self.table.display = not empty
            if not self.prompt.display:
                self.focus_main()
        self._title()

    @property
    def main_window(self) -> LineWindow:
        """See `ConsoleScreen.main_window`."""
        return self.table if self.table.display else self.welcome

    def show_update(self, update: Update) -> None:
        """See `ConsoleScreen.show_update`."""
        if update.flows or update.gone:
            self._choose()
            self.table.sync(tuple(flow.id for flow in update.flows))

    def say(self, note: str) -> None:
        """See `ConsoleScreen.say`."""
        super().say(note)
        self.welcome.note = note
        self.welcome.refresh()

    def show_status(self) -> None:
        """See `ConsoleScreen.show_status`."""
        super().show_status()
        if self.welcome.display:
            self.welcome.refresh()

    @property
    def selected(self) -> FlowId | None:
        """The flow under the cursor."""
        key = self.table.cursor_key
        return None if key is None else FlowId(key)

    def _title(self) -> None:
        shown = self.table.display
        key = self.books.hints["flow.follow"].hint
        follow = "following" if self.table.follow else f"{key} follows"
        self.show_tabs(word=follow if shown else "")

    @on(LineTable.Moved)
    def _moved(self) -> None:
        self._title()

    @on(LineTable.Opened)
    def _opened(self, event: LineTable.Opened) -> None:
        self.post_message(FlowChosen(FlowId(event.key)))

    def do_flow_page(self) -> None:
        """Page down."""
        self.table.turn_page(1)

    def do_flow_follow(self) -> None:
        """Follow the newest flow, or stop doing so."""
        self.table.set_follow(not self.table.follow)
        self._title()
