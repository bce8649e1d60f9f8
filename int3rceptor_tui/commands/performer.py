"""Whatever the user says is done here, whether a key, the palette or the prompt said it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence

from int3rceptor_tui.commands.desk import Desk
from int3rceptor_tui.commands.line import completions, parse
from int3rceptor_tui.commands.palette import PaletteEntry, palette_entries
from int3rceptor_tui.keymap import Action, Where
from int3rceptor_tui.screens.stack import ScreenStack
from proxy_core.errors import ControlError, Int3rceptorError

_ELSEWHERE = {
    Where.DETAIL: ("an open flow", "flow.open", " on one"),
    Where.PLUGIN: ("an open plugin", "plugins.profile", " on one"),
    Where.LINE: ("an open log line", "plugins.line", " on one"),
    Where.HELP: ("the list of keys", "app.help", ""),
}


class Performer:
    """Finds for an action the method that does it, and tells what is wrong where that fails."""

    def __init__(
        self,
        desk: Desk,
        screens: ScreenStack,
        actions: Mapping[str, Action],
        groups: Sequence[object],
    ) -> None:
        """`groups` have methods for actions; what none of them has is for the screen on top."""
        self._desk = desk
        self._screens = screens
        self._actions = actions
        self._groups = groups

    def run_line(self, text: str) -> None:
        """Do what a line at the prompt says; tell what is wrong with it otherwise."""
        try:
            command = parse(text, self._actions)
        except ControlError as error:
            self._desk.tell(str(error), bad=True)
        else:
            self.perform(command.action.id, command.argument)

    def perform(self, action_id: str, argument: str = "") -> None:
        """Do an action."""
        action = self._actions[action_id]
        if action.listed or action.argument:
            self._desk.clear_notifications()  # what was told of the one before
        method = self._method_of(action)
        if method is None:
            what, opened_by, where = _ELSEWHERE[action.where]
            key = self._actions[opened_by].hint
            self._desk.tell(f"{action.id} is for {what}; press {key}{where} first", bad=True)
        elif action.argument:
            self.attempt(method, argument)
        else:
            self.attempt(method)

    def attempt(self, method: Callable[..., Awaitable[None] | None], *arguments: str) -> None:
        """Call what may take time, or fail."""
        try:
            work = method(*arguments)
        except Int3rceptorError as error:
            self._desk.tell(str(error), bad=True)
        else:
            if inspect.isawaitable(work):
                self._desk.see_through(work)

    def _method_of(self, action: Action) -> Callable[..., Awaitable[None] | None] | None:
        for group in self._groups:
            if hasattr(group, action.method):
                return getattr(group, action.method)  # type: ignore[no-any-return]
        if action.where is Where.FLOWS:
            self._screens.show(self._screens.flows)
        elif action.where is Where.PLUGINS:
            self._screens.show(self._screens.plugins)
        return getattr(self._screens.top, action.method, None)

    # --- what there is to be said

    def palette_entries(self) -> list[PaletteEntry]:
        """Return what can be done now."""
        return palette_entries(self._usable().values(), self._desk.books.plugins.values())

    def completions(self, text: str) -> Sequence[str]:
        """Return what a line at the prompt could become."""
        return completions(text, self._usable(), self._desk.books.plugins)

    def _usable(self) -> dict[str, Action]:
        """Return the actions that can be done from where the user is."""
        top = self._screens.top
        here = Where.ALL if top is None else top.WHERE
        places = (Where.ALL, Where.FLOWS, Where.PLUGINS, here)
        return {name: each for name, each in self._actions.items() if each.works_in(*places)}
