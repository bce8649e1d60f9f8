"""The plugins of one core: found, loaded, enabled, disabled, swapped, told about.

Everything slow (looking into directories, compiling, `plugin_init`) happens on worker threads.
Operations come one after another; hooks are never kept waiting by them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from proxy_core.bus.bus import Bus
from proxy_core.errors import PluginError, PluginNotFound
from proxy_core.exchange.hooks import Hooks
from proxy_core.model.flow import Flow
from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import (
    Comparison,
    DiscoverReport,
    LoadPhase,
    PermissionKind,
    PermissionState,
    PluginStatus,
    ReloadReport,
)
from proxy_core.model.words import lasting
from proxy_core.plugin_host.abi import VERSION_EXPORT
from proxy_core.plugin_host.belongings.belongings import Belongings, Commons, Fetches
from proxy_core.plugin_host.belongings.grants import Grants
from proxy_core.plugin_host.belongings.state import StateKeeper
from proxy_core.plugin_host.building import Builder, Built, close_unused, read_plugin
from proxy_core.plugin_host.dispatch import Dispatcher
from proxy_core.plugin_host.faults import ModuleRefused
from proxy_core.plugin_host.files.discovery import Source, scan
from proxy_core.plugin_host.files.manifest import GuestLimits, Manifest
from proxy_core.plugin_host.files.watcher import Watcher
from proxy_core.plugin_host.following import Follower, Hands, outcome
from proxy_core.plugin_host.generation import Blueprint, Generation
from proxy_core.plugin_host.loading import Loading
from proxy_core.plugin_host.logs import LogRing, PluginLog, StartLog
from proxy_core.plugin_host.plugin import Plugin
from proxy_core.plugin_host.recorded.rehearsal import compare
from proxy_core.plugin_host.retiring import Retirement
from proxy_core.plugin_host.room import furnish
from proxy_core.plugin_host.status import status_of
from proxy_core.plugin_host.ticking import Ticker
from proxy_core.plugin_host.workshop import Workshop

STOP_SECONDS: Final = 5.0
"""How long `stop` waits for calls under way and for `plugin_shutdown`."""
STATE_DIRECTORY: Final = "plugin-state"
CACHE_DIRECTORY: Final = "plugin-cache"
_DEFAULT_RATE: Final = GuestLimits().log_lines_per_second


class PluginManager:
    """Fills the slots of `hooks` with what it finds in `directories`.

    Everything but `statuses` and reading `logs` belongs to the core's loop. Where two directories
    have plugins of one name, the earlier directory's is taken.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        hooks: Hooks,
        bus: Bus,
        log_limit: int,
        data_dir: Path | None = None,
        recent_flows: Callable[[], Sequence[Flow]] = tuple,
        watch: bool = False,
    ) -> None:
        """Keep what outlives a plugin in `data_dir`, and nothing where there is none.

        New versions are compared with the old over `recent_flows()`, oldest first. With `watch`
        they are loaded as soon as the files change.
        """
        self.logs = LogRing(log_limit, bus.logs)
        self._directories = tuple(directories)
        self._bus = bus
        self._dispatcher = Dispatcher(hooks, self._tell)
        self._ticker = Ticker(self._dispatcher.tell_news)
        self._plugins: dict[str, Plugin] = {}
        self._workshop = Workshop(
            None if data_dir is None else data_dir / CACHE_DIRECTORY, partial(self._note, "")
        )
        self._one_at_a_time = asyncio.Lock()
        self._retirement = Retirement()
        self.fetcher: Fetches | None = None
        """What HTTP calls of plugins go through; none where it is None."""
        self._commons = Commons()
        self._recent_flows = recent_flows
        self._wants_watching = watch
        self._watching: asyncio.Task[None] | None = None
        self._follower = Follower(
            self._directories,
            self._plugins,
            Hands(
                on_worker=self._workshop.on_worker,
                take_up=self._take_up,
                load=self._load,
                forget=self._forget,
                tell=self._tell,
                note=partial(self._note, ""),
            ),
        )
        self._grants = Grants(data_dir, self._workshop.warn)
        self._states = StateKeeper(
            None if data_dir is None else data_dir / STATE_DIRECTORY,
            self._note,
        )

    # What a core does with its plugins.

    async def start(self) -> DiscoverReport:
        """Load what is there, and go on watching it where that is wanted."""
        report = await self.discover()
        if self._wants_watching and self._watching is None:
            watching = Watcher(self._directories).run(self.follow)
            self._watching = asyncio.get_running_loop().create_task(watching)
            self._watching.add_done_callback(self._note_end_of_watching)
        return report

    async def discover(self) -> DiscoverReport:
        """Load what is new in the directories and forget what is gone.

        What was refused is tried again; what is loaded stays as it is (see `reload`).
        """
        async with self._one_at_a_time:
            sources, refused = await self._workshop.on_worker(lambda: scan(self._directories))
            removed = self._forget_all_but({source.path for source in sources})
            known = {plugin.source.path: plugin for plugin in self._plugins.values()}
            added = []
            for source in sources:
                plugin = known.get(source.path)
                if plugin is not None and not plugin.standing.refused:
                    continue
                if plugin is not None:
                    self._forget(plugin)
                name, problem = await self._take_up(source)
                if problem is not None:
                    refused.append((str(source.path), problem))
                else:
                    added.append(name)
            return DiscoverReport(
                directories=tuple(str(directory) for directory in self._directories),
                found=len(sources),
                added=tuple(added),
                removed=tuple(removed),
                refused=tuple(refused),
            )

    async def reload(self, name: str) -> ReloadReport:
        """Build the plugin's files as they are now, aside, and swap. Raises PluginNotFound."""
        async with self._one_at_a_time:
            plugin = self._find(name)
            if not plugin.enabled:
                message = f"{name} is disabled; enable it to load it"
                return ReloadReport(name, False, plugin.generations, message)
            problem = await self._load(plugin)
            message = outcome(plugin, problem)
            return ReloadReport(name, problem is None, plugin.generations, message)

    async def follow(self, changed: Mapping[Path, bool]) -> None:
        """Load what has changed in files that are at rest now: see `Follower.follow`."""
        async with self._one_at_a_time:
            await self._follower.follow(changed)

    async def set_enabled(self, name: str, enabled: bool) -> PluginStatus:
        """Load a plugin, or unload it until it is enabled again. Raises PluginNotFound."""
        async with self._one_at_a_time:
            plugin = self._find(name)
            if enabled and plugin.generation is None:
                plugin.enabled = True
                await self._load(plugin)
            elif not enabled and plugin.enabled:
                plugin.enabled = False
                self._unload(plugin)
                plugin.log.notice(LogLevel.INFO, "disabled")
                self._tell(plugin)
            return status_of(plugin)

    async def decide_permission(
        self, name: str, kind: PermissionKind, granted: bool
    ) -> PluginStatus:
        """Let a plugin reach what it asks for, or not, from now on and after restarts.

        Raises PluginNotFound, and PluginError where it asks for nothing of the kind or the
        decision cannot be kept.
        """
        async with self._one_at_a_time:
            plugin = self._find(name)
            permits = plugin.belongings.permits
            entries = permits.entries(kind)
            if not entries:
                raise PluginError(f"{name} asks for no {kind} permission, or is not loaded")
            try:
                await self._workshop.on_worker(
                    lambda: self._grants.decide(name, permits.file_hash, kind, entries, granted)
                )
            except OSError as error:
                raise PluginError(f"the decision cannot be kept: {error}") from error
            permits.decide(kind, granted)
            word = "allowed" if granted else "denied"
            plugin.log.notice(LogLevel.INFO, f"{word}: {kind} ({', '.join(entries)})")
            self._tell(plugin)
            return status_of(plugin)

    def statuses(self) -> list[PluginStatus]:
        """Every plugin known, in the order in which they run. From any thread."""
        plugins = list(self._plugins.values())  # one step under the interpreter's lock
        return [status_of(plugin) for plugin in sorted(plugins, key=lambda plugin: plugin.order)]

    async def stop(self) -> None:
        """Unload everything, waiting a bounded time for what is under way; idempotent."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))
        async with self._one_at_a_time:
            for plugin in list(self._plugins.values()):
                self._unload(plugin)
            self._plugins.clear()
            await self._ticker.stop()
            await self._retirement.stop(STOP_SECONDS)
            await self._states.stop()
            self._workshop.close()

    # How it is done.

    def _find(self, name: str) -> Plugin:
        plugin = self._plugins.get(name)
        if plugin is None:
            known = ", ".join(sorted(self._plugins)) or "none"
            raise PluginNotFound(f"no plugin {name!r}; known: {known}")
        return plugin

    async def _take_up(self, source: Source) -> tuple[str, str | None]:
        """Make a new source known and load it; return its name, and why it does not work."""
        if self._wants_watching:
            await self._follower.note_attempt(source)
        try:
            manifest, _ = await self._workshop.on_worker(source.read)
            name, problem = manifest.name, None
        except PluginError as error:
            manifest, name, problem = None, source.label, str(error)
        other = self._plugins.get(name)
        if other is not None:
            return name, problem or f"the name {name!r} is taken by {other.source.path}"
        plugin = Plugin(name, source, PluginLog(name, self.logs, _DEFAULT_RATE))
        self._plugins[name] = plugin
        if manifest is None:
            self._refuse(plugin, problem or "")
        else:
            plugin.manifest = manifest
            plugin.enabled = manifest.enabled
            if manifest.enabled:
                problem = await self._load(plugin)
            else:
                self._tell(plugin)
        return name, problem

    async def _load(self, plugin: Plugin, watched: bytes | None = None) -> str | None:
        """Bring the plugin's files to work, or leave all as it was and return why not.

        With `watched`, only while that is their fingerprint: they may change meanwhile.
        """
        log = StartLog(_DEFAULT_RATE)
        plugin.loading = loading = Loading(lambda: self._tell_progress(plugin))
        self._tell(plugin)
        built: Built | None = None
        try:
            try:
                built = await self._build(plugin, log, loading)
            finally:
                plugin.log.replay(log)
            compared = await self._compare(plugin, built.blueprint, loading)
            if watched is not None:
                found = await self._workshop.on_worker(plugin.source.fingerprint)
                if found != watched:
                    raise ModuleRefused("its files changed while they were loaded")
        except BaseException as error:
            if built is not None:
                built.guest.close()
            if not isinstance(error, PluginError):
                raise
            self._refuse(plugin, str(error))
            return str(error)
        finally:
            plugin.loading = None
        self._swap(plugin, built, compared)
        return None

    async def _build(self, plugin: Plugin, log: StartLog, loading: Loading) -> Built:
        if self._wants_watching:
            await self._follower.note_attempt(plugin.source)
        manifest, data = await self._workshop.on_worker(lambda: read_plugin(plugin.source))
        if manifest.name != plugin.name:
            raise PluginError(
                f"its manifest now names it {manifest.name!r}; discover plugins to take it up"
            )
        belongings = await self._belongings(plugin, manifest)
        engine = await self._workshop.engine_for(manifest.limits)
        builder = Builder(engine, self._grants, self._workshop.cache)
        base = plugin.source.path.parent
        building = self._workshop.start(
            lambda: builder.build(manifest, data, base, belongings, log, loading)
        )
        try:
            return await asyncio.shield(building)
        except asyncio.CancelledError:
            building.add_done_callback(close_unused)
            raise

    async def _compare(self, plugin: Plugin, new: Blueprint, loading: Loading) -> Comparison | None:
        """Run the next version and the one at work over recent flows, where there are both."""
        old, recent = plugin.generation, self._recent_flows()
        if old is None or not recent:
            return None
        loading.enter(LoadPhase.COMPARING)
        try:
            return await compare(plugin, old, new, recent, self._workshop.workers)
        except Exception as error:  # that there is no comparison keeps no version from its work
            plugin.log.notice(LogLevel.WARN, f"not compared with generation {old.number}: {error}")
            return None

    async def _belongings(self, plugin: Plugin, manifest: Manifest) -> Belongings:
        """What the next version gets: the state and figures of those before it."""
        state = await self._states.open(plugin.name, manifest.limits.kv_bytes)
        return replace(plugin.belongings, state=state, fetcher=self.fetcher, commons=self._commons)

    def _swap(self, plugin: Plugin, built: Built, compared: Comparison | None) -> None:
        old = plugin.generation
        manifest, contract = built.blueprint.manifest, built.blueprint.contract
        plugin.generations += 1
        plugin.generation = Generation(
            plugin.generations, built.blueprint, built.guest, plugin.log, self._workshop.workers
        )
        open_body = partial(self._dispatcher.open_body, plugin)
        furnish(plugin.generation, plugin.log, plugin.complain, open_body, self.fetcher)
        plugin.manifest = manifest
        plugin.belongings = built.blueprint.belongings
        plugin.standing.refused = False
        plugin.compared = compared
        plugin.load_seconds = built.seconds
        plugin.profile.pages = built.guest.host.memory.pages()
        plugin.standing.last_error = None
        plugin.standing.forgive()
        plugin.log.set_rate(manifest.limits.log_lines_per_second)
        self._resubscribe()
        if old is not None:
            self._retire(old)
        plugin.log.notice(
            LogLevel.INFO,
            f"generation {plugin.generations} loaded in {lasting(built.seconds)} ({contract.name})",
        )
        if compared is not None:
            which = f": {', '.join(map(str, compared.differing))}" if compared.differing else ""
            plugin.log.notice(LogLevel.INFO, f"{compared}{which}")
        for asked in plugin.belongings.permits.asked:
            if asked.state is PermissionState.UNASKED:
                plugin.log.notice(
                    LogLevel.WARN, f"asks for {asked.kind}: {', '.join(asked.entries)}"
                )
        if contract.not_called:
            names = ", ".join(contract.not_called)
            plugin.log.notice(
                LogLevel.WARN, f"not called: {names}; that needs {VERSION_EXPORT}, returning 1"
            )
        self._tell(plugin)

    def _refuse(self, plugin: Plugin, problem: str) -> None:
        plugin.loading = None
        plugin.standing.refused = plugin.generation is None
        plugin.standing.last_error = problem
        goes_on = f"; generation {plugin.generations} goes on" if plugin.generation else ""
        plugin.log.notice(LogLevel.ERROR, f"not loaded: {problem}{goes_on}")
        self._tell(plugin)

    def _unload(self, plugin: Plugin) -> None:
        generation, plugin.generation = plugin.generation, None
        plugin.standing.refused = False
        self._resubscribe()
        if generation is not None:
            self._retire(generation, plugin.name)

    def _retire(self, generation: Generation, unloaded: str | None = None) -> None:
        """Let a generation end; `unloaded` is the plugin's name where none comes after it."""

        def on_closed() -> None:
            if unloaded is not None:
                self._states.release(unloaded, keep=unloaded in self._plugins)

        self._retirement.take(generation, on_closed)

    def _forget_all_but(self, paths: set[Path]) -> list[str]:
        gone = [plugin for plugin in self._plugins.values() if plugin.source.path not in paths]
        for plugin in gone:
            self._forget(plugin)
        return [plugin.name for plugin in gone]

    def _forget(self, plugin: Plugin) -> None:
        del self._plugins[plugin.name]
        self._follower.forget(plugin.source)
        if plugin.generation is not None:
            self._unload(plugin)
            plugin.log.notice(LogLevel.INFO, "unloaded: its files are gone")

    def _note_end_of_watching(self, watching: asyncio.Task[None]) -> None:
        if not watching.cancelled() and (error := watching.exception()) is not None:
            self._note("", LogLevel.ERROR, f"plugins are not watched any more: {error!r}")

    def _note(self, name: str, level: LogLevel, text: str) -> None:
        self.logs.write(name, level, text)

    def _resubscribe(self) -> None:
        self._dispatcher.subscribe(self._plugins.values())
        self._ticker.follow(self._plugins.values())

    def _tell(self, plugin: Plugin) -> None:
        self._bus.plugins.publish(status_of(plugin))

    def _tell_progress(self, plugin: Plugin) -> None:
        """Tell of a load that goes on, from a worker thread."""

        def tell() -> None:
            if plugin.loading is not None:
                self._tell(plugin)

        self._workshop.tell_loop(tell)
