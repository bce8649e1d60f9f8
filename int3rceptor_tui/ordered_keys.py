"""Keys in the order in which they were typed, however fast.

Textual hands a key to the widget that has the focus and goes on to the next one; what the first
key opens has the focus too late for it. Pasted commands, macros, `tmux send-keys` and quick
fingers over a slow line then type into the wrong place. Here each key has its effect first.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from textual import events
from textual.app import App
from textual.widget import Widget
from textual.widgets import Input

_PATIENCE = 1.0
"""Seconds to wait for a field that is busy."""


class OrderedKeys(App[int]):
    """An app that takes one key at a time."""

    last_key_at = 0.0
    """When the last one came, by `time.monotonic`."""

    async def on_event(self, event: events.Event) -> None:
        """Take keys from the terminal ourselves; the rest is Textual's."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            await self._take_key(event)
        else:
            await super().on_event(event)

    async def _take_key(self, event: events.Key) -> None:
        self.last_key_at = time.monotonic()
        await asyncio.sleep(0)  # what the key before has started asks its question, if it has one
        if not self.screen_stack:
            return  # the program ends
        if await self._check_bindings(event.key, priority=True):
            return
        target: Widget = self.focused or self.screen
        typed = isinstance(target, Input) and event.is_printable
        if typed or not await self._check_bindings(event.key):
            target._forward_event(event)
            if typed:
                taken = asyncio.Event()
                target.call_later(taken.set)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PATIENCE):
                        await taken.wait()
