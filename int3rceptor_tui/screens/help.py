"""The keys, for where the user is."""

from __future__ import annotations

from collections.abc import Mapping

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from int3rceptor_tui.keymap import Action, Where
from int3rceptor_tui.view_model.lines import FixedLines, Piece
from int3rceptor_tui.widgets.line_viewer import LineViewer

_MOVES = {
    "move.up", "move.down", "move.left", "move.right",
    "move.top", "move.bottom", "move.page_down", "move.page_up",
}  # fmt: skip


def help_lines(actions: Mapping[str, Action], where: Where) -> FixedLines:
    """Return the keys that work in a place: its own first, then those that work everywhere."""
    rows: list[list[Piece]] = []
    for place in (where, Where.ALL):
        rows += [[(f"Keys {'in ' if place is not Where.ALL else ''}{place.value}", "heading")]]
        for action in actions.values():
            if action.where is place and action.keys:
                text = action.title + (f". {action.help}" if action.help else "")
                rows.append([(f"  {action.shown_keys:<16}", "key"), (text, "")])
        rows.append([])
    rows += [
        [("Commands", "heading")],
        [("  :", "key"), (" and an action's name, with its argument where it takes one:", "")],
    ]
    for action in actions.values():
        if action.id not in _MOVES and (action.listed or action.argument):
            name = f"  :{action.id} {action.argument}".rstrip()
            rows.append([(f"{name:<26}", "string"), (action.title, "dim")])
    return FixedLines(rows)


class HelpScreen(ModalScreen[None]):
    """Shows the keys; moves like every other view."""

    BINDINGS = [
        Binding("escape,q,question_mark,f1", "dismiss(None)", show=False),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
        Binding("space,pagedown,ctrl+f", "turn(1)", show=False),
        Binding("pageup,ctrl+b", "turn(-1)", show=False),
        Binding("g,home", "ends(False)", show=False),
        Binding("G,end", "ends(True)", show=False),
    ]

    def __init__(self, actions: Mapping[str, Action], where: Where) -> None:
        super().__init__()
        self._lines = help_lines(actions, where)
        self._viewer = LineViewer(id="help")

    def compose(self) -> ComposeResult:
        """Lay out."""
        yield self._viewer

    def on_mount(self) -> None:
        """Show the lines."""
        self._viewer.show(self._lines)
        self._viewer.focus()

    def action_scroll(self, by: int) -> None:
        """Move by lines."""
        self._viewer.step(by)

    def action_turn(self, by: int) -> None:
        """Move by pages."""
        self._viewer.turn_page(by)

    def action_ends(self, bottom: bool) -> None:
        """Go to the top or the bottom."""
        if bottom:
            self._viewer.go_to_bottom()
        else:
            self._viewer.go_to_top()
