"""Finished flows on their way to the `capture` hook, one after the other, behind the traffic."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from proxy_core.exchange.hooks import Hooks
from proxy_core.model.flow import Flow

_BACKLOG = 10_000


class CaptureQueue:
    """Hands each finished flow to `hooks.capture`; drops the oldest beyond the backlog."""

    def __init__(self, hooks: Hooks, on_lost: Callable[[int], None] | None = None) -> None:
        """Call `on_lost` with how many were dropped: at the first, the second, the fourth, ..."""
        self._hooks = hooks
        self._on_lost = on_lost
        self._queue: deque[Flow] = deque(maxlen=_BACKLOG)
        self._wake = asyncio.Event()
        self.dropped = 0

    def put(self, flow: Flow) -> None:
        """Queue a flow that is over; free where nobody subscribed."""
        if self._hooks.capture is None:
            return
        if len(self._queue) == _BACKLOG:
            self.dropped += 1
            if self._on_lost is not None and self.dropped.bit_count() == 1:
                self._on_lost(self.dropped)
        self._queue.append(flow)
        self._wake.set()

    async def run(self, on_changed: Callable[[Flow], None]) -> None:
        """Serve the queue until cancelled; call `on_changed` for flows that the hook changed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                hook = self._hooks.capture
                flow = self._queue.popleft()
                if hook is None:
                    continue
                if await hook(flow):
                    on_changed(flow)
                else:
                    flow.compact()  # of what it has looked at, fields were read again
