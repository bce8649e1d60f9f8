"""What the main screens share: moving, the status bar and the prompt at the bottom."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.screen import Screen

from int3rceptor_tui.feed import Books
from int3rceptor_tui.widgets.line_window import LineWindow
from int3rceptor_tui.widgets.prompt import Prompt
from int3rceptor_tui.widgets.status_bar import StatusBar
from proxy_core.control.views import Update


class ConsoleScreen(Screen[None]):
    """A screen with lists or views that the movement keys move in."""

    AUTO_FOCUS = ""
    INLINE_PADDING = 0

    def __init__(self, books: Books) -> None:
        super().__init__()
        self.books = books
        self.status_bar = StatusBar(books)
        self.prompt = Prompt()

    def compose_bottom(self) -> ComposeResult:
        """Yield what is at the bottom of every screen."""
        yield self.prompt
        yield self.status_bar

    @property
    def window(self) -> LineWindow | None:
        """The list or view that has the keys."""
        focused = self.focused
        return focused if isinstance(focused, LineWindow) else None

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

    @on(Prompt.Closed)
    def _prompt_closed(self) -> None:
        self.focus_main()

    def focus_main(self) -> None:
        """Give the keys back to the main list or view."""

    # --- moving

    def action_move_up(self) -> None:
        """Move up."""
        if self.window is not None:
            self.window.step(-1)

    def action_move_down(self) -> None:
        """Move down."""
        if self.window is not None:
            self.window.step(1)

    def action_move_left(self) -> None:
        """Move left."""
        if self.window is not None:
            self.window.shift_by(-8)

    def action_move_right(self) -> None:
        """Move right."""
        if self.window is not None:
            self.window.shift_by(8)

    def action_move_top(self) -> None:
        """Go to the top."""
        if self.window is not None:
            self.window.go_to_top()

    def action_move_bottom(self) -> None:
        """Go to the bottom."""
        if self.window is not None:
            self.window.go_to_bottom()

    def action_move_page_down(self) -> None:
        """Page down."""
        if self.window is not None:
            self.window.turn_page(1)

    def action_move_page_up(self) -> None:
        """Page up."""
        if self.window is not None:
            self.window.turn_page(-1)
