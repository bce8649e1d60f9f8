"""A console without a terminal, driving a core that is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from textual.message_pump import MessagePump
from textual.pilot import Pilot

from int3rceptor_tui.app import ConsoleApp
from proxy_core.config import Settings
from tests.tui.fake_control import FakeControl, FakeRunnableCore
from tests.waiting import until


class Console:
    """The app under test and its fake core."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[int], control: FakeControl) -> None:
        self.app = app
        self.pilot = pilot
        self.control = control

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def type(self, text: str) -> None:
        for character in text:
            await self.pilot.press({" ": "space", ".": "full_stop"}.get(character, character))
        await self.settle()

    async def tick(self) -> None:
        """Let what the core told come onto the screen."""
        self.app.pump._drawn_at = -1e9  # whatever drawing has cost so far
        self.app.pump.tick()
        await self.settle()

    async def settle(self) -> None:
        """Return when every message is handled and drawn, however busy the machine is.

        A pilot's own pause takes a process that was given no time for an idle one.
        """
        await self.pilot.pause()
        quiet = 0
        while quiet < 2:
            await self._let_workers_end()
            await self.pilot._wait_for_screen()
            quiet = quiet + 1 if self._is_quiet() else 0

    async def _let_workers_end(self) -> None:
        for _ in range(100):  # turns of the loop: some wait for what the test does next
            if all(worker.is_finished or worker.group == "core" for worker in self.app.workers):
                return
            await asyncio.sleep(0)

    def _is_quiet(self) -> bool:
        screen = self.app.screen
        pumps: list[MessagePump] = [self.app, *screen.walk_children(with_self=True)]
        drawn = not (screen._layout_required or screen._dirty_widgets or screen._callbacks)
        return drawn and not any(pump.message_queue_size for pump in pumps)

    @property
    def text(self) -> str:
        """What the screen shows."""
        width, height = self.app.size
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text[:width] for strip in strips[:height])

    def was_told(self, part: str) -> bool:
        """Whether the user was told something that holds `part`."""
        return any(part in note for note in self.notes)

    @property
    def notes(self) -> list[str]:
        """What the user was told so far."""
        return [note.message for note in self.app._notifications]


@asynccontextmanager
async def open_console(
    control: FakeControl | None = None,
    size: tuple[int, int] = (120, 40),
    core: FakeRunnableCore | None = None,
    settings: Settings | None = None,
) -> AsyncIterator[Console]:
    control = control or FakeControl()
    running = core or FakeRunnableCore(control)
    app = ConsoleApp(settings or Settings(), make=lambda _: running)
    async with app.run_test(size=size) as pilot:
        try:
            if running.start_error is None:
                await until(lambda: app.control is not None)
            console = Console(app, pilot, control)
            await console.tick()
            yield console
        finally:
            app.worker_core.stop()
            await until(lambda: not app.worker_core.running)
