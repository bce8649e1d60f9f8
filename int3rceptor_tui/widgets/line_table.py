"""The one table: flows, plugins and log lines, at any length.

Rows are known by key, never by position, so that the cursor stays on its row while older rows are
evicted and newer ones arrive. Following keeps the cursor on the last row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip

from int3rceptor_tui.view_model.columns import Column, fit
from int3rceptor_tui.widgets.line_window import LineWindow, find_line

Cell = tuple[str, str]
"""Text that is safe to draw, and the short name of a style ("" for plain)."""


class Rows(Protocol):
    """What a table shows. Keys ascend with the position."""

    def __len__(self) -> int:
        """Return how many rows there are."""

    def key_at(self, index: int) -> int:
        """Return the key at a position. Raises IndexError."""

    def index_of(self, key: int) -> int:
        """Return a key's position, or the one it would have."""

    def version_at(self, index: int) -> object:
        """Return an object that is another one when the row's cells have changed."""

    def cells_at(self, index: int) -> tuple[Cell, ...]:
        """Return a cell for each column."""


class LineTable(LineWindow):
    """A table with a cursor."""

    class Opened(Message):
        """The user chose a row (enter, or a second click)."""

        def __init__(self, table: LineTable, key: int) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> LineTable:
            """The table, for `@on` selectors."""
            return self.table

    class Moved(Message):
        """The cursor went to another row."""

        def __init__(self, table: LineTable, key: int | None) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> LineTable:
            """The table, for `@on` selectors."""
            return self.table

    def __init__(
        self,
        columns: tuple[Column, ...],
        rows: Rows,
        *,
        follow: bool = False,
        header: bool = True,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.columns = columns
        self.rows = rows
        self.follow = follow
        self._header = header
        self._key: int | None = None
        self._top_key: int | None = None
        self._fitted: tuple[int, list[tuple[int, int]]] = (-1, [])
        self._last_count = 0
        self._last_page = 0
        self.shift = 0
        """By how many cells the widest column is scrolled sideways."""
        shares = [column.share for column in columns]
        self._shifted = shares.index(max(shares))

    # --- what is there

    @property
    def header_height(self) -> int:
        """One line of titles."""
        return 1 if self._header else 0

    def line_count(self) -> int:
        """See `LineWindow.line_count`."""
        return len(self.rows)

    @property
    def cursor(self) -> int:
        """The position of the cursor's row; 0 in an empty table."""
        if self._key is None:
            return 0
        return max(0, min(self.rows.index_of(self._key), len(self.rows) - 1))

    @property
    def cursor_key(self) -> int | None:
        """The key of the cursor's row, or None in an empty table."""
        return self.rows.key_at(self.cursor) if len(self.rows) else None

    def clamp(self) -> None:
        """See `LineWindow.clamp`; remembers which row is at the top."""
        super().clamp()
        self._top_key = self.rows.key_at(self.top) if len(self.rows) else None

    def sync(self, changed: tuple[int, ...] | None = None) -> None:
        """Show what the rows are now; those in sight stay where they are while older ones go.

        `changed` are the keys of rows whose cells changed, or that are new; None for all.
        """
        count = len(self.rows)
        before = (self._top_key, self._key)
        if count:
            self._set_key(self.rows.key_at(count - 1 if self.follow else self.cursor))
        else:
            self._key = None
        if self.follow:
            self.top = count - self.page
        elif self._top_key is not None:
            self.top = self.rows.index_of(self._top_key)
        self.clamp()
        bar_moves = count > self.page and count != self._last_count
        self._last_count = count
        if changed is None or before != (self._top_key, self._key) or bar_moves or self.follow:
            self.refresh()
            return
        for key in changed:
            self.refresh_line(self.rows.index_of(key))

    # --- moving

    def move_to(self, index: int) -> None:
        """Put the cursor on a position, within what there is, and bring it into sight."""
        count = len(self.rows)
        if not count:
            return
        index = max(0, min(index, count - 1))
        if index < count - 1:
            self.follow = False
        self._set_key(self.rows.key_at(index))
        if index < self.top:
            self.top = index
        elif index >= self.top + self.page:
            self.top = index - self.page + 1
        self.clamp()
        self.refresh()

    def move_by(self, by: int) -> None:
        """Move the cursor by so many rows."""
        self.move_to(self.cursor + by)

    def step(self, by: int) -> None:
        """See `LineWindow.step`: the cursor moves."""
        self.move_by(by)

    def go_to_top(self) -> None:
        """See `LineWindow.go_to_top`."""
        self.move_to(0)

    def go_to_bottom(self) -> None:
        """See `LineWindow.go_to_bottom`."""
        self.move_to(len(self.rows) - 1)

    def move_to_key(self, key: int) -> None:
        """Put the cursor on a row, or the next one where it is gone."""
        self.move_to(self.rows.index_of(key))

    def set_follow(self, follow: bool) -> None:
        """Keep the cursor on the newest row, or stop doing so."""
        self.follow = follow
        self.sync()

    def shift_by(self, by: int) -> None:
        """Scroll the widest column sideways."""
        self.shift = max(0, self.shift + by)
        self._drawn.clear()
        self.refresh()

    def open(self) -> None:
        """Choose the cursor's row."""
        key = self.cursor_key
        if key is not None:
            self.post_message(self.Opened(self, key))

    async def search(self, needle: str, backwards: bool = False) -> bool:
        """See `LineWindow.search`: from the cursor on."""
        lines = _RowTexts(self.rows)
        found = await find_line(lines, needle, self.cursor + (-1 if backwards else 1), backwards)
        if found is not None:
            self.move_to(found)
        return found is not None

    def _set_key(self, key: int) -> None:
        if key != self._key:
            self._key = key
            self.post_message(self.Moved(self, key))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the row clicked; a second click opens it."""
        index = self.top + event.y - self.header_height
        if event.y < self.header_height or index >= len(self.rows):
            return
        if event.chain > 1:
            self.open()
        else:
            self.move_to(index)

    def on_focus(self) -> None:
        """Show the cursor as ours."""
        self.refresh_line(self.cursor)

    def on_blur(self) -> None:
        """Show the cursor as resting."""
        self.refresh_line(self.cursor)

    def on_resize(self, event: events.Resize) -> None:
        """Keep in sight what was: the newest row where it is followed, else the cursor's."""
        before, self._last_page = self._last_page, self.page
        if self.follow:
            self.sync()
        elif self.top + self.page <= self.cursor < self.top + before:
            self.top = self.cursor - self.page + 1
            self.clamp()

    # --- drawing

    def _columns_for(self, width: int) -> list[tuple[int, int]]:
        if self._fitted[0] != width:
            self._fitted = (width, fit(self.columns, width))
        return self._fitted[1]

    def draw_header(self, width: int) -> Strip:
        """See `LineWindow.draw_header`."""
        style = self.style_named("header")
        parts = [
            _cell(self._title_of(index), cells, self.columns[index].right)
            for index, cells in self._columns_for(width - (self.line_count() > self.page))
        ]
        text = set_cell_size(" ".join(parts), width)
        return Strip([Segment(text, style)], width)

    def _title_of(self, index: int) -> str:
        scrolled = self.shift and index == self._shifted
        return f"< {self.columns[index].title}" if scrolled else self.columns[index].title

    def draw_line(self, index: int, width: int) -> Strip:
        """See `LineWindow.draw_line`."""
        key = self.rows.key_at(index)
        cursor = "" if key != self._key else "cursor" if self.has_focus else "cursor-blurred"
        return self.drawn_once(
            (key, width, cursor),
            self.rows.version_at(index),
            lambda: self._draw_row(index, width, cursor),
        )

    def _draw_row(self, index: int, width: int, cursor: str) -> Strip:
        strip = self._draw(index, width)
        if not cursor:
            return strip
        return Strip([Segment(strip.text, self.base_style + self.style_named(cursor))], width)

    def _draw(self, index: int, width: int) -> Strip:
        cells = self.rows.cells_at(index)
        base = self.base_style
        segments: list[Segment] = []
        used = 0
        run, run_style = "", base  # neighbours of one style become one segment
        for place, (column, size) in enumerate(self._columns_for(width)):
            text, name = cells[column]
            if place:
                run += " "
                used += 1
            if self.shift and column == self._shifted:
                text = text[self.shift :]
            style = base + self.style_named(name) if name else base
            if style != run_style:
                if run:
                    segments.append(Segment(run, run_style))
                run, run_style = "", style
            run += _cell(text, size, self.columns[column].right, self.columns[column].short)
            used += size
        segments.append(Segment(run, run_style))
        if used < width:
            segments.append(Segment(" " * (width - used), base))
        return Strip(segments, max(used, width)).adjust_cell_length(width, base)


class _RowTexts:
    """The rows as lines, to search in."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def line(self, index: int) -> Sequence[Cell]:
        """See `Lines.line`."""
        if index >= len(self._rows):
            return ()  # gone meanwhile
        return [(text + " ", style) for text, style in self._rows.cells_at(index)]


def _cell(text: str, size: int, right: bool, short: Callable[[str], str] | None = None) -> str:
    """Return `text` in exactly `size` cells, an ellipsis where it was cut."""
    if short is not None and cell_len(text) > size:
        text = short(text)
    if text.isascii():
        length = len(text)
        if length > size:
            if right and size > 1:  # of a figure, what differs from its neighbour's
                return "…" + text[1 - size :]
            return text[: size - 1] + "…" if size > 1 else text[:size]
        return text.rjust(size) if right else text.ljust(size)
    length = cell_len(text)
    if length > size:
        return (
            set_cell_size(text, max(0, size - 1)) + "…" if size > 1 else set_cell_size(text, size)
        )
    pad = " " * (size - length)
    return pad + text if right else text + pad
