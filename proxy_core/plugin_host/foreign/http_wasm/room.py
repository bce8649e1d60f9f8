"""What the driver needs of the generation that it drives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from proxy_core.plugin_host.faults import GuestFailure
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.guest import Guest

T = TypeVar("T")


class Room(Protocol):
    """One generation, whose only instance is entered by one at a time."""

    @property
    def manifest(self) -> Manifest:
        """The plugin's manifest."""

    async def enter(self, work: Callable[[Guest], Awaitable[T]]) -> T:
        """Wait for the instance, and have `work` done with it alone.

        After a GuestFailure out of `work` the instance is thrown away. Raises GuestFailure.
        """

    def spawn(self, work: Coroutine[Any, Any, None]) -> object:
        """Do something in a task of the generation's."""

    def complain(self, failure: GuestFailure) -> None:
        """Account for a failure of the guest that no hook is told of."""
