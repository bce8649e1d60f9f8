"""What a core counts about itself while it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """Figures of one core. Written on its loop only, readable from any thread."""

    flows_seen: int = 0
    """Since the start."""
    active: int = 0
    """Flows that are not over, the held ones included."""
    held: int = 0
    client_connections: int = 0
    """Open now."""
    server_connections: int = 0
    """Open now, the idle ones of the pool included."""
