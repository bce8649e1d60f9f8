"""What flows that go on keep of their bodies, bounded together.

A flow that is over can be dropped to make room, one that goes on cannot: of those that have not
grown for longest only the beginnings are kept, then less.
"""

from __future__ import annotations

from typing import Final

from proxy_core.model.flow import Flow
from proxy_core.model.ids import FlowId
from proxy_core.model.message import PREVIEW

_LEAST: Final = 4 * 1024


class Growing:
    """The flows that have grown since they began, and are not over."""

    def __init__(self, limit: int) -> None:
        """Let them keep about `limit` bytes of bodies."""
        self._limit = limit
        self._kept: dict[FlowId, tuple[Flow, int]] = {}  # the last that grew is the last
        self.bytes = 0

    def grew(self, flow: Flow) -> None:
        """Take note that a flow keeps more than before."""
        self.over(flow)
        kept = _kept_of(flow)
        self._kept[flow.id] = flow, kept
        self.bytes += kept
        for beginning in (PREVIEW, _LEAST):
            if self.bytes > self._limit:
                self._shed(beginning)

    def over(self, flow: Flow) -> None:
        """Take note that a flow is over."""
        _, kept = self._kept.pop(flow.id, (flow, 0))
        self.bytes -= kept

    def _shed(self, beginning: int) -> None:
        for flow_id, (flow, before) in list(self._kept.items()):
            if self.bytes <= self._limit:
                return
            flow.request_body.shed(beginning)
            flow.response_body.shed(beginning)
            kept = _kept_of(flow)
            self.bytes += kept - before
            if beginning == _LEAST:  # it will not grow any more
                self.bytes -= kept
                del self._kept[flow_id]
            else:
                self._kept[flow_id] = flow, kept


def _kept_of(flow: Flow) -> int:
    return flow.request_body.kept_size + flow.response_body.kept_size
