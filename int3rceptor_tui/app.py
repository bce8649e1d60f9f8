"""The console's wiring: the core's thread, the tick, the screens, and who does what is said."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable
from typing import ClassVar

from rich.console import RenderableType
from textual import on, work
from textual.message import Message
from textual.screen import Screen

from int3rceptor_tui.commands.flows import FlowCommands
from int3rceptor_tui.commands.messages import MessageCommands
from int3rceptor_tui.commands.palette import ActionProvider
from int3rceptor_tui.commands.performer import Performer
from int3rceptor_tui.commands.plugins import PluginCommands
from int3rceptor_tui.core_worker import Companion, CoreWorker, MakeCore, make_core
from int3rceptor_tui.feed import Books, Pump
from int3rceptor_tui.garbage import settle
from int3rceptor_tui.keymap import check_remapped, with_remapped
from int3rceptor_tui.messages import (
    CoreStarted,
    CoreStopped,
    FlowChosen,
    LogLineChosen,
    PluginChosen,
    ScreenChosen,
)
from int3rceptor_tui.ordered_keys import OrderedKeys
from int3rceptor_tui.screens.base import ConsoleScreen
from int3rceptor_tui.screens.confirm import ConfirmScreen
from int3rceptor_tui.screens.core_down import CoreDownScreen
from int3rceptor_tui.screens.permission import PermissionScreen
from int3rceptor_tui.screens.stack import ScreenStack
from int3rceptor_tui.terminal import frame_interval, is_behind, is_gone, take_again
from int3rceptor_tui.theme import theme_for
from int3rceptor_tui.view_model.visible import visible
from int3rceptor_tui.view_model.watch_news import WatchNews
from proxy_core.config import Settings
from proxy_core.control.control import Control
from proxy_core.control.views import Update
from proxy_core.errors import ControlError, Int3rceptorError
from proxy_core.model.plugin_status import AskedPermission

_FIGURES_INTERVAL = 0.5
_STOP_PATIENCE = 4.0
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
        actions = with_remapped(settings.keys)
        self.books = Books(actions)
        self.control: Control | None = None
        self.worker_core = CoreWorker(settings, self._post_from_thread, companion, make)
        self.screens = ScreenStack(self, self.books, self._equip)
        self.pump = Pump(
            self.books,
            self._show_update,
            self.screens.show_status,
            lambda: is_behind(self._driver),
            time.monotonic,
        )
        self._plugin_commands = PluginCommands(self, self.screens)
        groups = (
            self,
            self.screens,
            FlowCommands(self, self.screens),
            self._plugin_commands,
            MessageCommands(self, self.screens),
        )
        self.performer = Performer(self, self.screens, actions, groups)
        self._watch_news = WatchNews(time.time())

    def get_system_commands(self, screen: Screen[object]):  # type: ignore[no-untyped-def]
        """Offer none of Textual's own: every action here is one of ours."""
        return iter(())

    def on_mount(self) -> None:
        """Draw the first frame, then start the core."""
        self.set_keymap(dict(self.settings.keys))
        self.screens.begin()
        self.screens.say("starting ...")
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

    def on_unmount(self) -> None:
        """Stop the core after a fault of the console too, which leaves without `exit`."""
        self.worker_core.stop()

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
        self.control = self.screens.source = message.driver
        settle()
        self.pump.attach(message.driver)
        self.screens.say("")
        self.run_worker(self.fetch_plugins(), group="figures")

    @on(CoreStopped)
    def _core_stopped(self, message: CoreStopped) -> None:
        self.pump.tick()
        self.pump.detach()
        self.control = None
        key = self.books.hints["core.start"].hint
        self.screens.say(f"not running: {message.error or 'stopped'}; {key} starts it again")
        self._ask_what_now(message.error or "It has stopped.")

    def _ask_what_now(self, reason: str) -> None:
        def chosen(what: str | None) -> None:
            if what == "start":
                self.do_core_start()
            elif what == "quit":
                self.exit(1)

        self.push_screen(CoreDownScreen(reason), chosen)

    # --- the tick

    def _show_update(self, update: Update) -> None:
        for report in self._watch_news.take(update.plugins):
            self.tell(report.text, bad=not report.ok)
        self.screens.show_update(update)

    async def _refresh_figures(self) -> None:
        """Fetch the plugins' figures, which change without being news; leave with the terminal."""
        if is_gone(self._driver):
            self.exit(0)
        undecided = any(plugin.undecided for plugin in self.books.plugins.values())
        if self.screens.shows_plugins or undecided:
            await self.fetch_plugins()
        if self.screen_stack:  # none while the program ends
            self._plugin_commands.ask_on_first_use()

    async def fetch_plugins(self) -> None:
        """See `Desk.fetch_plugins`."""
        if self.control is None:
            return
        with contextlib.suppress(Int3rceptorError):
            plugins = await self.control.plugins()
            self.books.plugins = {plugin.name: plugin for plugin in plugins}
            self.screens.show_plugins()

    # --- what screens and commands find here

    def _equip(self, screen: ConsoleScreen) -> None:
        screen.run_line = self.performer.run_line
        screen.prompt.completions = self.performer.completions

    @on(ScreenChosen)
    def _screen_chosen(self, event: ScreenChosen) -> None:
        self.screens.show((self.screens.flows, self.screens.plugins)[event.index])

    @on(FlowChosen)
    def _flow_chosen(self, event: FlowChosen) -> None:
        self.screens.open_flow(event.flow_id)

    @on(LogLineChosen)
    def _log_line_chosen(self, event: LogLineChosen) -> None:
        self.screens.open_log_line(event.seq)

    @on(PluginChosen)
    def _plugin_chosen(self, event: PluginChosen) -> None:
        self.performer.attempt(self._plugin_commands.do_plugins_profile, event.name)

    @property
    def driver(self) -> Control:
        """See `Desk.driver`."""
        if self.control is None:
            key = self.books.hints["core.start"].hint
            raise ControlError(f"The proxy is not running; {key} starts it.")
        return self.control

    @property
    def at_leisure(self) -> bool:
        """See `Desk.at_leisure`."""
        screen = self.screen
        return (
            self.control is not None
            and isinstance(screen, ConsoleScreen)
            and not screen.prompt.display
            and time.monotonic() - self.last_key_at >= self.IDLE_SECONDS
        )

    def see_through(self, work: Awaitable[None]) -> None:
        """See `Desk.see_through`."""
        self.run_worker(self._tell_failures_of(work), group="command")

    async def _tell_failures_of(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Int3rceptorError as error:
            self.tell(str(error), bad=True)

    # --- words for the user

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

    # --- the actions that are the app's own

    def action_perform(self, action_id: str) -> None:
        """Do what a key is bound to."""
        self.performer.perform(action_id)

    def do_core_start(self) -> None:
        """Start the core again, where it is not running."""
        if self.control is not None or self.worker_core.running:
            self.tell("The proxy is running.")
            return
        self.screens.say("starting ...")
        self.start_core()

    def do_app_palette(self) -> None:
        """Open the command palette."""
        self.action_command_palette()

    def do_app_suspend(self) -> None:
        """Stop until the shell has us go on."""
        self.action_suspend_process()

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
