"""Whether a plugin may reach what it asks for: yes, no, or later."""

from __future__ import annotations

import time
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from int3rceptor_tui.view_model.visible import visible
from proxy_core.model.plugin_status import AskedPermission

_MOST_ENTRIES = 10
_WORDS = {
    "network": "to call these hosts over the network",
    "filesystem": "to read files in these directories",
}


class PermissionScreen(ModalScreen[bool | None]):
    """Gives True, False, or None for later; no key that is typed by habit, as enter, allows.

    One that comes by itself may come under the fingers of somebody who types: it takes no key
    until none was pressed for a moment.
    """

    QUIET_SECONDS: ClassVar[float] = 0.3
    """How long no key may have come before one counts, in a dialog nobody asked for."""

    BINDINGS = [
        Binding("y", "answer('yes')", show=False),
        Binding("n", "answer('no')", show=False),
        Binding("l,escape,q,ctrl+c", "answer('later')", show=False),
    ]

    def __init__(self, plugin: str, asked: AskedPermission, by_itself: bool = False) -> None:
        super().__init__()
        self._plugin = plugin
        self._asked = asked
        self._by_itself = by_itself
        self._last_key = 0.0

    def compose(self) -> ComposeResult:
        """Lay out."""
        entries = [f"  {visible(entry)}" for entry in self._asked.entries[:_MOST_ENTRIES]]
        more = len(self._asked.entries) - len(entries)
        if more > 0:
            entries.append(f"  and {more} more, which its profile shows")
        name = visible(self._plugin)
        tried = "It has tried to, and was refused." if self._by_itself else ""
        with Vertical(id="box"):
            yield Static(f"{name} asks for {self._asked.kind}", markup=False, id="title")
            yield Static(f"It wants {_WORDS[self._asked.kind]}:", markup=False)
            yield Static("\n".join(entries), markup=False, id="entries")
            if tried:
                yield Static(tried, markup=False)
            yield Static("y  allow      n  deny      l  later", markup=False, id="keys")

    def on_mount(self) -> None:
        """Begin to wait for quiet."""
        self._last_key = time.monotonic()

    def action_answer(self, answer: str) -> None:
        """Give the answer, unless it was meant for something else."""
        now = time.monotonic()
        quiet, self._last_key = now - self._last_key, now
        if not self._by_itself or quiet >= self.QUIET_SECONDS:
            self.dismiss({"yes": True, "no": False}.get(answer))
