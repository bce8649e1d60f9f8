"""A guest that is a page of memory and a call: host functions by themselves."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Any

from proxy_core.model.flow import Flow
from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.files.manifest import Manifest, Permissions
from proxy_core.plugin_host.functions.host_functions import HOST_FUNCTIONS
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.logs import StartLog
from proxy_core.plugin_host.runtime.memory import LinearMemory

PAGE = 65536


class Caller:
    """A guest that is only a page of memory and the call it is in."""

    def __init__(self, hook: Hook, flow: Flow | None = None, **permissions: Any) -> None:
        self.buffer = bytearray(PAGE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        self.log = StartLog(100)
        manifest = Manifest(
            "p", "p.wasm", permissions=Permissions(**permissions), config=b'{"a":1}'
        )
        self.call = HookCall(hook, manifest, self.log, flow)
        self.host = HostSide(self.call, LinearMemory(lambda: (address, PAGE)))
        self.room = 0

    def put(self, data: bytes) -> tuple[int, int]:
        """Lay data into memory; return where it is and how long."""
        at, self.room = self.room, self.room + len(data)
        self.buffer[at : at + len(data)] = data
        return at, len(data)

    def run(self, name: str, *arguments: int | bytes) -> int:
        """Call a host function to its end; bytes become a pointer and a length."""
        numbers: list[int] = []
        for argument in arguments:
            numbers += [argument] if isinstance(argument, int) else self.put(argument)
        answer = HOST_FUNCTIONS[name].run(self.host, *numbers)
        if not isinstance(answer, int):
            return asyncio.run(answer)
        return answer

    def answer(self, name: str, *arguments: int | bytes) -> bytes | int:
        """Call a reader with enough room; return what it wrote, or its code."""
        length = self.run(name, *arguments, 32768, 32768)
        return bytes(self.buffer[32768 : 32768 + length]) if length >= 0 else length

    @property
    def lines(self) -> list[tuple[LogLevel, str]]:
        return [(level, text) for level, text, _ in self.log.lines]
