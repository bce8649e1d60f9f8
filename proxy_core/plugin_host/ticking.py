"""`on_tick`: plugins that are called again and again, whether or not there is traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.generation import Generation
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.plugin import Plugin


class Ticker:
    """Calls each plugin `tick_ms` after the call before it has ended. On the core's loop only."""

    def __init__(self, on_called: Callable[[Plugin], None]) -> None:
        """`on_called` is told of each call that has ended."""
        self._on_called = on_called
        self._followed: dict[str, tuple[Generation, asyncio.TimerHandle | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, plugins: Iterable[Plugin]) -> None:
        """Call these plugins from now on, and no others; a new generation begins anew."""
        wanted = {
            plugin.name: plugin
            for plugin in plugins
            if Hook.TICK in plugin.hooks and plugin.manifest is not None
        }
        for name, (generation, timer) in list(self._followed.items()):
            plugin = wanted.get(name)
            if plugin is None or plugin.generation is not generation:
                if timer is not None:
                    timer.cancel()
                del self._followed[name]
        for name, plugin in wanted.items():
            if name not in self._followed and plugin.generation is not None:
                self._arm(plugin, plugin.generation)

    async def stop(self) -> None:
        """Call nobody any more, and end the calls that are under way."""
        self.follow(())
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _arm(self, plugin: Plugin, generation: Generation) -> None:
        seconds = generation.blueprint.manifest.tick_ms / 1000
        loop = asyncio.get_running_loop()
        timer = loop.call_later(seconds, self._fire, plugin, generation)
        self._followed[plugin.name] = (generation, timer)

    def _fire(self, plugin: Plugin, generation: Generation) -> None:
        self._followed[plugin.name] = (generation, None)
        task = asyncio.get_running_loop().create_task(self._tick(plugin, generation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self, plugin: Plugin, generation: Generation) -> None:
        manifest = generation.blueprint.manifest
        call = HookCall(Hook.TICK, manifest, plugin.log, None, plugin.belongings)
        await plugin.call(Hook.TICK, call)
        self._on_called(plugin)
        followed = self._followed.get(plugin.name)
        if followed is not None and followed[0] is generation:
            self._arm(plugin, generation)
