"""A window over any number of lines, drawn line by line; tables and viewers build on it.

It keeps its own scroll position instead of a virtual size: new lines then cost no layout. Strips
are cached by line and width, so that scrolling draws only what came into sight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.cache import LRUCache
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from int3rceptor_tui.view_model.lines import Lines, around, find

_CACHE = 1024
_WHEEL = 3
_SEARCH_SLICE = 200  # lines: a few milliseconds


class LineWindow(Widget, can_focus=True):
    """Shows `line_count()` lines; subclasses draw one with `draw_line`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "line-window--cursor",
        "line-window--cursor-blurred",
        "line-window--header",
        "line-window--scrollbar",
        "line-window--thumb",
        "line-window--dim",
        "line-window--good",
        "line-window--notice",
        "line-window--warn",
        "line-window--bad",
        "line-window--key",
        "line-window--string",
        "line-window--number",
        "line-window--match",
        "line-window--heading",
    }

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.top = 0
        """The index of the first line shown."""
        self._drawn: LRUCache[object, tuple[object, Strip]] = LRUCache(_CACHE)
        self._styles: dict[str, Style] = {}
        self._base: Style | None = None
        self._framed: LRUCache[object, tuple[Strip, Strip]] = LRUCache(_CACHE)

    # --- for subclasses

    def line_count(self) -> int:
        """Return how many lines there are."""
        raise NotImplementedError

    def draw_line(self, index: int, width: int) -> Strip:
        """Return a line's strip, `width` cells wide; subclasses have this or `draw_at`."""
        raise NotImplementedError

    def draw_header(self, width: int) -> Strip | None:
        """Return the line above the others, where there is one."""
        return None

    @property
    def header_height(self) -> int:
        """How many lines the header takes."""
        return 0

    @property
    def page(self) -> int:
        """How many lines are in sight."""
        return max(1, self.size.height - self.header_height)

    # --- styles

    @property
    def base_style(self) -> Style:
        """The widget's own style; working it out anew for every line would cost as much again."""
        if self._base is None:
            self._base = self.rich_style
        return self._base

    def style_named(self, name: str) -> Style:
        """Return the theme's style for one of the component classes' short names."""
        style = self._styles.get(name)
        if style is None:
            style = self.get_component_rich_style(f"line-window--{name}", partial=name != "cursor")
            self._styles[name] = style
        return style

    def notify_style_update(self) -> None:
        """Drop everything drawn with the old theme."""
        super().notify_style_update()
        self.forget_drawn()

    def forget_drawn(self) -> None:
        """Draw every line anew."""
        self._drawn.clear()
        self._framed.clear()
        self._styles.clear()
        self._base = None
        self.refresh()

    def drawn_once(self, key: object, version: object, draw: Callable[[], Strip]) -> Strip:
        """Return what was drawn for `key`, where `version` is still that very object."""
        known = self._drawn.get(key)
        if known is not None and known[0] is version:
            return known[1]
        strip = draw()
        self._drawn[key] = (version, strip)
        return strip

    # --- position

    @property
    def at_bottom(self) -> bool:
        """Whether the last line is in sight."""
        return self.top + self.page >= self.line_count()

    def clamp(self) -> None:
        """Keep the window within the lines."""
        self.top = max(0, min(self.top, self.line_count() - self.page))

    def scroll_lines(self, by: int) -> None:
        """Move the window without moving the cursor."""
        self.top += by
        self.clamp()
        self.refresh()

    def step(self, by: int) -> None:
        """Go up (negative) or down by lines."""
        self.scroll_lines(by)

    def turn_page(self, by: int) -> None:
        """Go up (negative) or down by pages."""
        self.step(by * max(1, self.page - 1))

    def go_to_top(self) -> None:
        """Go to the first line."""
        self.scroll_lines(-self.top)

    def go_to_bottom(self) -> None:
        """Go to the last line."""
        self.scroll_lines(self.line_count())

    def shift_by(self, by: int) -> None:
        """Go sideways, where lines are wider than the window."""

    async def search(self, needle: str, backwards: bool = False) -> bool:
        """Go to the next line with `needle`; tell whether there is one."""
        raise NotImplementedError

    def on_resize(self, event: events.Resize) -> None:
        """Fit the window to its new height."""
        self.clamp()
        self._drawn.clear()
        self.refresh()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll with the wheel."""
        event.stop()
        self.scroll_lines(_WHEEL)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll with the wheel."""
        event.stop()
        self.scroll_lines(-_WHEEL)

    # --- drawing

    def render_line(self, y: int) -> Strip:
        """Draw one line of the widget (Textual's line API)."""
        width = self.size.width
        if width <= 1:
            return Strip.blank(width, self.base_style)
        header = self.header_height
        if y < header:
            titles = self.draw_header(width) or Strip.blank(width)
            return titles.apply_style(self.base_style)
        has_bar = self.has_bar
        strip = self.draw_at(y - header, width - has_bar)
        if strip is None:
            return Strip.blank(width, self.base_style)
        if not has_bar:
            return strip
        # The same strip object again lets Textual use what it rendered of it before.
        thumb = self.is_thumb(y - header)
        key = (id(strip), thumb)
        framed = self._framed.get(key)
        if framed is None or framed[0] is not strip:
            name, bar = ("thumb", "▐") if thumb else ("scrollbar", "│")
            cell = Segment(bar, self.base_style + self.style_named(name))
            framed = self._framed[key] = (strip, Strip([*strip, cell], width))
        return framed[1]

    @property
    def has_bar(self) -> bool:
        """Whether there is more than the window shows, and a bar that says where one is."""
        return self.line_count() > self.page

    def draw_at(self, y: int, width: int) -> Strip | None:
        """Return the strip at a row of the window, below the header; None behind the end."""
        index = self.top + y
        return self.draw_line(index, width) if index < self.line_count() else None

    def is_thumb(self, y: int) -> bool:
        """Tell whether the bar's thumb covers a row."""
        count, page = self.line_count(), self.page
        size = max(1, page * page // count)
        start = (page - size) * self.top // max(1, count - page)
        return start <= y < start + size

    def refresh_line(self, index: int) -> None:
        """Draw one line again, where it is in sight."""
        y = index - self.top
        if 0 <= y < self.page:
            self.refresh(Region(0, y + self.header_height, self.size.width, 1))


async def find_line(lines: Lines, needle: str, start: int, backwards: bool = False) -> int | None:
    """Return the next line with `needle`, or None; others on the loop have their turn meanwhile."""
    order = around(len(lines), start, backwards)
    while batch := list(islice(order, _SEARCH_SLICE)):
        found = find(lines, needle, batch)
        if found is not None:
            return found
        await asyncio.sleep(0)
    return None
