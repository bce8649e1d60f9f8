"""What commands need of the console they are given in."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from int3rceptor_tui.feed import Books
from proxy_core.control.control import Control
from proxy_core.model.plugin_status import AskedPermission


class Desk(Protocol):
    """The console, as commands see it."""

    books: Books

    @property
    def driver(self) -> Control:
        """The core's handle. Raises ControlError while no core runs."""

    @property
    def at_leisure(self) -> bool:
        """Whether the user may be asked something now: nobody types, or is asked already."""

    def see_through(self, work: Awaitable[None]) -> None:
        """Do what takes time, beside everything else; tell what fails."""

    def tell(self, text: str, bad: bool = False) -> None:
        """Show a note for a moment; its text may hold anything."""

    def clear_notifications(self) -> None:
        """Take away what was told."""

    def copy(self, text: str) -> None:
        """Put text into the terminal's clipboard, where it takes it."""

    async def ask(self, question: str) -> bool:
        """Ask a question that is answered with yes or no."""

    async def ask_permission(
        self, plugin: str, asked: AskedPermission, by_itself: bool = False
    ) -> bool | None:
        """Ask whether a plugin may reach what it asks for; None for later.

        `by_itself` where the user did not ask to be asked.
        """

    async def fetch_plugins(self) -> None:
        """Show the plugins as they are now."""
