"""A core that only pretends, run by `serve_until_signal` in a process of its own.

Usage: python -m tests.tui.fake_core BEHAVIOUR; "starting" or "stopping" is told on stderr.
"""

from __future__ import annotations

import asyncio
import sys

from int3rceptor_tui.cli import PROGRAM, hold_standard_files
from int3rceptor_tui.event_loop import loop_factory
from int3rceptor_tui.serve import serve_until_signal
from proxy_core.bus.bus import Bus
from proxy_core.errors import Int3rceptorError, ListenError
from proxy_core.model.counters import Counters
from proxy_core.model.log_line import LogLevel, LogLine


class FakeCore:
    """Behaves as told: `good`, or one of the faults tested for below."""

    def __init__(self, behaviour: str) -> None:
        self.bus = Bus()
        self.counters = Counters()
        self.listening: tuple[str, ...] = ("127.0.0.1:1", "[::1]:2")
        self.api_url = ""
        self._behaviour = behaviour
        self._stopped = asyncio.Event()

    def _say(self, text: str) -> None:
        self.bus.logs.publish(LogLine(1, "", LogLevel.INFO, 0.0, None, text))

    async def start(self) -> None:
        self._say("starting")
        if self._behaviour == "start fails":
            raise ListenError("port 1 is taken; pass --listen")
        if self._behaviour == "start hangs":
            await asyncio.sleep(1000)

    async def wait_stopped(self) -> None:
        if self._behaviour == "dies":
            raise Int3rceptorError("the core died; start it again")
        if self._behaviour == "ends":
            return
        await self._stopped.wait()

    async def stop(self) -> None:
        self._say("stopping")
        if self._behaviour == "stop hangs":
            await asyncio.sleep(1000)
        async with asyncio.timeout(5):  # works only where the cancellation was taken back
            await asyncio.sleep(0)
        self._say("stopped")
        self._stopped.set()


def main() -> int:
    hold_standard_files()
    behaviour = sys.argv[1]
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(serve_until_signal(lambda: FakeCore(behaviour)))
    except Int3rceptorError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
