"""What a handler hands over and gets back through its memory; everything wrong in it traps."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NoReturn

from proxy_core.model.headers import text_of
from proxy_core.model.words import counted
from proxy_core.plugin_host.codes import NOT_PERMITTED, OK, OVER_LIMIT
from proxy_core.plugin_host.faults import HostCallFailed
from proxy_core.plugin_host.foreign.http_wasm.passage import Instance, Passage
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.hook.call import HookCall

SHOWN: Final = 80
"""Bytes of an argument that a message repeats."""


def refuse(function: str, why: str) -> NoReturn:
    """Trap: `function` cannot do what it was asked."""
    raise HostCallFailed(f"was stopped in {function}: {why}")


def instance_of(host: HostSide) -> Instance:
    """Return what belongs to the guest; made when it first calls, be it while it starts."""
    if host.state is None:
        host.state = Instance()
    found: Instance = host.state
    return found


def passage_of(host: HostSide, function: str) -> Passage:
    """Return the flow at hand. Traps where there is none."""
    passage = instance_of(host).passage
    if passage is None:
        refuse(function, "there is no request while the plugin is loaded")
    return passage


def read(host: HostSide, function: str, what: str, at: int, length: int, most: int) -> bytes:
    """Copy what the handler hands over, at most `most` bytes."""
    if not length:
        return b""
    if length > most:
        refuse(function, f"its {what} has {length} bytes; at most {most}")
    data = host.memory.read(at, length)
    if data is None:
        refuse(function, f"{counted(length, 'byte')} at {at} ({what}) outside its memory")
    return data


def answer(host: HostSide, function: str, data: bytes, at: int, limit: int) -> int:
    """Write `data` where it fits into `limit` bytes, and return its length in any case."""
    length = len(data)
    if 0 < length <= limit and not host.memory.write(at, data):
        refuse(function, f"{counted(length, 'byte')} at {at} outside its memory")
    return length


def answer_list(host: HostSide, function: str, items: Sequence[bytes], at: int, limit: int) -> int:
    """Write items that each end with a zero byte; return `count << 32 | length`."""
    data = b"".join([b"%b\0" % item for item in items])
    return len(items) << 32 | answer(host, function, data, at, limit)


def check(function: str, code: int, what: bytes) -> None:
    """Trap where a draft answered with a code for why not."""
    if code >= OK:
        return
    shown = text_of(what[:SHOWN])
    if code == NOT_PERMITTED:
        refuse(function, f"{shown!r} may not be written there")
    if code == OVER_LIMIT:
        refuse(function, f"{shown!r} is more than the message may hold")
    refuse(function, f"{shown!r} cannot be written to this message")


def need_permission(call: HookCall, function: str, name: str) -> None:
    """Trap where the manifest withholds the permission `name`."""
    if not getattr(call.manifest.permissions, name):
        refuse(function, f"its manifest withholds permissions.{name}")


def signed(number: int) -> int:
    """Read an unsigned 32-bit argument as signed."""
    low: int = struct.unpack("<i", struct.pack("<I", number & 0xFFFFFFFF))[0]
    return low
