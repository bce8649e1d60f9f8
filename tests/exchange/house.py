"""An exchange with nothing but fakes round it, and what is true of every flow it tells of."""

from __future__ import annotations

from collections.abc import Sequence

from proxy_core.bus.bus import Bus
from proxy_core.bus.flow_ring import FlowRing
from proxy_core.config import Limits
from proxy_core.exchange.capture import CaptureQueue
from proxy_core.exchange.connections import Connections
from proxy_core.exchange.exchange import Exchange
from proxy_core.exchange.held import HeldFlows
from proxy_core.exchange.hooks import Hooks
from proxy_core.exchange.ledger import Ledger
from proxy_core.model.counters import Counters
from proxy_core.model.flow import Flow, FlowState
from proxy_core.wire.events import ResponseReceived
from tests.exchange.fakes import FakeUpstream, FakeUpstreams


class CountingRing(FlowRing):
    """A ring that knows how often each flow was settled."""

    def __init__(self) -> None:
        super().__init__(10**9)
        self.settled: list[int] = []

    def settle(self, flow: Flow) -> None:
        self.settled.append(flow.id)
        super().settle(flow)


class News:
    """Everything that was published about flows, as it was at that moment."""

    def __init__(self) -> None:
        self.items: list[tuple[int, FlowState, int]] = []
        """Number, state, and bytes of the response so far."""

    def put(self, item: Flow) -> None:
        self.items.append((item.id, item.state, item.response_body.size))

    @property
    def states(self) -> list[FlowState]:
        return [state for _, state, _ in self.items]


class House:
    """An exchange and all that it needs."""

    def __init__(
        self, body_limit: int = 1_000_000, pseudonym: str = "", reverse_pseudonym: str = ""
    ) -> None:
        self.hooks = Hooks()
        self.upstreams = FakeUpstreams()
        self.counters = Counters()
        self.held = HeldFlows()
        self.captures = CaptureQueue(self.hooks)
        self.flows = CountingRing()
        self.news = News()
        bus = Bus()
        bus.flows.attach(self.news)
        ledger = self.ledger = Ledger(
            flows=self.flows,
            bus=bus,
            counters=self.counters,
            captures=self.captures,
            body_limit=body_limit,
            growing_limit=Limits().captured_growing,
        )
        self.exchange = Exchange(
            ledger=ledger,
            hooks=self.hooks,
            upstreams=self.upstreams,
            held=self.held,
            pseudonym=pseudonym,
            reverse_pseudonym=reverse_pseudonym,
        )
        self.connections = Connections(ledger=ledger, hooks=self.hooks, upstreams=self.upstreams)

    @property
    def flow(self) -> Flow:
        """The only flow there is."""
        (flow,) = self.flows
        return flow

    def origin(
        self, *heads: ResponseReceived | Exception, body: Sequence[bytes] = ()
    ) -> FakeUpstream:
        """Return an origin that the next new connection leads to."""
        upstream = FakeUpstream(*heads)
        if body:
            upstream.body(*body)
        self.upstreams.new.append(upstream)
        return upstream

    def check(self) -> None:
        """Hold all flows to what is true of every flow once it is over."""
        numbers = [flow.id for flow in self.flows]
        assert sorted(self.flows.settled) == numbers, "each flow is settled once"
        assert self.counters.flows_seen == len(numbers)
        assert (self.counters.active, self.counters.held, len(self.held)) == (0, 0, 0)
        for flow in self.flows:
            assert flow.state is (FlowState.DONE if flow.error is None else FlowState.FAILED)
            states = [state for number, state, _ in self.news.items if number == flow.id]
            assert states[0] is FlowState.ACTIVE
            assert states[-1] is flow.state
            assert flow.state not in states[:-1], "the end is told once, and last"
            times = (flow.started, flow.request_sent, flow.first_byte, flow.ended)
            assert flow.ended is not None
            assert all(flow.started <= time <= flow.ended for time in times if time is not None)
        for upstream in self.upstreams.given:
            assert upstream.ends, "a connection was left lying"
