"""A console's feed from a core in the same process.

The core's thread only notes that something happened to a flow, once per flow however often it is
published; the console's thread builds summaries of what it takes. The notes are ids: a console that
stopped draining keeps no flow alive beyond the ring's bound. Whatever was lost meanwhile, and what
was there before the first drain, comes from the rings.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from proxy_core.control.parts import CoreParts
from proxy_core.control.render import summarize
from proxy_core.control.views import FlowSummary, Update
from proxy_core.model.flow import Flow
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLine
from proxy_core.model.plugin_status import PluginStatus

NEWS_LIMIT = 16_384
"""Flows changed or removed, and log lines written, between two drains, before the feed turns to
the rings."""

PLUGIN_NEWS_LIMIT = 256


class FlowNews:
    """The ids of flows that were published since they were taken last, each once, within a bound.

    Written by the core's thread, taken by one other. An id leaves `_noted` before its flow is
    looked at, so a change that comes later is noted again and none falls between.
    """

    __slots__ = ("_limit", "_noted", "_queue", "lost")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: deque[FlowId] = deque()
        self._noted: set[FlowId] = set()
        self.lost = 0
        """How many notes found no room, since the start."""

    def put(self, flow: Flow) -> None:
        """Note that something happened to `flow`."""
        if flow.id in self._noted:
            return
        if len(self._queue) >= self._limit:
            self.lost += 1
            return
        self._noted.add(flow.id)
        self._queue.append(flow.id)

    def take(self) -> list[FlowId]:
        """Return the ids noted, in the order of their first change."""
        taken = [self._queue.popleft() for _ in range(len(self._queue))]
        self._noted.difference_update(taken)
        return taken


class LocalFeed:
    """A `Feed`; belongs to the one thread that drains it."""

    def __init__(self, parts: CoreParts, limit: int = NEWS_LIMIT) -> None:
        """Start collecting; `limit` bounds the flows, and the lines, waiting between drains."""
        self._parts = parts
        self._limit = limit
        self._closed = False
        self._first = True
        self._flow_news = FlowNews(limit)
        self._flows_lost = 0
        self._pending: dict[FlowId, None] = {}
        self._known: set[FlowId] = set()  # given out, and not told to be gone
        self._removed = parts.flows.removed.subscribe(limit)
        self._removed_lost = 0
        self._lines = parts.bus.logs.subscribe(limit)
        self._lines_lost = 0
        self._line_backlog: deque[LogLine] = deque()
        self._last_seq = 0
        self._plugins = parts.bus.plugins.subscribe(PLUGIN_NEWS_LIMIT)
        self._plugins_lost = 0
        parts.bus.flows.attach(self._flow_news)

    def drain(self, max_flows: int = 500, max_logs: int = 500) -> Update:
        """Return what is new; empty once the feed is closed."""
        if self._closed:
            return Update()
        gone = self._drain_removed()
        flows, lost_flows = self._drain_flows(max_flows)
        logs, lost_logs = self._drain_logs(max_logs)
        plugins = self._drain_plugins()
        self._first = False
        return Update(
            flows=flows,
            gone=gone,
            logs=logs,
            plugins=plugins,
            lost_flows=lost_flows,
            lost_logs=lost_logs,
        )

    def close(self) -> None:
        """Stop collecting; idempotent."""
        self._closed = True
        bus = self._parts.bus
        bus.flows.unsubscribe(self._flow_news)
        self._removed.close()
        self._lines.close()
        self._plugins.close()

    def _drain_flows(self, limit: int) -> tuple[tuple[FlowSummary, ...], int]:
        ring = self._parts.flows
        pending = self._pending
        lost = self._flow_news.lost - self._flows_lost
        self._flows_lost += lost
        news = self._flow_news.take()
        if self._first or lost:
            pending = self._pending = dict.fromkeys([flow.id for flow in ring.snapshot()])
        else:
            pending.update(dict.fromkeys(news))
            if len(pending) > len(ring) + self._limit:  # most of it was evicted meanwhile
                pending = self._pending = dict.fromkeys([i for i in pending if i in ring])
        batch = list(islice(pending, limit))
        for flow_id in batch:
            del pending[flow_id]
        batch.sort()
        flows = (ring.get(flow_id) for flow_id in batch)
        summaries = tuple(summarize(flow) for flow in flows if flow is not None)
        self._known.update(summary.id for summary in summaries)
        return summaries, lost

    def _drain_removed(self) -> tuple[FlowId, ...]:
        removed = self._removed.drain()
        if self._removed.lost != self._removed_lost:
            self._removed_lost = self._removed.lost
            removed = [flow_id for flow_id in self._known if flow_id not in self._parts.flows]
        gone = sorted(self._known.intersection(removed))
        self._known.difference_update(gone)
        return tuple(gone)

    def _drain_logs(self, limit: int) -> tuple[tuple[LogLine, ...], int]:
        backlog = self._line_backlog
        lost = self._lines.lost - self._lines_lost
        self._lines_lost += lost
        fresh = self._lines.drain()
        if self._first or lost:
            expected = lost + len(fresh)
            kept = self._parts.plugins.logs.snapshot()
            fresh = [line for line in kept if line.seq > self._last_seq]
            lost = max(0, expected - len(fresh))
        for line in fresh:
            # The first look into the ring and the subscription overlap.
            if line.seq > self._last_seq:
                backlog.append(line)
                self._last_seq = line.seq
        while len(backlog) > self._limit:  # drained, but too few at a time to keep up
            backlog.popleft()
            lost += 1
        return tuple(backlog.popleft() for _ in range(min(limit, len(backlog)))), lost

    def _drain_plugins(self) -> tuple[PluginStatus, ...]:
        news = {status.name: status for status in self._plugins.drain()}
        if self._first or self._plugins.lost != self._plugins_lost:
            self._plugins_lost = self._plugins.lost
            return tuple(self._parts.plugins.statuses())
        return tuple(news.values())
