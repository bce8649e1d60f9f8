"""A console without a terminal, driving a core that is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        for character in text:
            await self.pilot.press({" ": "space", ".": "full_stop"}.get(character, character))
        await self.pilot.pause()

    async def tick(self) -> None:
        """Let what the core told come onto the screen."""
        self.app.pump._drawn_at = -1e9  # whatever drawing has cost so far
        self.app.pump.tick()
        await self.pilot.pause()

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
            await pilot.pause()
            console = Console(app, pilot, control)
            await console.tick()
            yield console
        finally:
            app.worker_core.stop()
            await until(lambda: not app.worker_core.running)
