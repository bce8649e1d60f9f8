"""The one tick that brings news from the core to the screen.

However many flows and lines came since the last tick, there is one batch and one repaint. While
the terminal has not taken the frames before, nothing is drawn and nothing is fetched: the core
keeps the news, bounded, and the next batch is larger. The same holds while drawing takes more than
its share of the processor: the proxy in the thread beside it comes first.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from int3rceptor_tui.keymap import BY_ID, Hints
from int3rceptor_tui.view_model.first_uses import FirstUses
from int3rceptor_tui.view_model.flow_book import FlowBook
from int3rceptor_tui.view_model.log_book import LogBook
from proxy_core.control.control import Control, Feed
from proxy_core.control.views import CoreStatus, Update
from proxy_core.model.plugin_status import PluginStatus


class Books:
    """Everything the console knows about the core at the moment, and how it names its keys."""

    def __init__(self, hints: Hints = BY_ID) -> None:
        self.hints = hints
        self.flows = FlowBook()
        self.logs = LogBook()
        self.plugins: dict[str, PluginStatus] = {}
        self.first_uses = FirstUses()
        self.status: CoreStatus | None = None
        self.rate = 0.0
        """Flows per second, over the last status interval."""


_SHARE = 0.08
"""Of the time, how much may go into drawing: 20 frames a second where they are small, about 10
while every line of a large screen changes with each."""
_LONGEST_REST = 1.0
"""Seconds after which what is new is shown all the same: a second's work for keys held down, or for
the palette, would stop the news for twelve."""


class Pump:
    """Moves news from a feed into the books; `tick` is called by the console's timer."""

    def __init__(
        self,
        books: Books,
        on_update: Callable[[Update], None],
        on_status: Callable[[], None],
        is_behind: Callable[[], bool],
        clock: Callable[[], float],
        cpu_clock: Callable[[], float] = time.thread_time,
        status_interval: float = 0.5,
    ) -> None:
        self._books = books
        self._on_update = on_update
        self._on_status = on_status
        self._is_behind = is_behind
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._drawn_at = 0.0
        self._cpu_at = 0.0
        self._status_interval = status_interval
        self._control: Control | None = None
        self._feed: Feed | None = None
        self._status_at = 0.0
        self._seen = 0
        self.skipped = 0
        """Ticks at which the terminal was behind."""
        self.rested = 0
        """Ticks left out to give the processor to the proxy."""

    def attach(self, control: Control) -> None:
        """Begin with a core; what was known of another is forgotten."""
        self.detach()
        self._books.flows.clear()
        self._books.logs.clear()
        self._books.plugins.clear()
        self._control = control
        self._feed = control.subscribe()
        self._status_at = 0.0
        self._seen = 0

    def detach(self) -> None:
        """Leave the core; what is known of it stays on the screen."""
        if self._feed is not None:
            self._feed.close()
        self._feed = None
        self._control = None

    def tick(self) -> None:
        """Fetch and show what is new."""
        if self._feed is None:
            return
        if self._is_behind():
            self.skipped += 1
            return
        now, cpu = self._clock(), self._cpu_clock()
        since = now - self._drawn_at
        if since < _LONGEST_REST and cpu - self._cpu_at > _SHARE * since:
            self.rested += 1
            return
        self._drawn_at, self._cpu_at = now, cpu
        update = self._feed.drain()
        if update.flows or update.gone or update.logs or update.plugins:
            self._take(update)
        if now - self._status_at >= self._status_interval:
            self._take_status(now)

    def _take(self, update: Update) -> None:
        books = self._books
        books.flows.update(update.flows, update.gone)
        books.logs.extend(update.logs)
        for plugin in update.plugins:
            books.plugins[plugin.name] = plugin
        self._on_update(update)

    def _take_status(self, now: float) -> None:
        if self._control is None:
            return
        status = self._control.status()
        elapsed = now - self._status_at
        if self._status_at:
            self._books.rate = (status.flows_seen - self._seen) / elapsed
        self._seen = status.flows_seen
        self._status_at = now
        self._books.status = status
        self._on_status()
