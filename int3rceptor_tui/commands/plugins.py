"""Commands on plugins. Whatever fails raises an error of ours, which the console tells."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

from int3rceptor_tui.commands.desk import Desk
from int3rceptor_tui.screens.stack import ScreenStack
from proxy_core.errors import ControlError, PluginNotFound
from proxy_core.model.plugin_status import AskedPermission, PluginState, PluginStatus
from proxy_core.model.words import counted

_MOST_NAMES = 5
_SOON = 0.5
"""Seconds that the core may take before the user is told that it was heard."""


def _place(who: str) -> str:
    """Return of a manifest's path the directory's name, of a module's its own."""
    path = PurePath(who)
    return path.parent.name if path.name == "plugin.toml" else path.name


class PluginCommands:
    """`do_<action>` for the actions on plugins.

    The name "" means the one under the cursor, where that is in sight; else the prompt asks.
    """

    def __init__(self, desk: Desk, screens: ScreenStack) -> None:
        self._desk = desk
        self._screens = screens

    async def do_plugins_discover(self) -> None:
        """Look into the plugin directories, and tell what was found."""
        with self._patience("Looking for plugins"):
            report = await self._desk.driver.discover_plugins()
        words = [f"{counted(report.found, 'plugin')} found"]
        if report.added:
            words.append(f"new: {', '.join(report.added)}")
        if report.removed:
            words.append(f"gone: {', '.join(report.removed)}")
        self._desk.tell("; ".join(words) + ".")
        if len(report.refused) == 1:
            who, why = report.refused[0]
            self._desk.tell(f"{who} was refused: {why}", bad=True)
        elif report.refused:
            names = [_place(who) for who, _ in report.refused[:_MOST_NAMES]]
            more = len(report.refused) - len(names)
            told = ", ".join(names) + (f" and {more} more" if more else "")
            why = "their lines, and the log, say why"
            self._desk.tell(f"{len(report.refused)} were refused: {told}; {why}.", bad=True)
        await self._desk.fetch_plugins()

    async def do_plugins_reload(self, name: str) -> None:
        """Reload a plugin, and tell how it went."""
        wanted = self._wanted("plugins.reload", name)
        if wanted is None:
            return
        with self._patience(f"Loading {wanted} anew"):
            report = await self._desk.driver.reload_plugin(wanted)
        self._desk.tell(report.message, bad=not report.ok)
        await self._desk.fetch_plugins()

    async def do_plugins_toggle(self, name: str) -> None:
        """Enable a plugin that is disabled, and the other way round."""
        plugin = self._known("plugins.toggle", name)
        if plugin is not None:
            await self._enable(plugin.name, not plugin.enabled)

    async def do_plugins_enable(self, name: str) -> None:
        """Enable a plugin."""
        wanted = self._wanted("plugins.enable", name)
        if wanted is not None:
            await self._enable(wanted, True)

    async def do_plugins_disable(self, name: str) -> None:
        """Disable a plugin."""
        wanted = self._wanted("plugins.disable", name)
        if wanted is not None:
            await self._enable(wanted, False)

    def do_plugins_profile(self, name: str) -> None:
        """Show one plugin."""
        plugin = self._known("plugins.profile", name)
        if plugin is not None:
            self._screens.open_plugin(plugin.name)

    def do_plugins_changes(self, name: str) -> None:
        """Show what a plugin did to the flow selected in the list."""
        plugin = self._known("plugins.changes", name)
        if plugin is None:
            return
        flow_id = self._screens.selected_flow
        if flow_id is None:
            self._desk.tell("There is no flow to choose.")
        else:
            self._screens.open_changes(flow_id, f"plugin {plugin.name}")

    async def do_plugins_permissions(self, name: str) -> None:
        """Ask about each kind of thing that a plugin asks to reach, and tell the core."""
        plugin = self._known("plugins.permissions", name or self._screens.asking_plugin or "")
        if plugin is None:
            return
        if not plugin.asked:
            self._desk.tell(f"{plugin.name} asks to reach nothing.")
        for asked in plugin.asked:
            await self._decide(plugin.name, asked)

    def ask_on_first_use(self) -> None:
        """Ask what a plugin may reach that was refused it, but not while the user types."""
        first_uses = self._desk.books.first_uses
        before = first_uses.open
        first_uses.update(self._desk.books.plugins)
        if first_uses.open != before:
            self._screens.show_status()
        question = first_uses.unseen
        if question is not None and self._desk.at_leisure:
            first_uses.note_seen(question.plugin, question.asked)
            self._desk.see_through(self._decide(question.plugin, question.asked, by_itself=True))

    async def _decide(self, plugin: str, asked: AskedPermission, by_itself: bool = False) -> None:
        """Ask about one kind of thing, and tell the core, unless the user says later."""
        granted = await self._desk.ask_permission(plugin, asked, by_itself)
        if granted is None:
            return
        await self._desk.driver.decide_permission(plugin, asked.kind, granted)
        verb = "call the hosts" if asked.kind == "network" else "read the directories"
        self._desk.tell(f"{plugin} may{'' if granted else ' not'} {verb} it asks for.")
        await self._desk.fetch_plugins()

    async def _enable(self, name: str, enabled: bool) -> None:
        with self._patience(f"{'Enabling' if enabled else 'Disabling'} {name}"):
            status = await self._desk.driver.set_plugin_enabled(name, enabled)
        if enabled and status.state is PluginState.REFUSED:
            self._desk.tell(f"{name} could not be loaded: {status.last_error}", bad=True)
        else:
            self._desk.tell(f"{name} is {'enabled' if enabled else 'disabled'}.")
        await self._desk.fetch_plugins()

    @contextmanager
    def _patience(self, doing: str) -> Iterator[None]:
        """Tell what is being done, where it takes long: the core loads one plugin at a time."""
        text = f"{doing} ...; one plugin is loaded after the other."
        told = asyncio.get_running_loop().call_later(_SOON, self._desk.tell, text)
        try:
            yield
        finally:
            told.cancel()

    def _known(self, action_id: str, name: str) -> PluginStatus | None:
        """As `_wanted`, and what is known of it. Raises PluginNotFound."""
        wanted = self._wanted(action_id, name)
        if wanted is None:
            return None
        plugin = self._desk.books.plugins.get(wanted)
        if plugin is None:
            raise PluginNotFound(f"no plugin is called {wanted!r}")
        return plugin

    def _wanted(self, action_id: str, name: str) -> str | None:
        """Return the plugin that is meant; None where the prompt asks for it."""
        wanted = name or self._screens.selected_plugin
        if wanted is None:
            if not self._desk.books.plugins:
                raise ControlError("There are no plugins.")
            self._screens.open_prompt(f"{action_id} ")
            self._desk.tell("Which plugin? Name one, or put the cursor on it.")
        return wanted
