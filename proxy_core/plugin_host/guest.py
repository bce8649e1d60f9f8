"""What an engine offers to the rest of the plugin host, whichever way it runs guests."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from proxy_core.plugin_host.abi import Contract, Declared
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.files.manifest import GuestLimits
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.noted_edits import NotedEdits


@dataclass(frozen=True, slots=True)
class Code:
    """A compiled module and what it declares; `handle` is the engine's own."""

    handle: Any
    imports: tuple[Declared, ...]
    exports: tuple[Declared, ...]


class Desk(Protocol):
    """Where it is written down what a guest asks for while several flows go through it."""

    takes_edits: bool
    """Whether the guest asks for any at all."""
    takes_lines: bool
    """Whether it logs."""

    @property
    def place(self) -> int:
        """Which flow the guest is in, or was when it failed."""

    def most_flows(self, fuel: float, seconds: float) -> int:
        """How many flows may go through in one entry, where one takes so much; 0 for none."""

    @property
    def has_edited(self) -> bool:
        """Whether edits of the flow are noted that the guest is in."""

    def lay_out(self, flows: int, room: int, lines: int) -> None:
        """Make ready for `flows` flows that have `room` for more fields, and `lines` log lines."""

    def begin(self, hook: Hook) -> int | None:
        """Enter the guest, as `Guest.begin` does, for all flows that the desk is laid out for.

        What came of each is on the desk. Where this returns None, the guest is in one of them,
        whose result `Guest.finish` returns.
        """

    def begin_anew(self) -> None:
        """Give the flow that the guest is in what an entry of its own gets of fuel and time.

        The guest's `fuel_used` is then what was used so far, and later what the rest has used.
        """

    def note_no_more(self) -> None:
        """Have the host functions answer for the rest of this flow."""

    def stop(self) -> None:
        """Have the guest return behind this flow."""

    def codes(self, flows: int) -> list[int] | None:
        """What the hook has returned for each of the first flows; None where all are zero."""

    def edits_of(self, place: int) -> NotedEdits | None:
        """What is noted of the edits of the flow that the guest is in."""

    def edits(self, flows: int) -> list[NotedEdits | None] | None:
        """What is noted of the edits of each of the first flows; None where nothing is."""

    @property
    def has_lines(self) -> bool:
        """Whether there are log lines, or were too many."""

    def take_lines(self) -> tuple[deque[tuple[int, int, bytes]], int]:
        """Return (flow, level, text) of each log line, and how many more were over the rate."""

    def allow_lines(self, lines: int) -> None:
        """Have so many log lines noted from now on."""

    def forget(self) -> None:
        """Let go of the guest, which is closing."""


class Guest(Protocol):
    """One instance. Never entered twice at once; after a GuestFailure it is only good to close."""

    host: HostSide
    desk: Desk | None
    """Where there is one, several flows may go through the guest in one entry."""
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
