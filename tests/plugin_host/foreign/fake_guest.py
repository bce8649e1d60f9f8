"""A guest that is only a page of memory, an allocator and the call it is in."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

from proxy_core.model.flow import Flow
from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.files.manifest import Manifest, Permissions
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.logs import StartLog
from proxy_core.plugin_host.runtime.memory import LinearMemory

PAGE = 65536
HIGH = 0xFFFFFFFF


class FakeGuest:
    """`put` lays arguments into the lower half of the page; calls back allocate in the upper."""

    def __init__(
        self, hook: Hook = Hook.START, flow: Flow | None = None, **permissions: Any
    ) -> None:
        self.buffer = bytearray(PAGE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        self.log = StartLog(10_000)
        self.manifest = Manifest(
            "p", "p.wasm", permissions=Permissions(**permissions), config=b'{"a":1}'
        )
        self.call = HookCall(hook, self.manifest, self.log, flow)
        self.host = HostSide(self.call, LinearMemory(lambda: (address, PAGE)), self.enter)
        self.room = 64
        self.allocated = PAGE // 2
        self.entered: list[tuple[str, tuple[int, ...]]] = []

    def enter(self, entry: str, *arguments: int) -> int:
        """Be an allocator, whatever the entry's name; 0 where there is no room left."""
        self.entered.append((entry, arguments))
        size = arguments[0]
        if self.allocated + size > PAGE:
            return 0
        self.allocated += size
        return self.allocated - size

    def put(self, data: bytes) -> tuple[int, int]:
        """Lay data into memory; return where it is and how long."""
        at, self.room = self.room, self.room + len(data)
        self.buffer[at : at + len(data)] = data
        return at, len(data)

    def bytes(self, at: int, length: int) -> bytes:
        """What lies there."""
        return bytes(self.buffer[at : at + length])

    def u32(self, at: int) -> int:
        """The number that lies there."""
        number: int = struct.unpack_from("<I", self.buffer, at)[0]
        return number

    def u64(self, at: int) -> int:
        """The wide number that lies there."""
        number: int = struct.unpack_from("<Q", self.buffer, at)[0]
        return number

    @property
    def lines(self) -> list[tuple[LogLevel, str]]:
        """What was logged."""
        return [(level, text) for level, text, _ in self.log.lines]
