"""The flows in memory: keyed by id, in order of arrival, bounded in bytes.

Flows are weighed when they are over, and long ones now and then before; one that is under way
weighs what it weighed last. The flow that has been over for longest goes first; flows still active
are never evicted.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy_core.bus.topic import Topic
from proxy_core.model.flow import Flow, FlowState
from proxy_core.model.ids import FlowId

_UNDER_WAY = (FlowState.ACTIVE, FlowState.HELD)


class FlowRing:
    """A bounded, ordered map of flows. Written by the core's loop, readable from any thread."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.evicted = 0
        """How many flows were dropped to keep within the bound."""
        self.removed: Topic[FlowId] = Topic()
        """Every flow that goes, whatever the reason."""
        self._flows: dict[FlowId, Flow] = {}
        self._weights: dict[FlowId, int] = {}  # of those weighed, in the order they ended

    def add(self, flow: Flow) -> None:
        """Put in a flow that has just begun."""
        self._flows[flow.id] = flow

    def settle(self, flow: Flow) -> None:
        """Weigh a flow that is over, and evict the oldest ones beyond the bound."""
        self.weigh(flow)

    def weigh(self, flow: Flow) -> None:
        """Weigh a flow that has grown, over or not, and evict the oldest ones beyond the bound."""
        if flow.id not in self._flows:
            return
        weight = flow.weight
        # Taken out and put in again: the order is that of the last weighing.
        self.bytes += weight - self._weights.pop(flow.id, 0)
        self._weights[flow.id] = weight
        if self.bytes > self.max_bytes:
            self._evict(keep=flow.id)

    def _evict(self, keep: FlowId) -> None:
        victims = []
        excess = self.bytes - self.max_bytes
        for flow_id, weight in self._weights.items():
            if excess <= 0:
                break
            if flow_id == keep or self._flows[flow_id].state in _UNDER_WAY:
                continue
            victims.append(flow_id)
            excess -= weight
        for flow_id in victims:
            self.remove(flow_id)
            self.evicted += 1

    def remove(self, flow_id: FlowId) -> None:
        """Forget one flow; harmless when it is gone already."""
        if self._flows.pop(flow_id, None) is not None:
            self.bytes -= self._weights.pop(flow_id, 0)
            self.removed.publish(flow_id)

    def clear(self) -> int:
        """Forget every flow that is over; return how many there were."""
        over = [i for i, flow in self._flows.items() if flow.state not in _UNDER_WAY]
        for flow_id in over:
            self.remove(flow_id)
        return len(over)

    def get(self, flow_id: FlowId) -> Flow | None:
        """Return one flow, or None where it is unknown or was evicted."""
        return self._flows.get(flow_id)

    def snapshot(self) -> list[Flow]:
        """Every flow, oldest first. Atomic: `list` of a dict's values does not yield the GIL."""
        return list(self._flows.values())

    def __contains__(self, flow_id: object) -> bool:
        return flow_id in self._flows

    def __iter__(self) -> Iterator[Flow]:
        return iter(self.snapshot())

    def __len__(self) -> int:
        return len(self._flows)
