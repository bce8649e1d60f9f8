"""Which ABI a module is spoken to in: ours, or one that others have specified.

A `Dialect` agrees with a module, starts its instances, and gives each generation a `Driver`, which
turns the hooks of this proxy into what that ABI calls. Modules of our own ABI have none of these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

from proxy_core.exchange.fetch import Fetched
from proxy_core.exchange.hooks import BodyFilter, TunnelFilter
from proxy_core.model.edits import OpenBody
from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
from proxy_core.plugin_host.abi import VERSION_EXPORT, Contract, Declared, agree
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.faults import GuestFailure
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.foreign.http_wasm import dialect as http_wasm
from proxy_core.plugin_host.foreign.proxy_wasm import dialect as proxy_wasm
from proxy_core.plugin_host.functions.host_side import HostFunction
from proxy_core.plugin_host.guest import Code, Guest
from proxy_core.plugin_host.hook.call import HookCall

T = TypeVar("T")


class Room(Protocol):
    """Where a driver works: one generation with its only instance, and what is the plugin's."""

    @property
    def manifest(self) -> Manifest:
        """The plugin's manifest."""

    def call(self, hook: Hook, flow: Flow | None = None) -> HookCall:
        """Describe an entry; Hook.START is about no flow."""

    async def enter(self, work: Callable[[Guest], Awaitable[T]]) -> T:
        """Wait for the instance, and have `work` done with it alone.

        After an exception out of `work` the instance is thrown away, and whoever comes next has a
        fresh one. Raises GuestFailure and ModuleRefused.
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
        """Do something in a task of the generation's, which ends with it."""

    def complain(self, failure: GuestFailure) -> None:
        """Account for a failure that no hook is told of."""


class Driver(Protocol):
    """Drives flows through the one instance of a generation; on the core's loop."""

    hooks: frozenset[Hook]
    """What to call it for."""

    async def hook(self, hook: Hook, call: HookCall) -> int:
        """Do what a hook asks for, and return one of its codes.

        Edits are left in `call` and on `call.flow.whole`; the caller commits them where the code
        is not negative. Raises GuestFailure.
        """

    def wants_body(self, hook: Hook, flow: Flow) -> bool:
        """Whether the message's body is to be whole when Hook.REQUEST or RESPONSE is called."""

    def body_filter(self, hook: Hook, flow: Flow) -> BodyFilter | None:
        """Return what the body goes through behind Hook.REQUEST or RESPONSE."""

    def tunnel_filter(self, flow: Flow) -> TunnelFilter | None:
        """Return what the bytes of a tunnel go through."""

    async def close(self) -> None:
        """Take leave of the instance, which is shut down next."""


class Dialect(Protocol):
    """An ABI."""

    name: str
    """For people."""

    def agree(self, imports: Sequence[Declared], exports: Sequence[Declared]) -> Contract:
        """Match a module's declarations with what the host has. Raises ModuleRefused."""

    def load(self, guest: Guest, contract: Contract, call: HookCall) -> None:
        """Start a new instance, blocking, on a worker. Raises ModuleRefused and GuestFailure."""

    def drive(self, room: Room, contract: Contract) -> Driver:
        """Return the driver of a generation."""


FOREIGN: Final[Mapping[str, Dialect]] = MappingProxyType(
    {
        **{marker: proxy_wasm.ProxyWasm(marker) for marker in proxy_wasm.MARKERS},
        http_wasm.MARKER: http_wasm.HttpWasm(),
    }
)
"""Dialects by the export that tells them; ours is told by its own, and before these."""


def dialect_of(exports: Sequence[Declared]) -> Dialect | None:
    """Return the dialect of a module that speaks another ABI than ours."""
    return dialect_among({export.name for export in exports})


def dialect_among(names: Set[str]) -> Dialect | None:
    """The same by the names of what it exports."""
    if VERSION_EXPORT in names:
        return None
    return next((dialect for marker, dialect in FOREIGN.items() if marker in names), None)


def agree_with(code: Code, functions: Mapping[str, HostFunction]) -> Contract:
    """Match a module with its dialect, or with our own `functions`. Raises ModuleRefused."""
    dialect = dialect_of(code.exports)
    if dialect is None:
        return agree(code.imports, code.exports, functions)
    return dialect.agree(code.imports, code.exports)
