"""The actions in Textual's command palette."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple, Protocol, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from int3rceptor_tui.keymap import Action
from int3rceptor_tui.view_model.visible import visible
from proxy_core.model.plugin_status import PluginStatus


class PaletteEntry(NamedTuple):
    """One line of the palette; `line` is what the prompt would be given."""

    title: str
    line: str
    help: str


def palette_entries(
    actions: Iterable[Action], plugins: Iterable[PluginStatus]
) -> list[PaletteEntry]:
    """Return what can be done by these actions, and with each of the plugins by name."""
    by_id = {action.id: action for action in actions}
    entries = [
        PaletteEntry(action.title, action.id, f"{action.shown_keys}   {action.help}".strip())
        for action in by_id.values()
        if action.listed
    ]
    reload, toggle = (
        by_id[name].hint if name in by_id else "" for name in ("plugins.reload", "plugins.toggle")
    )
    for plugin in plugins:
        name = visible(plugin.name)
        verb = "disable" if plugin.enabled else "enable"
        entries += [
            PaletteEntry(f"Reload plugin {name}", f"plugins.reload {plugin.name}", reload),
            PaletteEntry(f"{verb.title()} plugin {name}", f"plugins.{verb} {plugin.name}", toggle),
        ]
    return entries


class Performs(Protocol):
    """Who does what is chosen."""

    def palette_entries(self) -> list[PaletteEntry]:
        """Return what can be done now."""

    def run_line(self, text: str) -> None:
        """Do what a line at the prompt would do."""


class HasPerformer(Protocol):
    """The app, as the palette needs it."""

    performer: Performs


class ActionProvider(Provider):
    """Offers every listed action, and those of the plugins by their names."""

    @property
    def _performer(self) -> Performs:
        return cast(HasPerformer, self.app).performer

    def _run(self, line: str) -> Callable[[], None]:
        return partial(self._performer.run_line, line)

    async def discover(self) -> Hits:
        """Offer everything while nothing was typed."""
        for title, line, help_text in self._performer.palette_entries():
            yield DiscoveryHit(title, self._run(line), help=help_text)

    async def search(self, query: str) -> Hits:
        """Offer what matches."""
        matcher = self.matcher(query)
        for title, line, help_text in self._performer.palette_entries():
            score = matcher.match(f"{title} {line}")
            if score > 0:
                yield Hit(score, matcher.highlight(title), self._run(line), help=help_text)
