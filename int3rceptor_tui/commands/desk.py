"""What commands need of the console they are given in."""

from __future__ import annotations

from typing import Protocol

from int3rceptor_tui.feed import Books
from proxy_core.control.control import Control
from proxy_core.model.ids import FlowId
from proxy_core.model.plugin_status import AskedPermission


class Desk(Protocol):
    """The console, as commands see it."""

    books: Books

    @property
    def driver(self) -> Control:
        """The core's handle. Raises ControlError while no core runs."""

    @property
    def selected_flow(self) -> FlowId | None:
        """The flow that is open, or under the cursor."""

    @property
    def selected_plugin(self) -> str | None:
        """The plugin that is open, or under the cursor in sight."""

    def open_prompt(self, text: str) -> None:
        """Show the `:` prompt with `text` in it, to be completed."""

    def tell(self, text: str, bad: bool = False) -> None:
        """Show a note for a moment; its text may hold anything."""

    def copy(self, text: str) -> None:
        """Put text into the terminal's clipboard, where it takes it."""

    async def ask(self, question: str) -> bool:
        """Ask a question that is answered with yes or no."""

    @property
    def asking_plugin(self) -> str | None:
        """The plugin that has an open question, where none is under the cursor in sight."""

    async def ask_permission(
        self, plugin: str, asked: AskedPermission, by_itself: bool = False
    ) -> bool | None:
        """Ask whether a plugin may reach what it asks for; None for later.

        `by_itself` where the user did not ask to be asked.
        """

    async def fetch_plugins(self) -> None:
        """Show the plugins as they are now."""
