"""A view of lines that are only read: heads, bodies, facts, help."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.strip import Strip

from int3rceptor_tui.view_model.lines import FixedLines, Lines, find
from int3rceptor_tui.widgets.line_window import LineWindow


class LineViewer(LineWindow):
    """Shows `Lines`, scrolls both ways, finds text."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: Lines = FixedLines([])
        self._left = 0
        self._needle = ""
        self._match: int | None = None

    def show(self, lines: Lines, keep_place: bool = False) -> None:
        """Show other lines, from the top unless the place is to be kept."""
        self._lines = lines
        self._strips.clear()
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
        self._strips.clear()
        self.refresh()

    def search(self, needle: str, backwards: bool = False) -> bool:
        """Go to the next line with `needle` (the last one, where empty); tell whether there is."""
        self._needle = needle or self._needle
        if not self._needle or not len(self._lines):
            return False
        start = self.top if self._match is None else self._match + (-1 if backwards else 1)
        found = find(self._lines, self._needle, start % len(self._lines), backwards)
        self._strips.clear()
        self._match = found
        if found is not None and not self.top <= found < self.top + self.page:
            self.top = found - self.page // 3
            self.clamp()
        self.refresh()
        return found is not None

    def draw_line(self, index: int, width: int) -> Strip:
        """See `LineWindow.draw_line`."""
        key = (index, width)
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._draw(index, width)
        return strip

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
