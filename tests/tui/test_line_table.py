"""The table under rows that come, change and go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.app import App, ComposeResult

from int3rceptor_tui.view_model.columns import Column
from int3rceptor_tui.widgets.line_table import LineTable

COLUMNS = (
    Column("#", 4, right=True),
    Column("Text", 6, share=3),
    Column("Kind", 6, share=1),
)


class Row:
    def __init__(self, key: int, text: str) -> None:
        self.key = key
        self.text = text


class ListRows:
    """Rows in a list; a row that is replaced has another version."""

    def __init__(self, count: int) -> None:
        self.rows = [Row(key, f"row {key}") for key in range(count)]
        self.drawn = 0

    def __len__(self) -> int:
        return len(self.rows)

    def key_at(self, index: int) -> int:
        return self.rows[index].key

    def index_of(self, key: int) -> int:
        return sum(row.key < key for row in self.rows)

    def version_at(self, index: int) -> object:
        return self.rows[index]

    def cells_at(self, index: int) -> tuple[tuple[str, str], ...]:
        self.drawn += 1
        row = self.rows[index]
        return ((str(row.key), "dim"), (row.text, ""), ("kind", ""))


class TableApp(App[None]):
    CSS = "LineWindow > .line-window--cursor { background: red; }"

    def __init__(self, rows: ListRows, follow: bool) -> None:
        super().__init__()
        self.table = LineTable(COLUMNS, rows, follow=follow)

    def compose(self) -> ComposeResult:
        yield self.table


@asynccontextmanager
async def shown(
    rows: ListRows, follow: bool = False, size: tuple[int, int] = (40, 11)
) -> AsyncIterator[LineTable]:
    app = TableApp(rows, follow)
    async with app.run_test(size=size) as pilot:
        app.table.focus()
        app.table.sync()
        await pilot.pause()
        yield app.table


def lines(table: LineTable) -> list[str]:
    return [table.render_line(y).text for y in range(table.size.height)]


async def test_rows_in_sight_stay_there_while_older_ones_go() -> None:
    rows = ListRows(100)
    async with shown(rows) as table:
        table.move_to(60)
        before = lines(table)[1:]
        del rows.rows[:30]
        table.sync()
        assert [line[:20] for line in lines(table)[1:]] == [line[:20] for line in before]
        assert table.cursor_key == 60


async def test_where_the_top_row_goes_too_the_next_one_takes_its_place() -> None:
    rows = ListRows(100)
    async with shown(rows) as table:
        table.move_to(60)
        del rows.rows[:58]
        table.sync()
        assert lines(table)[1].split()[:3] == ["58", "row", "58"]
        assert table.cursor_key == 60


async def test_a_cursor_whose_row_goes_moves_to_the_next_and_stays_visible() -> None:
    rows = ListRows(20)
    async with shown(rows) as table:
        table.move_to(3)
        del rows.rows[:10]
        table.sync()
        assert table.cursor_key == 10
        rows.rows.append(Row(20, "row 20"))
        table.sync()
        assert table.cursor_key == 10
        cursor = table.render_line(1 + table.cursor - table.top)
        assert cursor._segments[0].style != table.render_line(3)._segments[0].style


async def test_a_table_that_was_emptied_starts_at_its_first_row_again() -> None:
    rows = ListRows(5)
    async with shown(rows) as table:
        table.move_to(4)
        gone = rows.rows[:]
        rows.rows.clear()
        table.sync()
        assert table.cursor_key is None
        rows.rows.extend(gone)
        table.sync()
        assert table.cursor_key == 0


async def test_a_row_that_changed_is_drawn_anew_and_no_other_is() -> None:
    rows = ListRows(8)
    async with shown(rows) as table:
        lines(table)
        drawn = rows.drawn
        rows.rows[2] = Row(2, "changed")
        table.sync((2,))
        assert "changed" in lines(table)[3]
        assert rows.drawn == drawn + 1


async def test_a_row_replaced_by_one_at_the_same_address_is_drawn_anew() -> None:
    rows = ListRows(1)
    async with shown(rows) as table:
        for turn in range(50):
            del rows.rows[0]
            rows.rows.append(Row(0, f"turn {turn}"))
            table.sync((0,))
            assert f"turn {turn} " in lines(table)[1]


async def test_moving_sideways_moves_the_widest_column() -> None:
    rows = ListRows(1)
    rows.rows[0].text = "0123456789" * 10
    async with shown(rows) as table:
        assert " 0123456789" in lines(table)[1]
        table.shift_by(8)
        line = lines(table)[1]
        assert " 890123" in line
        assert line.split()[-1] == "kind"
        table.shift_by(-100)
        assert " 0123456789" in lines(table)[1]


async def test_a_number_too_long_for_its_column_keeps_its_end() -> None:
    rows = ListRows(1)
    rows.rows[0].key = 1234567
    async with shown(rows) as table:
        table.sync()
        assert lines(table)[1].startswith("…567 ")


async def test_following_ends_where_the_user_moves_and_begins_again_on_demand() -> None:
    rows = ListRows(50)
    async with shown(rows, follow=True) as table:
        assert table.cursor_key == 49
        table.step(-1)
        rows.rows.append(Row(50, "row 50"))
        table.sync()
        assert (table.follow, table.cursor_key) == (False, 48)
        table.set_follow(True)
        assert table.cursor_key == 50


async def test_search_goes_from_the_cursor_round_to_it() -> None:
    rows = ListRows(30)
    async with shown(rows) as table:
        table.move_to(10)
        assert await table.search("row 2")
        assert table.cursor_key == 20
        assert await table.search("row 2", backwards=True)
        assert table.cursor_key == 2
        assert not await table.search("nowhere")
        assert table.cursor_key == 2


async def test_a_click_moves_the_cursor_and_a_second_opens() -> None:
    rows = ListRows(30)
    opened: list[int] = []
    app = TableApp(rows, follow=False)
    async with app.run_test(size=(40, 11)) as pilot:
        app.table.sync()
        await pilot.click(app.table, offset=(5, 4))
        assert app.table.cursor_key == 3
        original = app.table.post_message

        def watch(message: object) -> bool:
            if isinstance(message, LineTable.Opened):
                opened.append(message.key)
            return original(message)  # type: ignore[arg-type]

        app.table.post_message = watch  # type: ignore[method-assign]
        await pilot.click(app.table, offset=(5, 4), times=2)
        assert opened == [3]
