"""What is left of hostile modules after they have done their worst thousands of times: nothing.

The quick tests fail 10,000 times, in turns in every way that takes no time, and are refused 500
times. `pytest -m slow tests/plugin_host/hostile` takes some 20 minutes of processor time: every
module by itself, 10,000 times. Where the clock must stop one, it has a millisecond each time.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proxy_core.errors import PluginError
from proxy_core.model.verdict import CONTINUE
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.files.manifest import parse
from proxy_core.plugin_host.generation import Blueprint
from proxy_core.plugin_host.logs import StartLog
from proxy_core.plugin_host.runtime.official import OfficialEngine
from proxy_core.plugin_host.runtime.raw import RawEngine
from tests.plugin_host.guests import Host, guest, living
from tests.plugin_host.hostile.hostile import ENDLESS_FUEL, Hostile, attacked, beside
from tests.plugin_host.hostile.modules import AT_THE_DOOR, IN_A_HOOK
from tests.waiting import until

THINGS = (
    "Generation",
    "RawGuest",
    "GuestBeside",
    "OfficialGuest",
    "Store",
    "Module",
    "HookCall",
    "HostSide",
    "GuestStore",
    "Desk",
    "Several",
)
MOST_GROWTH = 8 * 1024 * 1024
SLOW_KINDS = {"endless memory growth", "endless table growth"}
QUICK = [
    name
    for name, hostile in IN_A_HOOK.items()
    if hostile.manifest != ENDLESS_FUEL and name not in SLOW_KINDS
]


def hurried(hostile: Hostile) -> Hostile:
    """Give a module a fifth of the fuel, and a millisecond where only the clock stops it."""
    manifest = hostile.manifest.replace("deadline_ms = 100", "deadline_ms = 1")
    return replace(hostile, manifest=manifest or "[limits]\nfuel = 200_000")


def resident() -> int:
    """Bytes of memory that this process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def held() -> tuple[int, ...]:
    """How many descriptors, threads and tasks there are."""
    return (
        len(list(Path("/proc/self/fd").iterdir())),
        threading.active_count(),
        len(asyncio.all_tasks()),
    )


async def assert_nothing_is_left(work: Callable[[int], Awaitable[None]], times: int) -> None:
    """Do it `times` times, and compare with how it was after a tenth of them."""
    await work(times // 10)
    things, memory, before = living(*THINGS), resident(), held()
    await work(times - times // 10)
    await until(lambda: living(*THINGS) <= things)  # a worker may hold one until its next turn
    assert resident() - memory < MOST_GROWTH
    # Workers are started as they are needed, a few in all.
    assert all(now - then < 10 for now, then in zip(held(), before, strict=True))


def hook_failures(host: Host) -> Callable[[int], Awaitable[None]]:
    """Send requests through all plugins of a host, whatever they did before."""

    async def work(times: int) -> None:
        for _ in range(times):
            for plugin in host.manager._plugins.values():
                plugin.standing.health.forget()
            assert await host.request(attacked()) is CONTINUE

    return work


def refusals(
    hostile: Hostile, engine: RawEngine | OfficialEngine
) -> Callable[[int], Awaitable[None]]:
    """Load a module that is refused."""
    manifest = parse(f'name = "hostile"\nwasm = "m.wasm"\n{hostile.manifest}')

    async def work(times: int) -> None:
        for _ in range(times):
            with pytest.raises(PluginError):
                Blueprint.draw(engine, manifest, hostile.module).build(StartLog(10))

    return work


@pytest.mark.parametrize("place", [replace, beside])
async def test_nothing_is_left_behind_by_ten_thousand_failures_of_all_kinds(
    host: Host, place: Callable[[Hostile], Hostile]
) -> None:
    for number, name in enumerate(QUICK):
        hostile = place(IN_A_HOOK[name])
        await host.load(f"h{number}", hostile.module, hostile.manifest)
    rounds = 10_000 // len(QUICK) + 1
    await assert_nothing_is_left(hook_failures(host), rounds)
    assert sum(host.status(f"h{number}").calls for number in range(len(QUICK))) >= 10_000


async def test_nothing_is_left_behind_by_failures_among_flows_of_one_entry(host: Host) -> None:
    third = """(i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
        (if (i32.eq (i32.load (i32.const 64)) (i32.const 3)) (then unreachable)) i32.const 0"""
    hostile = {name: IN_A_HOOK[name] for name in QUICK} | {
        "third": Hostile(guest(third), "trapped")
    }
    for number, each in enumerate(hostile.values()):
        # Where calls overlap, as after a trap, there would be more instances or fewer by chance.
        await host.load(f"h{number}", each.module, f"single_instance = true\n{each.manifest}")
    plugins = list(host.manager._plugins.values())

    async def work(times: int) -> None:
        for _ in range(times):
            for plugin in plugins:
                plugin.standing.forgive()
                assert plugin.manifest is not None
                flows = [attacked() for _ in range(4)]
                for _, _, answer in plugin.enter_several(Hook.REQUEST, plugin.manifest, flows):
                    assert (answer if isinstance(answer, int) else await answer) <= 0

    await assert_nothing_is_left(work, 10_000 // len(plugins) // 2)
    assert all(host.status(f"h{number}").calls > 100 for number in range(len(plugins)))


@pytest.mark.parametrize("engine", [RawEngine, OfficialEngine])
@pytest.mark.parametrize("name", ["flipped bits", "trap in start", "plugin_init that says no"])
async def test_nothing_is_left_behind_by_modules_that_were_refused(
    name: str, engine: type[RawEngine | OfficialEngine]
) -> None:
    made = engine()
    await assert_nothing_is_left(refusals(AT_THE_DOOR[name], made), 500)
    made.close()


async def test_nothing_is_left_behind_by_versions_that_were_swapped(host: Host) -> None:
    await host.load("a", guest("i32.const 0"))

    async def work(times: int) -> None:
        for _ in range(times):
            assert (await host.manager.reload("a")).ok

    await assert_nothing_is_left(work, 100)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", IN_A_HOOK)
async def test_nothing_is_left_behind_by_ten_thousand_failures(host: Host, name: str) -> None:
    hostile = hurried(IN_A_HOOK[name])
    await host.load("hostile", hostile.module, hostile.manifest)
    await assert_nothing_is_left(hook_failures(host), 10_000)
    assert host.status("hostile").calls == 10_000


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", AT_THE_DOOR)
async def test_nothing_is_left_behind_by_ten_thousand_refusals(name: str) -> None:
    engine = RawEngine()
    await assert_nothing_is_left(refusals(hurried(AT_THE_DOOR[name]), engine), 10_000)
    engine.close()
