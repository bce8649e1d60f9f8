"""One log line, whole: a table has no room for what a plugin says in thousands of characters."""

from __future__ import annotations

from int3rceptor_tui.feed import Books
from int3rceptor_tui.keymap import Where, bindings
from int3rceptor_tui.messages import FlowChosen
from int3rceptor_tui.screens.base import ConsoleScreen
from int3rceptor_tui.screens.lines import LinesScreen
from int3rceptor_tui.view_model.lines import FixedLines
from int3rceptor_tui.view_model.log_rows import log_line_lines


class LogLineScreen(LinesScreen):
    """Shows one line at a time; space and p go through those that the log shows."""

    BINDINGS = bindings(Where.LINE)
    WHERE = Where.LINE

    def __init__(self, books: Books, seq: int) -> None:
        """`seq` is the line's key in the log book."""
        super().__init__(books, "Log line")
        self.line = books.logs.at(books.logs.index_of(seq))

    def show_lines(self) -> None:
        """See `LinesScreen.show_lines`."""
        self.viewer.show(FixedLines(log_line_lines(self.line, self.books.hints)))

    def do_line_flow(self) -> None:
        """Show the flow that the line is about."""
        if self.line.flow_id is None:
            self.notify("This line belongs to no flow.", timeout=2)
        else:
            self.post_message(FlowChosen(self.line.flow_id))

    def do_line_next(self) -> None:
        """Show the next line."""
        self._go(1)

    def do_line_previous(self) -> None:
        """Show the line before."""
        self._go(-1)

    def _go(self, by: int) -> None:
        logs = self.books.logs
        index = logs.index_of(self.line.seq)
        # Where this line is gone, its position is already the next one's.
        there = index < len(logs) and logs.key_at(index) == self.line.seq
        index += by if there or by < 0 else 0
        if 0 <= index < len(logs):
            self.line = logs.at(index)
            self.show_lines()

    do_line_search = ConsoleScreen.search_open
    do_line_search_next = ConsoleScreen.search_next
    do_line_search_previous = ConsoleScreen.search_previous
