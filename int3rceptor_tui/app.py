"""The console's wiring: the core's thread, the tick, the screens, and the actions they share."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar

from rich.console import RenderableType
from textual import on, work
from textual.message import Message
from textual.screen import Screen

from int3rceptor_tui.commands.flows import FlowCommands
from int3rceptor_tui.commands.line import completions, parse
from int3rceptor_tui.commands.messages import MessageCommands
from int3rceptor_tui.commands.palette import ActionProvider, PaletteEntry, palette_entries
from int3rceptor_tui.commands.plugins import PluginCommands
from int3rceptor_tui.core_worker import Companion, CoreWorker, MakeCore, make_core
from int3rceptor_tui.feed import Books, Pump
from int3rceptor_tui.garbage import settle
from int3rceptor_tui.keymap import Action, Where, check_remapped, with_remapped
from int3rceptor_tui.messages import (
    CoreStarted,
    CoreStopped,
    FlowChosen,
    PluginChosen,
    ScreenChosen,
)
from int3rceptor_tui.ordered_keys import OrderedKeys
from int3rceptor_tui.screens.base import ConsoleScreen, MainScreen
from int3rceptor_tui.screens.confirm import ConfirmScreen
from int3rceptor_tui.screens.core_down import CoreDownScreen
from int3rceptor_tui.screens.detail import DetailScreen
from int3rceptor_tui.screens.flows import FlowsScreen
from int3rceptor_tui.screens.help import HelpScreen
from int3rceptor_tui.screens.permission import PermissionScreen
from int3rceptor_tui.screens.plugin import PluginScreen
from int3rceptor_tui.screens.plugins import PluginsScreen
from int3rceptor_tui.terminal import frame_interval, is_behind, is_gone, take_again
from int3rceptor_tui.theme import theme_for
from int3rceptor_tui.view_model.visible import visible
from int3rceptor_tui.view_model.watch_news import WatchNews
from proxy_core.config import Settings
from proxy_core.control.control import Control
from proxy_core.control.views import Update
from proxy_core.errors import ControlError, Int3rceptorError
from proxy_core.model.ids import FlowId
from proxy_core.model.plugin_status import AskedPermission

_FIGURES_INTERVAL = 0.5
_STOP_PATIENCE = 4.0
_ELSEWHERE = {
    Where.DETAIL: ("an open flow", "flow.open", " on one"),
    Where.PLUGIN: ("an open plugin", "plugins.profile", " on one"),
    Where.HELP: ("the list of keys", "app.help", ""),
}
_LONGEST_NOTE = 300
"""Characters: what is longer would cover the screen, and stands in the log or the profile."""


class ConsoleApp(OrderedKeys):
    """The console. Its core is made by `make` on a thread of its own."""

    TITLE = "INT3RCEPTOR"
    CSS_PATH = "styles/console.tcss"
    COMMANDS = {ActionProvider}
    COMMAND_PALETTE_BINDING = "ctrl+p"
    ENABLE_COMMAND_PALETTE = True
    IDLE_SECONDS: ClassVar[float] = 1.0
    """How long no key may have come before a dialog opens that nobody asked for."""
    VERTICAL_BREAKPOINTS = [(0, "-short"), (12, "-tall")]

    def __init__(
        self,
        settings: Settings,
        companion: Companion | None = None,
        make: MakeCore = make_core,
    ) -> None:
        super().__init__()
        theme = theme_for(self.console.color_system)
        self.register_theme(theme)
        self.theme = theme.name
        self.settings = settings
        self.actions_table = with_remapped(settings.keys)
        self.books = Books(self.actions_table)
        self.control: Control | None = None
        self.worker_core = CoreWorker(settings, self._post_from_thread, companion, make)
        self.pump = Pump(
            self.books,
            self._show_update,
            self._show_status,
            lambda: is_behind(self._driver),
            time.monotonic,
        )
        self._flows = FlowsScreen(self.books)
        self._plugins = PluginsScreen(self.books)
        self._plugin_commands = PluginCommands(self)
        self._command_groups = (
            self,
            FlowCommands(self),
            self._plugin_commands,
            MessageCommands(self),
        )
        self._watch_news = WatchNews(time.time())
        self._note = ""
        self._last_driver: Control | None = None  # answers for what was captured when it is gone

    def get_system_commands(self, screen: Screen[object]):  # type: ignore[no-untyped-def]
        """Offer none of Textual's own: every action here is one of ours."""
        return iter(())

    def on_mount(self) -> None:
        """Draw the first frame, then start the core."""
        self.set_keymap(dict(self.settings.keys))
        for screen in (self._flows, self._plugins):
            self.install_screen(screen, name=screen.__class__.__name__)
            self._equip(screen)
        self.push_screen(self._flows)
        self._say("starting ...")
        self._catch_signals()
        self.set_interval(frame_interval(), self.pump.tick)
        self.set_interval(_FIGURES_INTERVAL, self._refresh_figures)
        self.call_after_refresh(self.start_core)

    def exit(
        self,
        result: int | None = None,
        return_code: int = 0,
        message: RenderableType | None = None,
    ) -> None:
        """Stop the core, then leave: Textual waits for the thread it runs on."""
        self.worker_core.stop()
        super().exit(result, return_code, message)

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.add_signal_handler(number, self.exit, 0)
        if self._driver is not None and self._driver.can_suspend:
            loop.add_signal_handler(signal.SIGCONT, self._go_on)

    def _go_on(self) -> None:
        if not self._exit:
            take_again(self._driver)

    # --- the core

    @work(thread=True, group="core")
    def start_core(self) -> None:
        """Run the core on a worker's thread until it is over."""
        self.worker_core.run()

    def _post_from_thread(self, message: Message) -> None:
        # The app may be gone by the time its core is.
        with contextlib.suppress(RuntimeError):
            self.post_message(message)

    @on(CoreStarted)
    def _core_started(self, message: CoreStarted) -> None:
        self.control = self._last_driver = message.driver
        settle()
        self.pump.attach(message.driver)
        self._say("")
        self.run_worker(self.fetch_plugins(), group="figures")

    @on(CoreStopped)
    def _core_stopped(self, message: CoreStopped) -> None:
        self.pump.tick()
        self.pump.detach()
        self.control = None
        key = self.actions_table["core.start"].hint
        self._say(f"not running: {message.error or 'stopped'}; {key} starts it again")
        self._ask_what_now(message.error or "It has stopped.")

    def _ask_what_now(self, reason: str) -> None:
        def chosen(what: str | None) -> None:
            if what == "start":
                self.do_core_start()
            elif what == "quit":
                self.exit(1)

        self.push_screen(CoreDownScreen(reason), chosen)

    def do_core_start(self) -> None:
        """Start the core again, where it is not running."""
        if self.control is not None or self.worker_core.running:
            self.tell("The proxy is running.")
            return
        self._say("starting ...")
        self.start_core()

    # --- the tick

    @property
    def console_screen(self) -> ConsoleScreen | None:
        """The screen of ours that is on top, dialogs left aside."""
        return next(
            (screen for screen in reversed(self.screen_stack) if isinstance(screen, ConsoleScreen)),
            None,
        )

    def _show_update(self, update: Update) -> None:
        for report in self._watch_news.take(update.plugins):
            self.tell(report.text, bad=not report.ok)
        screen = self.console_screen
        if screen is not None:
            screen.show_update(update)

    def _show_status(self) -> None:
        screen = self.console_screen
        if screen is not None:
            screen.show_status()

    async def _refresh_figures(self) -> None:
        """Fetch the plugins' figures, which change without being news; leave with the terminal."""
        if is_gone(self._driver):
            self.exit(0)
        screen = self.console_screen
        shown = screen is self._plugins or isinstance(screen, PluginScreen)
        if shown or any(plugin.undecided for plugin in self.books.plugins.values()):
            await self.fetch_plugins()
        if self.screen_stack:  # none while the program ends
            self._ask_on_first_use()

    def _ask_on_first_use(self) -> None:
        """Ask what a plugin may reach that was refused it, but not while the user types."""
        first_uses = self.books.first_uses
        before = first_uses.open
        first_uses.update(self.books.plugins)
        screen, question = self.screen, first_uses.unseen
        if first_uses.open != before:
            self._show_status()
        if question is None or self.control is None or not isinstance(screen, ConsoleScreen):
            return
        if screen.prompt.display or time.monotonic() - self.last_key_at < self.IDLE_SECONDS:
            return
        first_uses.note_seen(question.plugin, question.asked)
        asking = self._plugin_commands.decide(question.plugin, question.asked, by_itself=True)
        self.run_worker(self._see_through(asking), group="command")

    async def fetch_plugins(self) -> None:
        """See `Desk.fetch_plugins`."""
        if self.control is None:
            return
        with contextlib.suppress(Int3rceptorError):
            plugins = await self.control.plugins()
            self.books.plugins = {plugin.name: plugin for plugin in plugins}
            if self._plugins.is_mounted:
                self._plugins.show_plugins()
            if isinstance(self.console_screen, PluginScreen):
                self.console_screen.show_plugins()

    # --- words for the user

    def _say(self, note: str) -> None:
        """Put a note in every screen's status bar."""
        self._note = note
        for screen in {self._flows, self._plugins, *self.screen_stack}:
            if isinstance(screen, ConsoleScreen):
                screen.say(note)

    def tell(self, text: str, bad: bool = False) -> None:
        """Show a note for a moment; its text may hold anything."""
        shown = visible(text)
        self.notify(
            shown if len(shown) <= _LONGEST_NOTE else shown[: _LONGEST_NOTE - 1] + "…",
            severity="error" if bad else "information",
            timeout=8 if bad else 3,
            markup=False,
        )

    def copy(self, text: str) -> None:
        """See `Desk.copy`: by OSC 52."""
        self.copy_to_clipboard(text)

    def open_prompt(self, text: str) -> None:
        """See `Desk.open_prompt`."""
        if self.console_screen is not None:
            self.console_screen.open_prompt(text)

    async def ask(self, question: str) -> bool:
        """Ask a question that is answered with yes or no; call it in a worker."""
        dialog: Screen[bool] = ConfirmScreen(question)
        return await self.push_screen_wait(dialog)

    async def ask_permission(
        self, plugin: str, asked: AskedPermission, by_itself: bool = False
    ) -> bool | None:
        """See `Desk.ask_permission`; call it in a worker."""
        self.clear_notifications()  # they would lie over what is to be read
        self.books.first_uses.note_seen(plugin, asked)
        return await self.push_screen_wait(PermissionScreen(plugin, asked, by_itself))

    # --- doing what the user says

    def action_perform(self, action_id: str) -> None:
        """Do what a key is bound to."""
        self.perform(self.actions_table[action_id])

    def perform(self, action: Action, argument: str = "") -> None:
        """Do an action, whether a key, the palette or the prompt asked for it."""
        if action.listed or action.argument:
            self.clear_notifications()  # what was told of the one before
        handler = self._handler(action)
        if handler is None:
            what, opened_by, where = _ELSEWHERE[action.where]
            key = self.actions_table[opened_by].hint
            self.tell(f"{action.id} is for {what}; press {key}{where} first", bad=True)
            return
        done = handler(argument) if action.argument else handler()
        if inspect.isawaitable(done):
            self.run_worker(self._see_through(done), group="command")

    def _handler(self, action: Action) -> Callable[..., Awaitable[None] | None] | None:
        for group in self._command_groups:
            if hasattr(group, action.method):
                return getattr(group, action.method)  # type: ignore[no-any-return]
        if action.where is Where.FLOWS:
            self._show_main(self._flows)
        elif action.where is Where.PLUGINS:
            self._show_main(self._plugins)
        return getattr(self.console_screen, action.method, None)

    async def _see_through(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Int3rceptorError as error:
            self.tell(str(error), bad=True)

    def run_command(self, text: str) -> None:
        """Do what a line at the prompt says; tell what is wrong with it otherwise."""
        try:
            command = parse(text, self.actions_table)
        except ControlError as error:
            self.tell(str(error), bad=True)
        else:
            self.perform(command.action, command.argument)

    def palette_entries(self) -> list[PaletteEntry]:
        """Return what can be done now."""
        return palette_entries(self._usable().values(), self.books.plugins.values())

    def _usable(self) -> dict[str, Action]:
        """Return the actions that can be done from where the user is."""
        here = Where.ALL if self.console_screen is None else self.console_screen.WHERE
        places = (Where.ALL, Where.FLOWS, Where.PLUGINS, here)
        return {name: each for name, each in self.actions_table.items() if each.works_in(*places)}

    # --- what commands and keys meet here

    @property
    def driver(self) -> Control:
        """See `Desk.driver`."""
        if self.control is None:
            key = self.actions_table["core.start"].hint
            raise ControlError(f"The proxy is not running; {key} starts it.")
        return self.control

    @property
    def selected_flow(self) -> FlowId | None:
        """See `Desk.selected_flow`."""
        screen = self.console_screen
        return screen.flow_id if isinstance(screen, DetailScreen) else self._flows.selected

    @property
    def selected_plugin(self) -> str | None:
        """See `Desk.selected_plugin`."""
        screen = self.console_screen
        if isinstance(screen, PluginScreen):
            return screen.plugin_name
        selected = self._plugins.selected if screen is self._plugins else None
        return None if selected is None else selected.name

    @property
    def asking_plugin(self) -> str | None:
        """See `Desk.asking_plugin`."""
        question = self.books.first_uses.open
        if question is None or isinstance(self.console_screen, PluginsScreen | PluginScreen):
            return None
        return question.plugin

    # --- screens

    def _equip(self, screen: ConsoleScreen) -> None:
        screen.run_line = self.run_command
        screen.prompt.completions = lambda text: list(
            completions(text, self._usable(), self.books.plugins)
        )

    def _open(self, screen: ConsoleScreen) -> None:
        self._equip(screen)
        screen.status_bar.note = self._note
        self.push_screen(screen)

    def _show_main(self, screen: MainScreen) -> None:
        while not isinstance(self.screen, MainScreen):
            self.pop_screen()
        if self.screen is not screen:
            self.switch_screen(screen)

    @on(ScreenChosen)
    def _screen_chosen(self, event: ScreenChosen) -> None:
        self._show_main((self._flows, self._plugins)[event.index])

    @on(FlowChosen)
    def _flow_chosen(self, event: FlowChosen) -> None:
        self.open_flow(event.flow_id)

    @on(PluginChosen)
    def _plugin_chosen(self, event: PluginChosen) -> None:
        self.do_plugins_profile(event.name)

    def open_flow(self, flow_id: FlowId) -> None:
        """Show a flow on top of what is there."""
        screen = self.screen
        if isinstance(screen, DetailScreen):
            screen.show_flow(flow_id)
        elif self._last_driver is not None:
            self._open(DetailScreen(self.books, self._last_driver, flow_id))

    def do_flow_open(self) -> None:
        """Open the flow under the cursor."""
        selected = self._flows.selected
        if self.screen is self._flows and selected is not None:
            self.open_flow(selected)

    def do_screen_flows(self) -> None:
        """Show the flows."""
        self._show_main(self._flows)

    def do_screen_plugins(self) -> None:
        """Show the plugins."""
        self._show_main(self._plugins)

    def _known_plugin(self, action_id: str, name: str) -> str | None:
        """Return the plugin that is meant; None, with a word about it, where there is none."""
        try:
            wanted = self._plugin_commands.wanted(action_id, name)
        except ControlError as error:
            self.tell(str(error), bad=True)
            return None
        if wanted is not None and wanted not in self.books.plugins:
            self.tell(f"no plugin is called {wanted!r}", bad=True)
            return None
        return wanted

    def do_plugins_profile(self, name: str) -> None:
        """Show one plugin: the one that is named, or under the cursor."""
        wanted = self._known_plugin("plugins.profile", name)
        if wanted is not None:
            if isinstance(self.screen, PluginScreen):
                self.pop_screen()
            self._open(PluginScreen(self.books, wanted))

    def do_plugins_changes(self, name: str) -> None:
        """Show what a plugin, named or under the cursor, did to the flow selected in the list."""
        wanted, flow_id = self._known_plugin("plugins.changes", name), self.selected_flow
        if wanted is None:
            return
        if flow_id is None or self._last_driver is None:
            self.tell("There is no flow to choose.")
        elif isinstance(self.screen, DetailScreen):
            self.screen.show_changes(f"plugin {wanted}")
        else:
            self._open(DetailScreen(self.books, self._last_driver, flow_id, f"plugin {wanted}"))

    def do_app_back(self) -> None:
        """Close what is open; from another main screen, go to the flows."""
        screen = self.screen
        if isinstance(screen, DetailScreen) and screen.close_message():
            return
        if not isinstance(screen, MainScreen):
            self.pop_screen()
            if isinstance(screen, DetailScreen) and self.screen is self._flows:
                self._flows.table.move_to_key(screen.flow_id)
        elif screen is not self._flows:
            self._show_main(self._flows)

    def do_app_help(self) -> None:
        """Show the keys for where the user is, or hide them again."""
        screen = self.console_screen
        if isinstance(screen, HelpScreen):
            self.pop_screen()
        elif screen is not None:
            self._open(HelpScreen(self.books, self.actions_table, screen.WHERE))

    def do_app_prompt(self) -> None:
        """Ask for a command."""
        if self.console_screen is not None:
            self.console_screen.open_prompt()

    def do_app_palette(self) -> None:
        """Open the command palette."""
        self.action_command_palette()

    def do_app_quit(self) -> None:
        """Leave."""
        self.exit(0)

    async def action_quit(self) -> None:
        """Leave (Textual's own name for it)."""
        self.exit(0)

    def action_help_quit(self) -> None:
        """Leave at ctrl+c in a dialog, too."""
        self.exit(0)


def run_console(settings: Settings, *, companion: Companion | None = None) -> int:
    """Run the console until the user leaves; return the exit code.

    Raises ConfigError for keys that name no action.
    """
    check_remapped(settings.keys)
    # What no core takes must not be printed into the picture.
    logging.getLogger().addHandler(logging.NullHandler())
    app = ConsoleApp(settings, companion)
    try:
        code = app.run()
    finally:
        app.worker_core.stop()
        stopped = app.worker_core.wait(_STOP_PATIENCE)
    if not stopped:
        print("int3rceptor-tui: the proxy did not stop in time; ending it", file=sys.stderr)
        os._exit(1)
    return code if isinstance(code, int) else app.return_code or 0
