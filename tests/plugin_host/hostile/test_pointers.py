"""Every pointer and length at and past the edge of memory, for every host function there is.

The matrix is made from the table of host functions, by the habit of the ABI: from the right, each
pointer with its length behind it. So a function that is added is tried from its first day.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator

import pytest

from proxy_core.model.edits import WholeBody
from proxy_core.model.plugin_status import AskedPermission, PermissionState
from proxy_core.model.verdict import CONTINUE
from proxy_core.model.websocket import WebSocketMessage
from proxy_core.plugin_host.belongings.grants import Permits
from proxy_core.plugin_host.codes import HOOKS, NOT_IN_HOOK, PIECE_HOOKS, Hook
from proxy_core.plugin_host.faults import GuestAborted
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.functions.host_functions import HOST_FUNCTIONS
from proxy_core.plugin_host.functions.host_side import HostFunction, HostSide
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.logs import StartLog
from proxy_core.plugin_host.runtime.memory import LinearMemory
from tests.plugin_host.guests import Host, make_client, make_flow, respond_with, wasm
from tests.plugin_host.hostile.hostile import attacked

PAGE = 65536
OFFSETS = (0, PAGE - 1, PAGE, 2**31, 2**32 - 1)
LENGTHS = (0, 1, PAGE, 2**32 - 1)
REGIONS = tuple(itertools.product(OFFSETS, LENGTHS))
TAKES_POINTERS = sorted(name for name, f in HOST_FUNCTIONS.items() if f.pointers)


def pairs_of(function: HostFunction) -> int:
    """How many pointers with lengths it takes."""
    return sum(kind == "i32" for kind in function.params) // 2


def arguments(function: HostFunction) -> Iterator[list[int]]:
    """Every combination of regions; what is no pointer is 1."""
    for regions in itertools.product(REGIONS, repeat=pairs_of(function)):
        numbers = list(itertools.chain(*regions))
        narrow = sum(kind == "i32" for kind in function.params)
        numbers = [1] * (narrow - len(numbers)) + numbers
        yield [numbers.pop(0) if kind == "i32" else 1 for kind in function.params]


def call_of(hook: Hook) -> HookCall:
    """A call with whatever a hook may be about."""
    flow = make_flow()
    if hook in (Hook.RESPONSE, Hook.RESPONSE_CHUNK, Hook.CAPTURE, Hook.WEBSOCKET_MESSAGE):
        respond_with(flow)
    flow.whole = WholeBody(b"whole")
    flow.request_body.feed(b"captured")
    flow.response_body.feed(b"captured")
    about_nothing = hook in (Hook.START, Hook.TICK, Hook.CONNECT)
    manifest = Manifest("p", "p.wasm")
    call = HookCall(hook, manifest, StartLog(10**6), None if about_nothing else flow)
    if hook is Hook.CONNECT:
        call.client, call.authority = make_client(), b"example.com:443"
    if hook in PIECE_HOOKS:
        call.piece = b"piece"
    if hook in (Hook.WEBSOCKET_MESSAGE, Hook.RULE_MATCH):
        call.message = WebSocketMessage(True, 2, 0.0, b"message")
    if hook is Hook.RULE_MATCH:
        call.rule_id = "modify-messages 1"
    return call


class Fenced:
    """A page of memory between two others that nobody may touch."""

    def __init__(self, hook: Hook) -> None:
        self.bytes = bytearray(b"\xaa" * PAGE + bytes(PAGE) + b"\xaa" * PAGE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.bytes))
        call = call_of(hook)
        granted = [
            AskedPermission("network", ("*.test",), PermissionState.GRANTED),
            AskedPermission("filesystem", ("/nowhere",), PermissionState.GRANTED),
        ]
        call.belongings.permits = Permits("00", granted)
        self.host = HostSide(call, LinearMemory(lambda: (base + PAGE, PAGE)))

    @property
    def fence_stands(self) -> bool:
        return self.bytes[:PAGE] == self.bytes[-PAGE:] == b"\xaa" * PAGE

    @property
    def page(self) -> bytes:
        return bytes(self.bytes[PAGE:-PAGE])


@pytest.mark.parametrize("hook", [*HOOKS, Hook.START])
@pytest.mark.parametrize("name", TAKES_POINTERS)
def test_no_region_makes_a_host_function_fail_or_reach_outside(name: str, hook: Hook) -> None:
    function = HOST_FUNCTIONS[name]
    fenced = Fenced(hook)
    for numbers in arguments(function):
        before = fenced.page
        try:
            answer = function.run(fenced.host, *numbers)
        except GuestAborted:
            assert name == "host_abort"
            continue
        assert isinstance(answer, int)
        assert answer >= NOT_IN_HOOK
        if answer < 0:
            assert fenced.page == before
    assert fenced.fence_stands


def guest_that_tries(function: HostFunction) -> bytes:
    """A module that calls one host function with every combination, and traps at a wild answer."""
    pairs = pairs_of(function)
    narrow = sum(kind == "i32" for kind in function.params)
    at_offset = "(i32.load offset=8192 (i32.shl (local.get {0}) (i32.const 3)))"
    at_length = "(i32.load offset=8196 (i32.shl (local.get {0}) (i32.const 3)))"
    given = ["(i32.const 1)"] * (narrow - 2 * pairs)
    for pair in range(pairs):
        given += [at_offset.format(pair), at_length.format(pair)]
    call = " ".join(given.pop(0) if kind == "i32" else "(i64.const 1)" for kind in function.params)
    body = f"(if ({function.result}.lt_s (call $f {call}) ({function.result}.const -5))"
    body += " (then unreachable)) (global.set $calls (i32.add (global.get $calls) (i32.const 1)))"
    for pair in range(pairs):
        body = (
            f"(local.set {pair} (i32.const 0)) (loop $l{pair} {body}"
            f" (local.set {pair} (i32.add (local.get {pair}) (i32.const 1)))"
            f" (br_if $l{pair} (i32.lt_u (local.get {pair}) (i32.const {len(REGIONS)}))))"
        )
    table = b"".join(n.to_bytes(4, "little") for region in REGIONS for n in region)
    data = "".join(f"\\{byte:02x}" for byte in table)
    return wasm(
        f"""(module (import "env" "{function.name}"
              (func $f (param {" ".join(function.params)}) (result {function.result})))
            (memory (export "memory") 1) (data (i32.const 8192) "{data}")
            (global $calls (mut i32) (i32.const 0))
            (func (export "int3_abi_version") (result i32) i32.const 1)
            (func (export "on_request") (result i32) (local {"i32 " * pairs}) {body}
              (i32.ne (global.get $calls) (i32.const {len(REGIONS) ** pairs}))))"""
    )


@pytest.mark.parametrize("name", [name for name in TAKES_POINTERS if name != "host_abort"])
async def test_no_region_harms_the_flow_from_within_a_guest(any_host: Host, name: str) -> None:
    limits = "[limits]\nfuel = 1_000_000_000\nlog_lines_per_second = 100000"
    await any_host.load("hostile", guest_that_tries(HOST_FUNCTIONS[name]), limits)
    flow = attacked()
    assert await any_host.request(flow) is CONTINUE
    assert any_host.status("hostile").last_error is None
    assert flow.request.raw == make_flow().request.raw


@pytest.mark.parametrize(("at", "length"), REGIONS)
def test_an_abort_tells_its_message_or_that_it_cannot_be_read(at: int, length: int) -> None:
    with pytest.raises(GuestAborted) as caught:
        HOST_FUNCTIONS["host_abort"].run(Fenced(Hook.REQUEST).host, at, length)
    inside = at + min(length, 8192) <= PAGE
    assert ("bad pointer" in str(caught.value)) is not inside
