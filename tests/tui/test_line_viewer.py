"""The view of lines: wrapping, moving by rows, and finding its way at any size."""

from __future__ import annotations

from functools import partial

from textual.app import App, ComposeResult
from textual.geometry import Size

from int3rceptor_tui.view_model.lines import FixedLines
from int3rceptor_tui.widgets.line_viewer import LineViewer
from tests.waiting import until


class ViewerApp(App[None]):
    CSS = "LineViewer { height: 1fr; }"

    def __init__(self, *lines: str) -> None:
        super().__init__()
        self.viewer = LineViewer()
        self.lines = FixedLines([[(line, "")] for line in lines])

    def compose(self) -> ComposeResult:
        yield self.viewer

    def on_mount(self) -> None:
        self.viewer.show(self.lines)

    @property
    def rows(self) -> list[str]:
        height = self.viewer.size.height
        return [self.viewer.render_line(y).text.rstrip(" ▐│") for y in range(height)]


LONG = "".join(chr(97 + number % 26) * 10 for number in range(20))
"""200 characters."""


async def test_long_lines_are_wrapped_and_every_row_can_be_reached() -> None:
    async with ViewerApp("first", LONG, "last").run_test(size=(30, 4)) as pilot:
        app = pilot.app
        assert isinstance(app, ViewerApp)
        assert app.rows == ["first", LONG[:29], "  " + LONG[29:56], "  " + LONG[56:83]]
        app.viewer.step(1)
        assert app.rows[0] == LONG[:29]
        app.viewer.step(1)
        assert app.rows[0] == "  " + LONG[29:56]
        app.viewer.turn_page(1)
        assert app.rows[0] == "  " + LONG[110:137]
        app.viewer.go_to_bottom()
        assert app.rows == ["  " + LONG[137:164], "  " + LONG[164:191], "  " + LONG[191:], "last"]
        app.viewer.step(5)
        assert app.rows[-1] == "last"
        app.viewer.turn_page(-1)
        app.viewer.turn_page(-1)
        app.viewer.turn_page(-1)
        assert app.rows[0] == "first"


async def test_to_go_sideways_lines_are_unwrapped() -> None:
    async with ViewerApp("first", LONG, "last").run_test(size=(30, 4)) as pilot:
        app = pilot.app
        assert isinstance(app, ViewerApp)
        app.viewer.shift_by(-8)
        assert app.viewer.wraps
        app.viewer.shift_by(8)
        assert app.rows == ["", LONG[8:38], "", ""]
        app.viewer.shift_by(-8)
        assert app.rows == ["first", LONG[:30], "last", ""]
        app.viewer.set_wrap(True)
        assert app.rows[2] == "  " + LONG[29:56]


async def test_the_place_stays_within_the_lines_when_the_window_or_they_change() -> None:
    async with ViewerApp(*(LONG for _ in range(50))).run_test(size=(30, 6)) as pilot:
        app = pilot.app
        assert isinstance(app, ViewerApp)
        for size in ((20, 5), (220, 60), (1, 1), (30, 6), (2, 3), (80, 24)):
            app.viewer.go_to_bottom()
            await pilot.resize_terminal(*size)
            await until(partial(lambda wanted: app.viewer.size == Size(*wanted), size))
            assert len(app.rows) == size[1]
        assert app.rows[-1].endswith(LONG[-1])
        app.viewer.show(FixedLines([[("short", "")]]), keep_place=True)
        assert app.rows[0] == "short"
        app.viewer.show(FixedLines([]), keep_place=True)
        assert set(app.rows) == {""}


async def test_what_is_found_comes_into_sight() -> None:
    lines = [*(LONG for _ in range(30)), "needle", *(LONG for _ in range(30))]
    async with ViewerApp(*lines).run_test(size=(30, 9)) as pilot:
        app = pilot.app
        assert isinstance(app, ViewerApp)
        assert await app.viewer.search("needle")
        assert app.rows[3] == "needle"


async def test_the_bar_goes_from_the_top_to_the_bottom() -> None:
    async with ViewerApp(LONG * 40).run_test(size=(30, 8)) as pilot:
        app = pilot.app
        assert isinstance(app, ViewerApp)
        thumbs = []
        for move in (app.viewer.go_to_top, lambda: app.viewer.step(140), app.viewer.go_to_bottom):
            move()
            thumbs.append([y for y in range(8) if app.viewer.is_thumb(y)])
        first, middle, last = thumbs
        assert first[0] == 0
        assert last[-1] == 7
        assert first[0] < middle[0] < last[0]
