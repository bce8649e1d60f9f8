"""What the screens share: moving, searching, and the prompt and status bar at the bottom."""

from __future__ import annotations

from collections.abc import Callable

from textual import on
from textual.app import ComposeResult
from textual.screen import Screen

from int3rceptor_tui.feed import Books
from int3rceptor_tui.keymap import Where, bindings
from int3rceptor_tui.messages import ScreenChosen
from int3rceptor_tui.widgets.line_window import LineWindow
from int3rceptor_tui.widgets.prompt import Prompt
from int3rceptor_tui.widgets.status_bar import StatusBar
from int3rceptor_tui.widgets.tab_line import TabLine
from proxy_core.control.views import Update


class ConsoleScreen(Screen[None]):
    """A screen with lists or views that the movement keys move in."""

    AUTO_FOCUS = ""
    INLINE_PADDING = 0
    BINDINGS = bindings(Where.ALL)
    WHERE = Where.ALL
    """Which keys belong to it."""

    def __init__(self, books: Books) -> None:
        super().__init__()
        self.books = books
        self.status_bar = StatusBar(books)
        self.prompt = Prompt(self._entered, self.focus_main)
        self.run_line: Callable[[str], None] = lambda line: None
        """Does what a line at the `:` prompt says."""
        self._needle = ""

    def compose_bottom(self) -> ComposeResult:
        """Yield what is at the bottom of every screen."""
        yield self.prompt
        yield self.prompt.mark
        yield self.prompt.candidates
        yield self.status_bar

    @property
    def main_window(self) -> LineWindow:
        """The list or view that has the keys where no other has asked for them."""
        raise NotImplementedError

    @property
    def window(self) -> LineWindow:
        """The list or view that has the keys."""
        focused = self.focused
        return focused if isinstance(focused, LineWindow) else self.main_window

    def show_update(self, update: Update) -> None:
        """Show what is new in the books."""

    def show_status(self) -> None:
        """Show the core's new status."""
        self.status_bar.refresh()

    def say(self, note: str) -> None:
        """Put a note of the console's own in the status bar."""
        self.status_bar.note = note
        self.status_bar.refresh()

    # --- the prompt

    def open_prompt(self, text: str = "", *, kind: str = ":") -> None:
        """Ask for a command (`:`), or something to search for (`/`)."""
        self.prompt.open(text, kind)

    def focus_main(self) -> None:
        """Give the keys back to the main list or view."""
        self.set_focus(self.main_window)

    # --- searching

    @property
    def searched(self) -> LineWindow:
        """Where `/` looks."""
        return self.main_window

    def search_open(self) -> None:
        """Ask what to search for."""
        self.open_prompt(kind="/")

    def search_next(self) -> None:
        """Find the next."""
        self._search(backwards=False)

    def search_previous(self) -> None:
        """Find the one before."""
        self._search(backwards=True)

    def _entered(self, kind: str, text: str) -> None:
        if kind == "/":
            self._needle = text
            self._search(backwards=False)
        else:
            self.run_line(text)

    def _search(self, backwards: bool) -> None:
        if self._needle:
            self.run_worker(self._find(backwards), group="search", exclusive=True)
        else:
            key = next(
                action.hint
                for action in self.books.hints.values()
                if action.id.endswith(".search") and action.works_in(self.WHERE)
            )
            self.notify(f"Nothing to search for; press {key}.", timeout=2)

    async def _find(self, backwards: bool) -> None:
        if not await self.searched.search(self._needle, backwards):
            self.notify("Not found.", timeout=2)

    # --- moving

    def do_move_up(self) -> None:
        """Move up."""
        self.window.step(-1)

    def do_move_down(self) -> None:
        """Move down."""
        self.window.step(1)

    def do_move_left(self) -> None:
        """Move left."""
        self.window.shift_by(-8)

    def do_move_right(self) -> None:
        """Move right."""
        self.window.shift_by(8)

    def do_move_top(self) -> None:
        """Go to the top."""
        self.window.go_to_top()

    def do_move_bottom(self) -> None:
        """Go to the bottom."""
        self.window.go_to_bottom()

    def do_move_page_down(self) -> None:
        """Page down."""
        self.window.turn_page(1)

    def do_move_page_up(self) -> None:
        """Page up."""
        self.window.turn_page(-1)


class MainScreen(ConsoleScreen):
    """A screen with a number: its name stands in the line at the top."""

    INDEX = 0

    def __init__(self, books: Books) -> None:
        super().__init__(books)
        names = {"screen.flows": "Flows", "screen.plugins": "Plugins"}
        titles = tuple(f"{books.hints[action].hint} {name}" for action, name in names.items())
        self.tabs = TabLine(titles, id="screens")

    def show_tabs(self, title: str = "", word: str = "") -> None:
        """Show the names, a title behind them, and a word at the right edge."""
        self.tabs.show(self.INDEX, title, word)

    @on(TabLine.Chosen)
    def _tab_chosen(self, event: TabLine.Chosen) -> None:
        event.stop()
        self.post_message(ScreenChosen(event.index))
