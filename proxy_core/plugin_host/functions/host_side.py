"""What the runtime and the host functions know of each other, free of any WebAssembly library.

A `HostFunction` is one import a guest may have; `HostSide` is what such a function sees of the
guest that called it: its memory, and the call that is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from proxy_core.plugin_host.faults import GuestTrapped
from proxy_core.plugin_host.hook.call import HookCall

MOST_NESTED: Final = 16
"""Calls back into a guest, each from within the one before: every one takes a stack of its own."""

ValueType = Literal["i32", "i64", "f32", "f64"]


class GuestMemory(Protocol):
    """The memory that a guest exports. Offsets and lengths are unsigned 32-bit numbers."""

    def read(self, offset: int, length: int) -> bytes | None:
        """Return a copy of `length` bytes, or None where they are not all inside."""

    def write(self, offset: int, data: bytes) -> bool:
        """Put `data` at `offset`; False, and nothing written, where it does not fit inside."""

    def holds(self, offset: int, length: int) -> bool:
        """Whether `length` bytes from `offset` lie inside."""

    def pages(self) -> int:
        """The size in pages of 64 KiB."""


class HostSide:
    """One guest as its host functions see it. `call` is replaced before each entry."""

    __slots__ = ("_depth", "_enter", "call", "memory", "state", "unfinished")

    def __init__(
        self, call: HookCall, memory: GuestMemory, enter: Callable[..., int] | None = None
    ) -> None:
        self.call = call
        self.memory = memory
        self._enter = enter or _nothing_to_enter
        self._depth = 0
        self.state: Any = None
        """What a foreign ABI's host functions keep for this instance."""
        self.unfinished: dict[int, bytes] = {}
        """What it wrote to standard output (1) and error (2) since its last line ended."""

    @property
    def view(self) -> HookCall:
        """`call`, for what changes nothing of it and keeps none of it."""
        return self.call

    def enter(self, entry: str, *arguments: int) -> int:
        """Call an export while a host function runs.

        For something short, as an allocation: the loop waits for it. Raises GuestFailure, which
        the host function lets through.
        """
        if self._depth == MOST_NESTED:
            raise GuestTrapped(f"called itself through the host, {MOST_NESTED} times over")
        self._depth += 1
        try:
            return self._enter(entry, *arguments)
        finally:
            self._depth -= 1

    def forget(self) -> None:
        """Let go of the guest, which is closing."""
        self._enter = _nothing_to_enter
        self.state = None


def _nothing_to_enter(entry: str, *arguments: int) -> int:
    raise RuntimeError(f"no guest to call {entry} in")


@dataclass(frozen=True, slots=True)
class HostFunction:
    """One import.

    `run` gets the HostSide and the arguments as unsigned integers, and returns the result, which
    may be negative; one that `waits` may return a coroutine for it. It may raise GuestFailure,
    and nothing else.
    """

    name: str
    since: int
    """The first version of the ABI that has it."""
    params: tuple[ValueType, ...]
    result: ValueType | None
    run: Callable[..., int | Coroutine[Any, Any, int]]
    pointers: bool = True
    """Whether it reads or writes the guest's memory."""
    module: str = "env"
    waits: bool = False
    """Whether the guest may have to wait for the answer, while the loop goes on."""
