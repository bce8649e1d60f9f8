"""A flow's life: begun, told of, weighed, ended. The only place where flows are counted."""

from __future__ import annotations

import itertools
import time

from proxy_core.bus.bus import Bus
from proxy_core.bus.flow_ring import FlowRing
from proxy_core.exchange.capture import CaptureQueue
from proxy_core.exchange.growing import Growing
from proxy_core.model.connection import ClientConnection
from proxy_core.model.counters import Counters
from proxy_core.model.flow import Flow, FlowKind, FlowState
from proxy_core.model.ids import FlowId
from proxy_core.model.message import Body, RequestHead


class Ledger:
    """Keeps the flows of one core; `begin` and `end` each once for a flow."""

    def __init__(
        self,
        *,
        flows: FlowRing,
        bus: Bus,
        counters: Counters,
        captures: CaptureQueue,
        body_limit: int,
        growing_limit: int,
    ) -> None:
        """`body_limit` is how many bytes of each body are kept, `growing_limit` while they come."""
        self._growing = Growing(growing_limit)
        self._flows = flows
        self._news = bus.flows
        self._counters = counters
        self._captures = captures
        self._body_limit = body_limit
        self._ids = itertools.count(1)

    def begin(
        self, client: ClientConnection, head: RequestHead, kind: FlowKind = FlowKind.HTTP
    ) -> Flow:
        """Return a new flow, which everybody knows of."""
        flow = Flow(FlowId(next(self._ids)), client, head, time.time(), self._body_limit, kind)
        counters = self._counters
        counters.flows_seen += 1
        counters.active += 1
        self._flows.add(flow)
        self._news.publish(flow)
        return flow

    def new_body(self) -> Body:
        """Return an empty capture of a body, for one that begins anew."""
        return Body(self._body_limit)

    def tell(self, flow: Flow) -> None:
        """Let everybody know that a flow has changed."""
        self._news.publish(flow)

    def grew(self, flow: Flow) -> None:
        """Take note that a flow that goes on keeps more bytes than before.

        Where all flows together keep too much, and there is none left that is over, this one keeps
        the beginnings of its bodies only.
        """
        flows = self._flows
        self._growing.grew(flow)
        flows.weigh(flow)
        if flows.bytes > flows.max_bytes:
            flow.request_body.shed()
            flow.response_body.shed()
            flows.weigh(flow)
        self._news.publish(flow)

    def changed(self, flow: Flow) -> None:
        """Take note that a flow that is over has been changed."""
        flow.compact()
        self._flows.weigh(flow)
        self._news.publish(flow)

    def hold(self, flow: Flow) -> None:
        """Take note that a flow waits for somebody's decision; `resume` follows."""
        flow.state = FlowState.HELD
        self._counters.held += 1
        self._news.publish(flow)

    def resume(self, flow: Flow) -> None:
        """Take note that a held flow waits no more, for whatever reason."""
        self._counters.held -= 1
        flow.state = FlowState.ACTIVE

    def end(self, flow: Flow) -> None:
        """Take note that a flow is over; it failed where it has an error."""
        flow.ended = time.time()
        flow.state = FlowState.DONE if flow.error is None else FlowState.FAILED
        flow.compact()
        self._growing.over(flow)
        self._counters.active -= 1
        self._flows.settle(flow)
        self._news.publish(flow)
        self._captures.put(flow)
