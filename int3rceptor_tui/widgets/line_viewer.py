"""A view of lines that are only read: heads, bodies, facts, help.

Long lines are wrapped. Which rows a line takes is worked out for those in sight alone: the place
in the window is a line and a row of it, and nobody counts the rows of all lines.
"""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.strip import Strip

from int3rceptor_tui.view_model.lines import FixedLines, Lines, Piece
from int3rceptor_tui.view_model.wrapping import wrap
from int3rceptor_tui.widgets.line_window import LineWindow, find_line

Place = tuple[int, int]
"""A line, and one of its rows."""


class LineViewer(LineWindow):
    """Shows `Lines`, wrapped or scrolled sideways, and finds text in them."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: Lines = FixedLines([])
        self._left = 0
        self._match: int | None = None
        self.wraps = True
        """Whether long lines are wrapped; else they are scrolled sideways."""
        self._row = 0  # of the line at the top, the one that is the window's first
        self._rows: dict[int, list[list[Piece]]] = {}
        self._laid_out: object = None
        self._bar = False
        self._last: Place = (0, 0)
        self._sight: tuple[Place, list[Place]] | None = None

    def show(self, lines: Lines, keep_place: bool = False) -> None:
        """Show other lines, from the top unless the place is to be kept."""
        self._lines = lines
        self._match = None
        if not keep_place:
            self.top = self._row = self._left = 0
        self._show_anew()

    def set_wrap(self, wraps: bool) -> None:
        """Wrap long lines, or show each on one line."""
        self.wraps = wraps
        self._left = self._row = 0
        self._show_anew()

    def _show_anew(self) -> None:
        self._drawn.clear()
        self._laid_out = None
        self.clamp()
        self.refresh()

    def line_count(self) -> int:
        """See `LineWindow.line_count`."""
        return len(self._lines)

    def shift_by(self, by: int) -> None:
        """See `LineWindow.shift_by`; to go to the right, lines are unwrapped."""
        if self.wraps and by > 0:
            self.set_wrap(False)
        self._left = max(0, self._left + by)
        self._drawn.clear()
        self.refresh()

    async def search(self, needle: str, backwards: bool = False) -> bool:
        """See `LineWindow.search`."""
        lines, match = self._lines, self._match
        start = self.top if match is None else match + (-1 if backwards else 1)
        found = await find_line(lines, needle, start, backwards)
        if lines is not self._lines:
            return found is not None  # others are shown by now
        self._drawn.clear()
        self._match = found
        if found is not None and all(line != found for line, _ in self._in_sight()):
            self.top, self._row = found, 0
            self.scroll_lines(-(self.page // 3))
        self.refresh()
        return found is not None

    # --- which rows there are

    def _lay_out(self) -> None:
        """Work out anew what depends on the lines and on the window's size."""
        known = (self.size, self.wraps)
        if self._laid_out == known:
            return
        self._laid_out = known
        self._rows.clear()
        self._sight = None
        self._bar = False
        width, rows = self.size.width, 0
        for index in range(min(self.line_count(), self.page + 1)):
            rows += len(wrap(self._lines.line(index), width)) if self.wraps else 1
            if rows > self.page:
                self._bar = True
                break
        self._last = self._back((self.line_count(), 0), self.page)
        self._keep_within()

    def _rows_of(self, index: int) -> list[list[Piece]]:
        rows = self._rows.get(index)
        if rows is None:
            if len(self._rows) > 4 * self.page:
                self._rows.clear()
            line = self._lines.line(index)
            rows = wrap(line, self.size.width - self._bar) if self.wraps else [list(line)]
            self._rows[index] = rows
        return rows

    def _back(self, place: Place, by: int) -> Place:
        """Return the place so many rows above, the first where there are fewer."""
        index, row = place
        while by > row:
            if not index:
                return (0, 0)
            by -= row + 1
            index -= 1
            row = len(self._rows_of(index)) - 1
        return (index, row - by)

    def _forth(self, place: Place, by: int) -> Place:
        """Return the place so many rows below, or one behind the last."""
        index, row = place
        while index < self.line_count() and row + by >= len(self._rows_of(index)):
            by -= len(self._rows_of(index)) - row
            index, row = index + 1, 0
        return (index, row + by) if index < self.line_count() else (index, 0)

    def _in_sight(self) -> list[Place]:
        """Return the place of each row of the window, as far as there are any."""
        self._lay_out()
        start = (self.top, self._row)
        if self._sight is None or self._sight[0] != start:
            places: list[Place] = []
            place = start
            while place[0] < self.line_count() and len(places) < self.page:
                places.append(place)
                place = self._forth(place, 1)
            self._sight = (start, places)
        return self._sight[1]

    # --- position

    def clamp(self) -> None:
        """See `LineWindow.clamp`."""
        self._lay_out()
        self._keep_within()

    def _keep_within(self) -> None:
        self.top, self._row = max((0, 0), min((self.top, self._row), self._last))
        if self._row:
            self._row = min(self._row, len(self._rows_of(self.top)) - 1)

    def scroll_lines(self, by: int) -> None:
        """See `LineWindow.scroll_lines`; by rows."""
        self._lay_out()
        place = (self.top, self._row)
        self.top, self._row = self._forth(place, by) if by > 0 else self._back(place, -by)
        self.clamp()
        self.refresh()

    def go_to_top(self) -> None:
        """See `LineWindow.go_to_top`."""
        self.top = self._row = 0
        self.refresh()

    def go_to_bottom(self) -> None:
        """See `LineWindow.go_to_bottom`."""
        self._lay_out()
        self.top, self._row = self._last
        self.refresh()

    # --- drawing

    @property
    def has_bar(self) -> bool:
        """See `LineWindow.has_bar`."""
        self._lay_out()
        return self._bar

    def is_thumb(self, y: int) -> bool:
        """See `LineWindow.is_thumb`: a line counts the same however many rows it takes."""
        page, count = self.page, self.line_count()
        seen = sum(1 / len(self._rows_of(index)) for index, _ in self._in_sight())
        size = max(1, min(page - 1, round(page * seen / count)))
        start = round((page - size) * self._depth((self.top, self._row)) / self._depth(self._last))
        return start <= y < start + size

    def _depth(self, place: Place) -> float:
        return place[0] + place[1] / len(self._rows_of(place[0]))

    def draw_at(self, y: int, width: int) -> Strip | None:
        """See `LineWindow.draw_at`."""
        sight = self._in_sight()
        if y >= len(sight):
            return None
        index, row = sight[y]
        return self.drawn_once((index, row, width), None, lambda: self._draw(index, row, width))

    def _draw(self, index: int, row: int, width: int) -> Strip:
        base = self.rich_style
        marked = self.style_named("match") if index == self._match else None
        skip = self._left
        segments: list[Segment] = []
        for text, name in self._rows_of(index)[row]:
            if skip:
                cells = cell_len(text)
                if cells <= skip:
                    skip -= cells
                    continue
                text = _from_cell(text, skip)
                skip = 0
            style = base + self.style_named(name) if name else base
            segments.append(Segment(text, style + marked if marked is not None else style))
        return Strip(segments).adjust_cell_length(width, base)


def _from_cell(text: str, cell: int) -> str:
    """Return what stands from a cell on."""
    if text.isascii():
        return text[cell:]
    return text[len(set_cell_size(text, cell).rstrip("\0")) :]
