"""A view of lines that are only read: heads, bodies, facts, help."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.strip import Strip

from int3rceptor_tui.view_model.lines import FixedLines, Lines
from int3rceptor_tui.widgets.line_window import LineWindow, find_line


class LineViewer(LineWindow):
    """Shows `Lines`, scrolls both ways, finds text."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: Lines = FixedLines([])
        self._left = 0
        self._match: int | None = None

    def show(self, lines: Lines, keep_place: bool = False) -> None:
        """Show other lines, from the top unless the place is to be kept."""
        self._lines = lines
        self._drawn.clear()
        self._match = None
        if not keep_place:
            self.top = self._left = 0
        self.clamp()
        self.refresh()

    def line_count(self) -> int:
        """See `LineWindow.line_count`."""
        return len(self._lines)

    def shift_by(self, by: int) -> None:
        """See `LineWindow.shift_by`."""
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
        if found is not None and not self.top <= found < self.top + self.page:
            self.top = found - self.page // 3
            self.clamp()
        self.refresh()
        return found is not None

    def draw_line(self, index: int, width: int) -> Strip:
        """See `LineWindow.draw_line`."""
        return self.drawn_once((index, width), None, lambda: self._draw(index, width))

    def _draw(self, index: int, width: int) -> Strip:
        base = self.rich_style
        marked = self.style_named("match") if index == self._match else None
        skip = self._left
        segments: list[Segment] = []
        for text, name in self._lines.line(index):
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
