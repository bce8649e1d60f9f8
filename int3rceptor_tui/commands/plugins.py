"""Commands on plugins. Whatever fails raises an error of ours, which the console tells."""

from __future__ import annotations

from pathlib import PurePath

from int3rceptor_tui.commands.desk import Desk
from int3rceptor_tui.view_model.formats import plural
from proxy_core.errors import ControlError, PluginNotFound
from proxy_core.model.plugin_status import AskedPermission, PluginState

_MOST_NAMES = 5


def _place(who: str) -> str:
    """Return of a manifest's path the directory's name, of a module's its own."""
    path = PurePath(who)
    return path.parent.name if path.name == "plugin.toml" else path.name


class PluginCommands:
    """`do_<action>` for the actions on plugins.

    The name "" means the one under the cursor, where that is in sight; else the prompt asks.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def do_plugins_discover(self) -> None:
        """Look into the plugin directories, and tell what was found."""
        report = await self._desk.driver.discover_plugins()
        words = [f"{report.found} {plural('plugin', report.found)} found"]
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
        wanted = self.wanted("plugins.reload", name)
        if wanted is None:
            return
        report = await self._desk.driver.reload_plugin(wanted)
        self._desk.tell(report.message, bad=not report.ok)
        await self._desk.fetch_plugins()

    async def do_plugins_toggle(self, name: str) -> None:
        """Enable a plugin that is disabled, and the other way round."""
        wanted = self.wanted("plugins.toggle", name)
        if wanted is None:
            return
        plugin = self._desk.books.plugins.get(wanted)
        if plugin is None:
            raise PluginNotFound(f"no plugin is called {wanted!r}")
        await self._enable(wanted, not plugin.enabled)

    async def do_plugins_enable(self, name: str) -> None:
        """Enable a plugin."""
        wanted = self.wanted("plugins.enable", name)
        if wanted is not None:
            await self._enable(wanted, True)

    async def do_plugins_disable(self, name: str) -> None:
        """Disable a plugin."""
        wanted = self.wanted("plugins.disable", name)
        if wanted is not None:
            await self._enable(wanted, False)

    async def do_plugins_permissions(self, name: str) -> None:
        """Ask about each kind of thing that a plugin asks to reach, and tell the core."""
        wanted = self.wanted("plugins.permissions", name or self._desk.asking_plugin or "")
        if wanted is None:
            return
        plugin = self._desk.books.plugins.get(wanted)
        if plugin is None:
            raise PluginNotFound(f"no plugin is called {wanted!r}")
        if not plugin.asked:
            self._desk.tell(f"{wanted} asks to reach nothing.")
        for asked in plugin.asked:
            await self.decide(wanted, asked)

    async def decide(self, plugin: str, asked: AskedPermission, by_itself: bool = False) -> None:
        """Ask about one kind of thing, and tell the core, unless the user says later."""
        granted = await self._desk.ask_permission(plugin, asked, by_itself)
        if granted is None:
            return
        await self._desk.driver.decide_permission(plugin, asked.kind, granted)
        verb = "call the hosts" if asked.kind == "network" else "read the directories"
        self._desk.tell(f"{plugin} may{'' if granted else ' not'} {verb} it asks for.")
        await self._desk.fetch_plugins()

    async def _enable(self, name: str, enabled: bool) -> None:
        status = await self._desk.driver.set_plugin_enabled(name, enabled)
        if enabled and status.state is PluginState.REFUSED:
            self._desk.tell(f"{name} could not be loaded: {status.last_error}", bad=True)
        else:
            self._desk.tell(f"{name} is {'enabled' if enabled else 'disabled'}.")
        await self._desk.fetch_plugins()

    def wanted(self, action_id: str, name: str) -> str | None:
        """Return the plugin that is meant; None where the prompt asks for it."""
        wanted = name or self._desk.selected_plugin
        if wanted is None:
            if not self._desk.books.plugins:
                raise ControlError("There are no plugins.")
            self._desk.open_prompt(f"{action_id} ")
            self._desk.tell("Which plugin? Name one, or put the cursor on it.")
        return wanted
