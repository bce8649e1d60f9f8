"""Whatever a handler passes as pointers, lengths and kinds: an answer or a trap, nothing else."""

from __future__ import annotations

import itertools

import pytest

from proxy_core.model.edits import WholeBody
from proxy_core.plugin_host.faults import HostCallFailed
from proxy_core.plugin_host.foreign.http_wasm.functions import FUNCTIONS
from proxy_core.plugin_host.foreign.http_wasm.passage import Features
from tests.plugin_host.foreign.fake_guest import HIGH, PAGE
from tests.plugin_host.foreign.http_wasm.handler import Handler
from tests.plugin_host.guests import make_flow

EDGES = (0, 1, PAGE - 1, PAGE, 2**31, HIGH)
REGIONS = [(at, length) for at in EDGES for length in EDGES]
OUTSIDE = [(at, length) for at, length in REGIONS if length and at + length > PAGE]


def handler(after_next: bool) -> Handler:
    flow = make_flow()
    flow.whole = WholeBody(b"body")
    made = Handler(flow, Features(7))
    made.buffer[:] = b"x" * PAGE
    return made.turn(b"body") if after_next else made


def outcome(guest: Handler, name: str, *arguments: int) -> str | None:
    """Why it trapped, or None; other exceptions go through."""
    try:
        FUNCTIONS[name].run(guest.host, *arguments)
    except HostCallFailed as failure:
        return str(failure)
    return None


@pytest.mark.parametrize("after_next", [False, True], ids=["request", "response"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_edges_are_answered_or_trap_and_then_nothing_is_written(
    name: str, after_next: bool
) -> None:
    count = len(FUNCTIONS[name].params)
    kinds = [(kind,) for kind in range(5)] if count % 2 else [()]
    for kind in kinds:
        for regions in itertools.product(REGIONS, repeat=count // 2):
            guest = handler(after_next)
            before = bytes(guest.buffer)
            why = outcome(guest, name, *kind, *itertools.chain(*regions))
            if why is not None:
                assert why.startswith(f"was stopped in {name}: ")
                assert bytes(guest.buffer) == before


@pytest.mark.parametrize(("at", "length"), OUTSIDE)
@pytest.mark.parametrize("name", ["set_method", "set_uri", "write_body", "remove_header"])
def test_what_lies_outside_memory_is_not_read(name: str, at: int, length: int) -> None:
    kind = () if name.startswith("set") else (0,)
    with pytest.raises(HostCallFailed):
        handler(False).run(name, *kind, at, length)


@pytest.mark.parametrize(
    "name", ["get_config", "get_method", "get_uri", "get_protocol_version", "get_source_addr"]
)
def test_what_lies_outside_memory_is_not_written(name: str) -> None:
    guest = handler(False)
    with pytest.raises(HostCallFailed, match="outside its memory"):
        guest.run(name, PAGE - 1, 1000)
    assert bytes(guest.buffer) == b"x" * PAGE
