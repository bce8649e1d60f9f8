"""What the runtime and the host functions know of each other, free of any WebAssembly library.

A `HostFunction` is one import a guest may have; `HostSide` is what such a function sees of the
guest that called it: its memory, and the call that is under way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from proxy_core.plugin_host.call import HookCall

ValueType = Literal["i32", "i64"]


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

    __slots__ = ("call", "memory")

    def __init__(self, call: HookCall, memory: GuestMemory) -> None:
        self.call = call
        self.memory = memory


@dataclass(frozen=True, slots=True)
class HostFunction:
    """One import of module `env`.

    `run` gets the HostSide and the arguments as unsigned integers, and returns the result, which
    may be negative. It may raise GuestAborted, and nothing else.
    """

    name: str
    since: int
    """The first version of the ABI that has it."""
    params: tuple[ValueType, ...]
    result: ValueType
    run: Callable[..., int]
    pointers: bool = True
    """Whether it reads or writes the guest's memory."""
