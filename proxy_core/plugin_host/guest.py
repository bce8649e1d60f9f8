"""What an engine offers to the rest of the plugin host, whichever way it runs guests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from proxy_core.plugin_host.abi import Contract, Declared
from proxy_core.plugin_host.files.manifest import GuestLimits
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.hook.call import HookCall


@dataclass(frozen=True, slots=True)
class Code:
    """A compiled module and what it declares; `handle` is the engine's own."""

    handle: Any
    imports: tuple[Declared, ...]
    exports: tuple[Declared, ...]


class Guest(Protocol):
    """One instance. Never entered twice at once; after a GuestFailure it is only good to close."""

    host: HostSide
    fuel_used: int
    """By the last entry."""
    seconds: float
    """Wall time inside the guest during the last entry, host functions included."""

    def run(self, entry: str, *arguments: int) -> int:
        """Call an export to its end, blocking, with what is left of the fuel for loading.

        For worker threads. What an export without result returns means nothing. Raises
        GuestFailure.
        """

    def settle(self) -> None:
        """Loading is over: from now on every entry gets the fuel of a hook."""

    def begin(self, entry: str, *arguments: int) -> int | None:
        """Enter the guest on the loop for at most one time slice.

        Returns the result, or None where the guest has not returned yet: then await `finish`.
        Raises GuestFailure.
        """

    async def finish(self) -> int:
        """Go on with what `begin` began, leaving the loop to others between slices.

        Raises GuestFailure. If it is cancelled, the instance is worthless.
        """

    def close(self) -> None:
        """Free everything; idempotent. Not while `run` or `finish` is under way."""


class Engine(Protocol):
    """Compiles modules and makes instances of them. Methods block; call them on a worker."""

    name: str
    library: str
    """The WebAssembly library and its version."""
    settings: str
    """How it is set up, as far as compiled code depends on that."""

    def compile(self, data: bytes) -> Code:
        """Compile a binary module. Raises ModuleRefused."""

    def serialize(self, code: Code) -> bytes:
        """Return compiled code as bytes, for an engine of the same kind and settings."""

    def deserialize(self, blob: bytes, start: int = 0) -> Code:
        """Take what `serialize` gave, from `start` on, and nothing else: it is run as it is.

        Raises ModuleRefused where another kind of engine has made it.
        """

    def instantiate(
        self, code: Code, contract: Contract, limits: GuestLimits, call: HookCall
    ) -> Guest:
        """Make an instance and run its start function, on behalf of `call`.

        Raises ModuleRefused and GuestFailure.
        """

    def close(self) -> None:
        """Stop what the engine keeps running; its guests were closed before."""
