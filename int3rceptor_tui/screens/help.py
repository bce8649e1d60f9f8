"""The keys, for where the user is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from textwrap import wrap

from int3rceptor_tui.feed import Books
from int3rceptor_tui.keymap import Action, Where, bindings
from int3rceptor_tui.screens.base import ConsoleScreen
from int3rceptor_tui.screens.lines import LinesScreen
from int3rceptor_tui.view_model.lines import FixedLines, Piece

_MOVES = {
    "move.up", "move.down", "move.left", "move.right",
    "move.top", "move.bottom", "move.page_down", "move.page_up",
}  # fmt: skip

_WRAP = 58  # cells of text, so that it stands in 80 columns


def help_lines(actions: Mapping[str, Action], where: Where) -> FixedLines:
    """Return the keys that work in a place: its own first, then those that work everywhere."""
    rows: list[list[Piece]] = []
    taken: set[str] = set()  # by the place itself: there they mean nothing else
    for place in (where, Where.ALL):
        rows += [[(f"Keys {'in ' if place is not Where.ALL else ''}{place.value}", "heading")]]
        for action in actions.values():
            keys = [key for key in action.keys.split(",") if key and key not in taken]
            if action.works_in(place) and keys:
                shown = replace(action, keys=",".join(keys)).shown_keys
                rows.append([(f"  {shown:<16}", "key"), (action.title, "")])
                rows += [[(" " * 18, ""), (line, "dim")] for line in wrap(action.help, _WRAP)]
        rows.append([])
        own = (action for action in actions.values() if action.works_in(place))
        taken.update(key for action in own for key in action.keys.split(","))
    rows += [
        [("Commands", "heading")],
        [
            (f"  {actions['app.prompt'].hint}", "key"),
            (" and an action's name, with its argument where it takes one:", ""),
        ],
    ]
    for action in actions.values():
        if action.id not in _MOVES and (action.listed or action.argument):
            name = f"  :{action.id} {action.argument}".rstrip()
            rows.append([(f"{name:<26}", "string"), (action.title, "dim")])
    return FixedLines(rows)


class HelpScreen(LinesScreen):
    """Shows the keys; moves and searches like every other view."""

    BINDINGS = bindings(Where.HELP)
    WHERE = Where.HELP

    def __init__(self, books: Books, where: Where) -> None:
        super().__init__(books, "Keys")
        self._lines = help_lines(books.hints, where)

    def show_lines(self) -> None:
        """See `LinesScreen.show_lines`."""
        self.viewer.show(self._lines)

    def do_help_page(self) -> None:
        """Page down."""
        self.viewer.turn_page(1)

    do_help_search = ConsoleScreen.search_open
    do_help_search_next = ConsoleScreen.search_next
    do_help_search_previous = ConsoleScreen.search_previous
