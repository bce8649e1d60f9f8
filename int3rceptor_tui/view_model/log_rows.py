"""Log lines as rows of the table."""

from __future__ import annotations

from int3rceptor_tui.keymap import BY_ID, Hints
from int3rceptor_tui.view_model.columns import Column
from int3rceptor_tui.view_model.formats import clock
from int3rceptor_tui.view_model.lines import Piece
from int3rceptor_tui.view_model.log_book import LogBook
from int3rceptor_tui.view_model.visible import visible
from proxy_core.model.log_line import LogLevel, LogLine

COLUMNS = (
    Column("Time", 8, rank=2),
    Column("Level", 5),
    Column("Plugin", 15, rank=1),
    Column("Flow", 7, rank=1, right=True),
    Column("Line", 20, share=1),
)

PROGRAM = "int3rceptor"
"""Who logs what no plugin does."""

_LEVELS = {
    LogLevel.DEBUG: ("debug", "dim"),
    LogLevel.INFO: ("info", ""),
    LogLevel.WARN: ("warn", "warn"),
    LogLevel.ERROR: ("error", "bad"),
}


class LogRows:
    """The lines of a `LogBook`; implements the table's `Rows`."""

    def __init__(self, book: LogBook) -> None:
        self.book = book

    def __len__(self) -> int:
        return len(self.book)

    def key_at(self, index: int) -> int:
        """See `Rows.key_at`."""
        return self.book.key_at(index)

    def index_of(self, key: int) -> int:
        """See `Rows.index_of`."""
        return self.book.index_of(key)

    def version_at(self, index: int) -> object:
        """A line never changes."""
        return None

    def cells_at(self, index: int) -> tuple[tuple[str, str], ...]:
        """See `Rows.cells_at`."""
        line = self.book.at(index)
        level, style = _LEVELS[line.level]
        return (
            (clock(line.time), "dim"),
            (level, style or "good"),
            (_who(line), "" if line.plugin else "dim"),
            ("" if line.flow_id is None else f"#{line.flow_id}", "key"),
            (visible(line.text), style),
        )


def log_line_lines(line: LogLine, hints: Hints = BY_ID) -> list[list[Piece]]:
    """Return one line with all that is known of it, its text in one piece below."""
    level, style = _LEVELS[line.level]
    rows: list[list[Piece]] = [
        [("  time     ", "dim"), (clock(line.time), "")],
        [("  level    ", "dim"), (level, style or "good")],
        [("  plugin   ", "dim"), (_who(line), "")],
    ]
    if line.flow_id is not None:
        shows = f"  {hints['line.flow'].hint} shows it"
        rows.append([("  flow     ", "dim"), (f"#{line.flow_id}", "key"), (shows, "dim")])
    return [*rows, [], [(visible(line.text), style)]]


def _who(line: LogLine) -> str:
    return visible(line.plugin) or PROGRAM
