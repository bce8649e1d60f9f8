"""The console's screens on top of one another: which there are, and the ways between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.app import App

from int3rceptor_tui.feed import Books
from int3rceptor_tui.screens.base import ConsoleScreen, MainScreen
from int3rceptor_tui.screens.detail import DetailScreen
from int3rceptor_tui.screens.flows import FlowsScreen
from int3rceptor_tui.screens.help import HelpScreen
from int3rceptor_tui.screens.log_line import LogLineScreen
from int3rceptor_tui.screens.plugin import PluginScreen
from int3rceptor_tui.screens.plugins import PluginsScreen
from proxy_core.control.control import Control
from proxy_core.control.views import Update
from proxy_core.model.ids import FlowId


class ScreenStack:
    """`do_<action>` for the actions that go from one screen to another.

    The main screens are made once and take each other's place; all others lie on top of them for
    as long as they are open.
    """

    def __init__(self, app: App[Any], books: Books, equip: Callable[[ConsoleScreen], None]) -> None:
        """`equip` gives a screen's prompt who does what is entered."""
        self.flows = FlowsScreen(books)
        self.plugins = PluginsScreen(books)
        self.source: Control | None = None
        """Where flows are looked up: a core that is gone answers for what it has captured."""
        self._app = app
        self._books = books
        self._equip = equip
        self._note = ""

    def begin(self) -> None:
        """Show the flows."""
        for screen in (self.flows, self.plugins):
            self._app.install_screen(screen, name=screen.__class__.__name__)
            self._equip(screen)
        self._app.push_screen(self.flows)

    # --- what the user sees

    @property
    def top(self) -> ConsoleScreen | None:
        """The screen of ours that is on top, dialogs left aside."""
        stack = reversed(self._app.screen_stack)
        return next((screen for screen in stack if isinstance(screen, ConsoleScreen)), None)

    @property
    def selected_flow(self) -> FlowId | None:
        """The flow that is open, or under the cursor."""
        top = self.top
        return top.flow_id if isinstance(top, DetailScreen) else self.flows.selected

    @property
    def selected_plugin(self) -> str | None:
        """The plugin that is open, or under the cursor in sight."""
        top = self.top
        if isinstance(top, PluginScreen):
            return top.plugin_name
        selected = self.plugins.selected if top is self.plugins else None
        return None if selected is None else selected.name

    @property
    def asking_plugin(self) -> str | None:
        """The plugin that has an open question, where none is under the cursor in sight."""
        question = self._books.first_uses.open
        return None if question is None or self.shows_plugins else question.plugin

    @property
    def shows_plugins(self) -> bool:
        """Whether a plugin's figures are in sight."""
        return isinstance(self.top, PluginsScreen | PluginScreen)

    # --- what is shown on them

    def show_update(self, update: Update) -> None:
        """Show what is new in the books."""
        if (top := self.top) is not None:
            top.show_update(update)

    def show_status(self) -> None:
        """Show the core's new status."""
        if (top := self.top) is not None:
            top.show_status()

    def show_plugins(self) -> None:
        """Show the plugins' new figures."""
        if self.plugins.is_mounted:
            self.plugins.show_plugins()
        if isinstance(top := self.top, PluginScreen):
            top.show_lines()

    def say(self, note: str) -> None:
        """Put a note of the console's own in every screen's status bar."""
        self._note = note
        for screen in {self.flows, self.plugins, *self._app.screen_stack}:
            if isinstance(screen, ConsoleScreen):
                screen.say(note)

    def open_prompt(self, text: str = "") -> None:
        """Show the `:` prompt with `text` in it, to be completed."""
        if (top := self.top) is not None:
            top.open_prompt(text)

    # --- the ways between them

    def show(self, screen: MainScreen) -> None:
        """Close what is open, and show a main screen."""
        while not isinstance(self._app.screen, MainScreen):
            self._app.pop_screen()
        if self._app.screen is not screen:
            self._app.switch_screen(screen)

    def open_flow(self, flow_id: FlowId) -> None:
        """Show a flow on top of what is there."""
        screen = self._app.screen
        if isinstance(screen, DetailScreen):
            screen.show_flow(flow_id)
        elif self.source is not None:
            self._open(DetailScreen(self._books, self.source, flow_id))

    def open_changes(self, flow_id: FlowId, by: str) -> None:
        """Show what an editor, such as `plugin NAME`, did to the flow that is selected."""
        screen = self._app.screen
        if isinstance(screen, DetailScreen):
            screen.show_changes(by)
        elif self.source is not None:
            self._open(DetailScreen(self._books, self.source, flow_id, by))

    def open_log_line(self, seq: int) -> None:
        """Show a log line on top of what is there."""
        self._open(LogLineScreen(self._books, seq))

    def open_plugin(self, name: str) -> None:
        """Show a plugin on top of what is there, or in the place of another one."""
        if isinstance(self._app.screen, PluginScreen):
            self._app.pop_screen()
        self._open(PluginScreen(self._books, name))

    def _open(self, screen: ConsoleScreen) -> None:
        self._equip(screen)
        screen.status_bar.note = self._note
        self._app.push_screen(screen)

    def do_screen_flows(self) -> None:
        """Show the flows."""
        self.show(self.flows)

    def do_screen_plugins(self) -> None:
        """Show the plugins."""
        self.show(self.plugins)

    def do_flow_open(self) -> None:
        """Open the flow under the cursor."""
        selected = self.flows.selected
        if self._app.screen is self.flows and selected is not None:
            self.open_flow(selected)

    def do_app_back(self) -> None:
        """Close what is open; from another main screen, go to the flows."""
        screen = self._app.screen
        if isinstance(screen, DetailScreen) and screen.close_message():
            return
        if not isinstance(screen, MainScreen):
            self._app.pop_screen()
            if isinstance(screen, DetailScreen) and self._app.screen is self.flows:
                self.flows.table.move_to_key(screen.flow_id)
            if isinstance(screen, LogLineScreen) and self._app.screen is self.plugins:
                self.plugins.log_table.move_to_key(screen.line.seq)
        elif screen is not self.flows:
            self.show(self.flows)

    def do_app_help(self) -> None:
        """Show the keys for where the user is, or hide them again."""
        top = self.top
        if isinstance(top, HelpScreen):
            self._app.pop_screen()
        elif top is not None:
            self._open(HelpScreen(self._books, top.WHERE))

    def do_app_prompt(self) -> None:
        """Ask for a command."""
        self.open_prompt()
