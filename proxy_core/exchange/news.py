"""Word of a flow that goes on: not too often, and never too late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy_core.model.flow import Flow

LIVE_INTERVAL = 0.25
"""Seconds between two news of one flow."""
_GROWTH = 32 * 1024
"""Bytes kept that are news by themselves: all flows together may keep so many."""


class News:
    """Tells that a flow has grown, at once or `interval` seconds after it was told last."""

    __slots__ = ("_flow", "_interval", "_kept", "_loop", "_publish", "_timer", "_told")

    def __init__(
        self, flow: Flow, publish: Callable[[Flow], None], interval: float = LIVE_INTERVAL
    ) -> None:
        self._flow = flow
        self._publish = publish
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._told = self._loop.time() - interval
        self._timer: asyncio.TimerHandle | None = None
        self._kept = 0

    def note(self) -> None:
        """Take note that there is something new."""
        flow = self._flow
        kept = flow.request_body.kept_size + flow.response_body.kept_size
        if kept > self._kept + _GROWTH:
            self._kept = kept
            self.cancel()
            self._tell()
        elif self._timer is None:
            at = self._told + self._interval
            if at <= self._loop.time():
                self._tell()
            else:
                self._timer = self._loop.call_at(at, self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._told = self._loop.time()
        self._publish(self._flow)

    def cancel(self) -> None:
        """Tell nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
