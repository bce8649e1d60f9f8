"""The console's wiring: the core's thread, the tick, the screens, and the actions they share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time

from rich.console import RenderableType
from textual import on, work
from textual.app import App
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import Screen

from int3rceptor_tui.commands.line import completions, parse
from int3rceptor_tui.commands.palette import ActionProvider
from int3rceptor_tui.core_worker import Companion, CoreWorker, MakeCore, make_core
from int3rceptor_tui.feed import Books, Pump
from int3rceptor_tui.garbage import settle
from int3rceptor_tui.keymap import Where, bindings, check_remapped, with_remapped
from int3rceptor_tui.messages import CoreStarted, CoreStopped
from int3rceptor_tui.screens.base import ConsoleScreen
from int3rceptor_tui.screens.confirm import ConfirmScreen
from int3rceptor_tui.screens.core_down import CoreDownScreen
from int3rceptor_tui.screens.detail import DetailScreen
from int3rceptor_tui.screens.flows import FlowsScreen
from int3rceptor_tui.screens.help import HelpScreen
from int3rceptor_tui.screens.plugins import PluginsScreen
from int3rceptor_tui.terminal import frame_interval, is_behind
from int3rceptor_tui.theme import THEME
from int3rceptor_tui.view_model.visible import visible
from int3rceptor_tui.widgets.prompt import Prompt
from proxy_core.config import Settings
from proxy_core.control.control import Control
from proxy_core.control.views import Update
from proxy_core.errors import ControlError, Int3rceptorError, PluginNotFound
from proxy_core.model.ids import FlowId
from proxy_core.model.plugin_status import PluginState

_FIGURES_INTERVAL = 0.5
_STOP_PATIENCE = 4.0


class ConsoleApp(App[int]):
    """The console. Its core is made by `make` on a thread of its own."""

    TITLE = "INT3RCEPTOR"
    CSS_PATH = "styles/console.tcss"
    COMMANDS = {ActionProvider}
    COMMAND_PALETTE_BINDING = "ctrl+p"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS = bindings(Where.ALL)

    def __init__(
        self,
        settings: Settings,
        companion: Companion | None = None,
        make: MakeCore = make_core,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.books = Books()
        self.actions_table = with_remapped(settings.keys)
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

    def get_system_commands(self, screen: Screen[object]):  # type: ignore[no-untyped-def]
        """Offer none of Textual's own: every action here is one of ours."""
        return iter(())

    def on_mount(self) -> None:
        """Draw the first frame, then start the core."""
        self.register_theme(THEME)
        self.theme = THEME.name
        self.set_keymap(dict(self.settings.keys))
        for screen in (self._flows, self._plugins):
            self.install_screen(screen, name=screen.__class__.__name__)
            screen.prompt.completions = self._completions
        self.push_screen(self._flows)
        self._flows.say("starting ...")
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
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.add_signal_handler(number, self.exit, 0)

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
        self.control = message.driver
        settle()
        self.pump.attach(message.driver)
        for screen in (self._flows, self._plugins):
            screen.say("")
        self.run_worker(self._refresh_figures(), group="figures")

    @on(CoreStopped)
    def _core_stopped(self, message: CoreStopped) -> None:
        self.pump.tick()
        self.pump.detach()
        self.control = None
        for screen in (self._flows, self._plugins):
            screen.say(f"not running: {message.error or 'stopped'}; ctrl+r starts it again")
        self._ask_what_now(message.error or "It has stopped.")

    def _ask_what_now(self, reason: str) -> None:
        def chosen(what: str | None) -> None:
            if what == "start":
                self.action_core_start()
            elif what == "quit":
                self.action_app_quit()

        self.push_screen(CoreDownScreen(reason), chosen)

    def action_core_start(self) -> None:
        """Start the core again, where it is not running."""
        if self.control is not None or self.worker_core.running:
            self.tell("The proxy is running.")
            return
        for screen in (self._flows, self._plugins):
            screen.say("starting ...")
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
        screen = self.console_screen
        if screen is not None:
            screen.show_update(update)

    def _show_status(self) -> None:
        screen = self.console_screen
        if screen is not None:
            screen.show_status()

    async def _refresh_figures(self) -> None:
        """Fetch the plugins' figures, which change without being news."""
        if self.control is None or not (
            self.console_screen is self._plugins or not self.books.plugins
        ):
            return
        with contextlib.suppress(Int3rceptorError):
            plugins = await self.control.plugins()
            self.books.plugins = {plugin.name: plugin for plugin in plugins}
            if self.console_screen is self._plugins:
                self._plugins.show_plugins()

    # --- words for the user

    def tell(self, text: str, bad: bool = False) -> None:
        """Show a note for a moment; its text may hold anything."""
        self.notify(
            visible(text),
            severity="error" if bad else "information",
            timeout=8 if bad else 3,
            markup=False,
        )

    # --- screens

    def action_screen_flows(self) -> None:
        """Show the flows."""
        self._show_main(self._flows)

    def action_screen_plugins(self) -> None:
        """Show the plugins."""
        self._show_main(self._plugins)

    def _show_main(self, screen: ConsoleScreen) -> None:
        while isinstance(self.screen, DetailScreen):
            self.pop_screen()
        if self.screen is not screen:
            self.switch_screen(screen)

    def action_show_flow(self, flow_id: int) -> None:
        """Open a flow."""
        if self.control is None:
            self.tell("The proxy is not running.", bad=True)
            return
        while isinstance(self.screen, DetailScreen):
            self.pop_screen()
        screen = DetailScreen(self.books, self.control, FlowId(flow_id))
        screen.prompt.completions = self._completions
        self.push_screen(screen, self._left_detail)

    def _left_detail(self, _: None) -> None:
        """Put the list's cursor where the detail view went."""

    def action_app_back(self) -> None:
        """Close what is open; from another main screen, go to the flows."""
        screen = self.screen
        if isinstance(screen, DetailScreen):
            flow_id = screen.flow_id
            self.pop_screen()
            if self.screen is self._flows:
                self._flows.table.move_to_key(flow_id)
        elif screen is self._plugins:
            self.action_screen_flows()

    def action_app_help(self) -> None:
        """Show the keys for where the user is."""
        places = {self._flows: Where.FLOWS, self._plugins: Where.PLUGINS}
        screen = self.console_screen
        where = places.get(screen, Where.DETAIL) if screen is not None else Where.ALL
        self.push_screen(HelpScreen(self.actions_table, where))

    def action_app_palette(self) -> None:
        """Open the command palette."""
        self.action_command_palette()

    def action_app_quit(self) -> None:
        """Leave."""
        self.exit(0)

    async def action_quit(self) -> None:
        """Leave (Textual's own name for it)."""
        self.exit(0)

    # --- the prompt and the palette

    def action_app_prompt(self) -> None:
        """Ask for a command."""
        screen = self.screen
        if isinstance(screen, ConsoleScreen):
            screen.open_prompt()

    def _completions(self, text: str) -> list[str]:
        return list(completions(text, self.actions_table, self.books.plugins))

    @on(Prompt.Entered)
    def _entered(self, event: Prompt.Entered) -> None:
        if event.kind == ":":
            self.run_command(event.text)

    def run_command(self, text: str) -> None:
        """Do what a line at the prompt says; tell what is wrong with it otherwise."""
        try:
            command = parse(text, self.actions_table)
        except ControlError as error:
            self.tell(str(error), bad=True)
            return
        action = command.action
        if action.id.startswith("plugins.") and hasattr(self, f"command_{action.method}"):
            getattr(self, f"command_{action.method}")(command.argument)
            return
        if action.where is Where.FLOWS:
            self.action_screen_flows()
        elif action.where is Where.PLUGINS:
            self.action_screen_plugins()
        elif action.where is Where.DETAIL and not isinstance(self.screen, DetailScreen):
            self.tell(f"{action.id} is for an open flow; press enter on one first", bad=True)
            return
        target = "screen" if hasattr(self.screen, f"action_{action.method}") else "app"
        self.call_later(self.run_action, f"{target}.{action.method}")

    def palette_entries(self) -> list[tuple[str, str, str]]:
        """Return (title, command line, help) of what can be done now."""
        in_detail = isinstance(self.console_screen, DetailScreen)
        entries = [
            (action.title, action.id, f"{action.shown_keys}   {action.help}".strip())
            for action in self.actions_table.values()
            if action.listed
            and not action.argument
            and (action.where is not Where.DETAIL or in_detail)
        ]
        for plugin in self.books.plugins.values():
            verb = "disable" if plugin.enabled else "enable"
            name = visible(plugin.name)
            entries.append((f"Reload plugin {name}", f"plugins.reload {plugin.name}", "r"))
            entries.append((f"{verb.title()} plugin {name}", f"plugins.{verb} {plugin.name}", "e"))
        return entries

    # --- flows

    @work(group="command")
    async def action_flow_clear(self) -> None:
        """Forget all finished flows, if the user means it."""
        control = self.control
        if control is None:
            return
        count = len(self.books.flows)
        if not await self.push_screen_wait(ConfirmScreen(f"Clear all finished flows ({count})?")):
            return
        try:
            cleared = await control.clear_flows()
        except Int3rceptorError as error:
            self.tell(str(error), bad=True)
            return
        self.books.flows.clear()
        self.books.flows.update(tuple(await control.flows()))
        self._flows.show_update(Update(first_kept=FlowId(0)))
        self._flows.table.sync()
        self.tell(f"{cleared} flows cleared.")

    def _selected_flow(self) -> FlowId | None:
        screen = self.console_screen
        return screen.flow_id if isinstance(screen, DetailScreen) else self._flows.selected

    @work(group="command")
    async def _decide(self, verb: str, flow_id: FlowId | None) -> None:
        if self.control is None:
            return
        try:
            if verb == "kill":
                done = await self.control.kill_flows([] if flow_id is None else [flow_id])
            else:
                done = await self.control.resume_flows(None if flow_id is None else [flow_id])
        except Int3rceptorError as error:
            self.tell(str(error), bad=True)
            return
        if not done:
            self.tell("No flow is held." if flow_id is None else f"Flow {flow_id} is not held.")

    def action_flow_resume(self) -> None:
        """Let the held flow go on."""
        selected = self._selected_flow()
        if selected is not None:
            self._decide("resume", selected)

    def action_flow_resume_all(self) -> None:
        """Let all held flows go on."""
        self._decide("resume", None)

    def action_flow_kill(self) -> None:
        """End the held flow."""
        selected = self._selected_flow()
        if selected is not None:
            self._decide("kill", selected)

    action_detail_resume = action_flow_resume
    action_detail_kill = action_flow_kill

    # --- plugins

    def _plugin_named(self, name: str) -> str | None:
        """Return the plugin meant: named, or else under the cursor."""
        if name:
            return name
        selected = self._plugins.selected
        if selected is None:
            self.tell("Which plugin? Name one, or put the cursor on it.", bad=True)
            return None
        return selected.name

    def action_plugins_discover(self) -> None:
        """Look into the plugin directories."""
        self.command_plugins_discover("")

    @work(group="plugins")
    async def command_plugins_discover(self, _: str) -> None:
        """Look into the plugin directories, and tell what was found."""
        if self.control is None:
            return
        try:
            report = await self.control.discover_plugins()
        except Int3rceptorError as error:
            self.tell(str(error), bad=True)
            return
        words = [f"{report.found} plugins found"]
        if report.added:
            words.append(f"new: {', '.join(report.added)}")
        if report.removed:
            words.append(f"gone: {', '.join(report.removed)}")
        self.tell("; ".join(words) + ".")
        for who, why in report.refused:
            self.tell(f"{who} was refused: {why}", bad=True)
        self.books.plugins = {plugin.name: plugin for plugin in await self.control.plugins()}
        self._plugins_changed()

    def _plugins_changed(self) -> None:
        with contextlib.suppress(NoMatches):
            self._plugins.show_plugins()

    def action_plugins_reload(self) -> None:
        """Reload the plugin under the cursor."""
        self.command_plugins_reload("")

    @work(group="plugins")
    async def command_plugins_reload(self, name: str) -> None:
        """Reload a plugin, and tell how it went."""
        wanted = self._plugin_named(name)
        if self.control is None or wanted is None:
            return
        try:
            report = await self.control.reload_plugin(wanted)
        except PluginNotFound as error:
            self.tell(str(error), bad=True)
            return
        except Int3rceptorError as error:
            self.tell(f"{wanted} was not reloaded: {error}", bad=True)
            return
        self.tell(report.message, bad=not report.ok)
        await self._refresh_figures()

    def action_plugins_toggle(self) -> None:
        """Enable or disable the plugin under the cursor."""
        self.command_plugins_toggle("")

    def command_plugins_toggle(self, name: str) -> None:
        """Enable a plugin that is disabled, and the other way round."""
        wanted = self._plugin_named(name)
        plugin = self.books.plugins.get(wanted or "")
        if plugin is not None:
            self._enable(plugin.name, not plugin.enabled)
        elif wanted is not None:
            self.tell(f"no plugin is called {wanted!r}", bad=True)

    def command_plugins_enable(self, name: str) -> None:
        """Enable a plugin."""
        if (wanted := self._plugin_named(name)) is not None:
            self._enable(wanted, True)

    def command_plugins_disable(self, name: str) -> None:
        """Disable a plugin."""
        if (wanted := self._plugin_named(name)) is not None:
            self._enable(wanted, False)

    @work(group="plugins")
    async def _enable(self, name: str, enabled: bool) -> None:
        if self.control is None:
            return
        try:
            status = await self.control.set_plugin_enabled(name, enabled)
        except Int3rceptorError as error:
            self.tell(str(error), bad=True)
            return
        self.books.plugins[status.name] = status
        self._plugins_changed()
        if enabled and status.state is PluginState.REFUSED:
            self.tell(f"{name} could not be loaded: {status.last_error}", bad=True)
        else:
            self.tell(f"{name} is {'enabled' if enabled else 'disabled'}.")


def run_console(settings: Settings, *, companion: Companion | None = None) -> int:
    """Run the console until the user leaves; return the exit code.

    Raises ConfigError for keys that name no action.
    """
    check_remapped(settings.keys)
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
