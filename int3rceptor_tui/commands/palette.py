"""The actions in Textual's command palette."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider


class RunsCommands(Protocol):
    """The app, as the palette needs it."""

    def palette_entries(self) -> list[tuple[str, str, str]]:
        """Return (title, command line, help) of what can be done now."""

    def run_command(self, text: str) -> None:
        """Do what a line at the prompt would do."""


class ActionProvider(Provider):
    """Offers every listed action, and those of the plugins by their names."""

    @property
    def _commands(self) -> RunsCommands:
        return cast(RunsCommands, self.app)

    def _run(self, line: str) -> Callable[[], None]:
        return partial(self._commands.run_command, line)

    async def discover(self) -> Hits:
        """Offer everything while nothing was typed."""
        for title, line, help_text in self._commands.palette_entries():
            yield DiscoveryHit(title, self._run(line), help=help_text)

    async def search(self, query: str) -> Hits:
        """Offer what matches."""
        matcher = self.matcher(query)
        for title, line, help_text in self._commands.palette_entries():
            score = matcher.match(f"{title} {line}")
            if score > 0:
                yield Hit(score, matcher.highlight(title), self._run(line), help=help_text)
