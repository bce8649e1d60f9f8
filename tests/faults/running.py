"""One run of a scenario, with one fault or none, and what has to hold afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import proxy_core.core
import proxy_core.net.clock
from proxy_core.exchange.hooks import Hooks
from proxy_core.model.log_line import LogLevel
from proxy_core.net.upstream_tls import TlsPolicy, UpstreamTls
from proxy_core.plugin_host.manager import PluginManager
from tests.faults.injection import Fault
from tests.faults.leftovers import complaints_about, nothing_unraisable, open_files
from tests.faults.virtual_loop import VirtualLoop
from tests.faults.watching import Place
from tests.faults.world import ORIGIN_ADDRESS, Scenario, World, certificates
from tests.waiting import until

_SWEEP = 45.0
_TASKS_THAT_STAY = 2  # of the core: clock and captures
_SOON = 0.5
_LOOK = 50.0
_LOOKS = 2  # one may fall between two connections
_LONGEST = 1000.0
"""Seconds after which everything that a fault has left must be over, whatever it was."""


class Broken(Exception):
    """A run has shown that something is wrong; the text says what, line by line."""


@functools.cache
def _upstream_tls() -> UpstreamTls:
    """One for all runs: to read the system's roots takes longer than a run."""
    return UpstreamTls(TlsPolicy(upstream_ca=certificates()[0]))


async def _nothing(self: object) -> None:
    """Neither look for plugins nor have threads for them."""


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Spare every run what takes long and tells nothing."""
    gc.collect()
    gc.freeze()  # what is there already need not be looked through after each run
    with (
        contextlib.ExitStack() as stack,
        mock.patch.object(
            proxy_core.core, "UpstreamTls", side_effect=lambda policy: _upstream_tls()
        ),
        mock.patch.object(proxy_core.net.clock, "SWEEP_INTERVAL", _SWEEP),
        mock.patch.object(PluginManager, "start", _nothing),
        mock.patch.object(PluginManager, "stop", _nothing),
    ):
        stack.callback(gc.unfreeze)
        yield


def run_once(scenario: Scenario, data_dir: Path, tried: set[tuple[Place, Fault]] | None) -> World:
    """Run with the first fault that was not tried yet, or with none, given None. Raises Broken."""
    before = open_files()
    loop = VirtualLoop()
    complaints: list[str] = []

    async def work() -> World:
        world = World(scenario, loop, data_dir, tried)
        try:
            await _run(world)
        finally:
            world.close()
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        world.complaints += [f"a task is left: {one}" for one in left]
        return world

    with nothing_unraisable(complaints):
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            world = runner.run(work())
        gc.collect()
    complaints = world.complaints + complaints
    if left := open_files() - before:
        complaints.append(f"files are left open: {left}")
    if complaints:
        raise Broken("\n".join([f"{scenario.name}: {_what_happened(world)}", *complaints]))
    return world


def _what_happened(world: World) -> str:
    if world.injected is None:
        return "nothing went wrong, and yet"
    place, fault = world.injected
    return "\n    ".join([f"{fault} at", *map(str, place.chain), place.below])


async def _run(world: World) -> None:
    await world.begin()
    await until(lambda: len(world.core._tasks) <= _TASKS_THAT_STAY)
    world.armed = True
    loop = world.loop
    playing = loop.create_task(world.play())
    fault = loop.create_task(world.fault.wait())
    await asyncio.wait([playing, fault], return_when=asyncio.FIRST_COMPLETED)
    fault.cancel()
    if playing.done() and not world.injected:
        playing.result()
    loop.skipping = True
    await _let_it_end(world, playing)
    world.armed = loop.skipping = False
    broke = not playing.done() or playing.cancelled() or playing.exception() is not None
    playing.cancel()
    await asyncio.wait([playing])
    world.complaints += complaints_about(world, broke)
    if not world.stopping:
        try:
            async with asyncio.timeout(10):
                await _serve_the_next(world)
        except (TimeoutError, AssertionError, ConnectionError) as error:
            world.complaints.append(f"the next request is not served: {error!r}")
    world.close()
    await world.core.stop()
    await asyncio.gather(*world._side, return_exceptions=True)
    for line in world.logs.drain():
        if line.level is LogLevel.ERROR:
            world.complaints.append(f"logged: {line.text}")


async def _let_it_end(world: World, playing: asyncio.Task[None]) -> None:
    """Let time pass until nothing goes on any more; the scenario may wait for ever."""
    if world.ending is not None:
        await asyncio.wait([world.ending], timeout=_SOON)
        if not world.ending.done():
            world.complaints.append(f"goes on, though cancelled: {world.waiting()}")
    looks, over = 0, world.loop.time() + _LONGEST
    while looks < _LOOKS and not (playing.done() and world.settled):
        if world.loop.time() > over:
            world.complaints.append(f"after {_LONGEST:g} s something goes on: {world.waiting()}")
            return
        if playing.done():
            await asyncio.sleep(_LOOK)
        else:
            await asyncio.wait([playing], timeout=_LOOK)
        looks = looks + 1 if world.settled else 0


async def _serve_the_next(world: World) -> None:
    """Send one more request, which nothing goes wrong with."""
    for slot in Hooks.__slots__:
        setattr(world.core.hooks, slot, None)
    client = world.client()
    where = b"%b:%d" % (ORIGIN_ADDRESS.encode(), world.origin.port)
    line = b"Proxy-Authorization: Basic dXNlcjpwYXNz"
    await client.send(b"GET http://%b/next HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % (where, line))
    while True:
        origin = await world.accept()  # what a fault cut off may still be there
        with contextlib.suppress(AssertionError, ConnectionError):
            if b"/next" in await origin.read_head():
                break
    await origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (await client.read_until(b"ok")).startswith(b"HTTP/1.1 200 ")
