"""What a hostile module is to these tests, and the flow that it is set on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from proxy_core.model.edits import WholeBody
from proxy_core.model.flow import Flow
from tests.plugin_host.guests import make_flow

SPIN: Final = "(loop (br 0))"
ENDLESS_FUEL: Final = "[limits]\nfuel = 1_000_000_000\ndeadline_ms = 100\nmemory_mb = 4"
BODY: Final = b"the body"


@dataclass(frozen=True, slots=True)
class Hostile:
    """One module. `why` must be said in the log; `manifest` follows name and module."""

    module: bytes
    why: str
    manifest: str = ""


def beside(hostile: Hostile) -> Hostile:
    """Give a module so much memory that it runs beside the loop."""
    manifest = hostile.manifest.replace("memory_mb = 4", "memory_mb = 64") or "[limits]"
    if "memory_mb" not in manifest:
        manifest += "\nmemory_mb = 64"
    return replace(hostile, manifest=manifest)


def attacked() -> Flow:
    """A flow whose body is at the hook's hand."""
    flow = make_flow()
    flow.whole = WholeBody(BODY)
    return flow


def assert_unharmed(flow: Flow) -> None:
    """Check that a flow is as `attacked` made it."""
    assert flow.request.raw == make_flow().request.raw
    assert flow.request_received is None
    assert flow.changes == ()
    assert flow.edited_by == ()
    assert flow.annotations is None
    assert flow.whole is None or flow.whole.data == BODY
