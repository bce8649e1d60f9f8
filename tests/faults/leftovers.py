"""What must not be left when all is over."""

from __future__ import annotations

import contextlib
import gc
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.faults.world import OVER, World

_KEPT = "memfd:int3rceptor"
"""What the loader of certificate chains opens once."""


def open_files() -> set[tuple[str, str]]:
    """What the process has open (Linux)."""
    found = set()
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.add((file.name, str(file.readlink())))
    return {(number, what) for number, what in found if _KEPT not in what}


@contextlib.contextmanager
def nothing_unraisable(complaints: list[str]) -> Iterator[None]:
    """Note what nobody could be told: errors in finalizers, coroutines that were not awaited."""

    def note(unraisable: Any) -> None:
        complaints.append(f"unraisable: {unraisable.exc_value!r} in {unraisable.object!r}")

    before, sys.unraisablehook = sys.unraisablehook, note
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
            gc.collect()
    finally:
        sys.unraisablehook = before


def complaints_about(world: World, broke: bool) -> Iterator[str]:
    """Say what is left of connections and exchanges; `broke` if the scenario did not go through."""
    core, pool, dialer = world.core, world.pool, world.dialer
    buffers = dialer._tls_buffers
    left = {
        "active flows": core.counters.active,
        "held flows": core.counters.held,
        "client connections": core.counters.client_connections,
        "server connections": core.counters.server_connections,
        "waiting for the user": len(core.held),
        "open WebSockets": len(core.web_sockets._open),
        "idle upstreams": pool._idle_count + len(pool._idle),
        "shared upstreams": len(pool._shared),
        "dials under way": len(pool._dialling),
        "open channels": len(dialer._open),
        "dialled addresses": len(dialer._own._dialled),
        "watched deadlines": len(dialer._clock),
        "bytes in shared TLS buffers": buffers.incoming.pending + buffers.outgoing.pending,
    }
    for what, count in left.items():
        if count:
            yield f"{count} {what} left"
    for flow in core.flows:
        if flow.state not in OVER:
            yield f"flow {flow.id} is {flow.state}"
        if flow.error is not None and "fault of the proxy" in flow.error:
            yield f"flow {flow.id}: {flow.error}"
        if flow.whole is not None:
            yield f"flow {flow.id} keeps a whole body"
    well = [flow for flow in world.under_way if flow.error is None]
    if broke and len(well) > world.answered - world.answered_before:
        yield f"ended well, as they say, though not at the client: {[flow.id for flow in well]}"
