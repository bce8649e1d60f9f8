"""What a driver needs of the generation it drives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from proxy_core.exchange.fetch import Fetched
from proxy_core.model.edits import OpenBody
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import GuestFailure
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.guest import Guest
from proxy_core.plugin_host.hook.call import HookCall

T = TypeVar("T")


class Room(Protocol):
    """One generation, whose only instance is entered by one at a time."""

    @property
    def manifest(self) -> Manifest:
        """The plugin's manifest."""

    def call(self, hook: Hook, flow: Flow | None = None) -> HookCall:
        """Describe an entry; Hook.START is about no flow."""

    async def enter(self, work: Callable[[Guest], Awaitable[T]]) -> T:
        """Wait for the instance, and have `work` done with it alone.

        After a GuestFailure out of `work` the instance is thrown away. Raises GuestFailure.
        """

    async def fetch(
        self, method: bytes, url: str, headers: Sequence[Field], body: bytes, seconds: float
    ) -> Fetched:
        """Make an HTTP exchange. Raises Int3rceptorError where there is no answer in time."""

    def open_body(self, hook: Hook, flow: Flow) -> OpenBody | None:
        """Return the body behind the head that a hook is about, where some of it may be read yet.

        It comes as the plugins before this one let it.
        """

    def spawn(self, work: Coroutine[Any, Any, None]) -> object:
        """Do something in a task of the generation's."""

    def complain(self, failure: GuestFailure) -> None:
        """Account for a failure of the guest that no hook is told of."""
