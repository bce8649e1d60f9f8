"""What plugins tried to reach before anybody had decided about it: questions for the user.

Each is put once by itself, for a plugin and a kind and the very entries asked for; after that it
waits until the user comes to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from int3rceptor_tui.keymap import BY_ID, Hints
from int3rceptor_tui.view_model.visible import visible
from proxy_core.model.plugin_status import AskedPermission, PermissionKind, PluginStatus


@dataclass(frozen=True, slots=True)
class Question:
    """A plugin's wish that the user has not decided about."""

    plugin: str
    asked: AskedPermission

    def line(self, width: int, hints: Hints = BY_ID) -> str:
        """Return the question on one line of at most `width` cells."""
        decides = f", {hints['plugins.permissions'].hint} decides"
        entries = ", ".join(map(visible, self.asked.entries))
        text = f"{visible(self.plugin)} asks for {self.asked.kind}: {entries}"
        room = width - len(decides)
        if cell_len(text) > room:
            text = set_cell_size(text, max(0, room - 1)) + "…"
        return text + decides


class FirstUses:
    """The open questions, and which of them the user has seen."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, PermissionKind], tuple[str, ...]] = {}
        self._open: list[Question] = []

    def update(self, plugins: Mapping[str, PluginStatus]) -> None:
        """Look which questions there are now."""
        self._open = [
            Question(plugin.name, asked)
            for plugin in plugins.values()
            for asked in plugin.refused_unasked
        ]
        for plugin, kind in list(self._seen):
            if plugin not in plugins:
                del self._seen[plugin, kind]

    def note_seen(self, plugin: str, asked: AskedPermission) -> None:
        """Do not put this question by itself any more."""
        self._seen[plugin, asked.kind] = asked.entries

    @property
    def open(self) -> Question | None:
        """The first question that nobody has answered."""
        return self._open[0] if self._open else None

    @property
    def unseen(self) -> Question | None:
        """The first of them that the user has not been asked."""
        return next(
            (each for each in self._open if self._seen_entries(each) != each.asked.entries), None
        )

    def _seen_entries(self, question: Question) -> tuple[str, ...] | None:
        return self._seen.get((question.plugin, question.asked.kind))
