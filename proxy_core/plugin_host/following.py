"""What the manager does about files that have changed, and are at rest.

The same contents are tried once, broken or not, whoever tried them: so it does no harm to be told
twice, or of what a key has loaded already. What is gone stays at work until the user discovers.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from proxy_core.errors import PluginError
from proxy_core.model.log_line import LogLevel
from proxy_core.model.plugin_status import WatchReport
from proxy_core.model.words import lasting
from proxy_core.plugin_host.files.discovery import Source, scan
from proxy_core.plugin_host.plugin import Plugin

T = TypeVar("T")

_GONE: Final = b"gone"
"""Stands for the fingerprint of files that are not there."""


class OnWorker(Protocol):
    """Runs what blocks."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """Do `work` on another thread."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What of the manager's is needed."""

    on_worker: OnWorker
    take_up: Callable[[Source], Awaitable[tuple[str, str | None]]]
    """Make a source known and load it; the name, and why that failed."""
    load: Callable[[Plugin, bytes | None], Awaitable[str | None]]
    """Load a plugin anew, while its files have that fingerprint; why that failed."""
    forget: Callable[[Plugin], None]
    tell: Callable[[Plugin], None]
    """Tell consoles of a plugin's new status."""
    note: Callable[[LogLevel, str], None]
    """Log a line of the program's own."""


class Follower:
    """Follows changes, one call of `follow` after the other."""

    def __init__(
        self, directories: Sequence[Path], plugins: Mapping[str, Plugin], hands: Hands
    ) -> None:
        """Follow what happens to `plugins`, as they are at each moment."""
        self._directories = directories
        self._plugins = plugins
        self._hands = hands
        self._tried: dict[Path, bytes] = {}

    async def note_attempt(self, source: Source) -> None:
        """Remember what is in the files that are about to be loaded."""
        self._tried[source.path] = await self._hands.on_worker(source.fingerprint)

    def forget(self, source: Source) -> None:
        """Try what is there again, whatever it is."""
        self._tried.pop(source.path, None)

    async def follow(self, changed: Mapping[Path, bool]) -> None:
        """Follow changes at these `Source.path`s; at those with False nothing is any more."""
        for path in sorted(path for path, is_there in changed.items() if is_there):
            await self._follow_one(Source(path))
        for path in sorted(path for path, is_there in changed.items() if not is_there):
            self._follow_gone(path)

    async def _follow_one(self, source: Source) -> None:
        plugin = self._at(source.path)
        if plugin is not None and not plugin.enabled:
            return  # enabling loads what is there then
        fingerprint = await self._hands.on_worker(source.fingerprint)
        if self._tried.get(source.path) == fingerprint:
            return
        self._tried[source.path] = fingerprint
        if plugin is None:
            await self._follow_new(source, fingerprint)
        elif plugin.standing.refused:
            self._hands.forget(plugin)
            await self._take_up(source)
        else:
            await self._load(plugin, fingerprint)

    async def _follow_new(self, source: Source, fingerprint: bytes) -> None:
        """Take up a source that was not there before, or was there under another path."""
        try:
            manifest, module = await self._hands.on_worker(source.read)
        except PluginError:
            await self._take_up(source)
            return
        sources, _ = await self._hands.on_worker(lambda: scan(self._directories))
        here = {found.path for found in sources}
        if source.path not in here:
            return  # a module that has got a manifest meanwhile
        for plugin in list(self._plugins.values()):
            if plugin.source.path in here:
                continue
            if _module_of(plugin) == module and source.bare:
                return  # its manifest is gone: it goes on with the one that it had
            if plugin.name == manifest.name:
                plugin.source = source
                await self._load(plugin, fingerprint)
                return
            if _module_of(plugin) == module:
                self._hands.forget(plugin)
        await self._take_up(source)

    def _follow_gone(self, path: Path) -> None:
        plugin = self._at(path)
        if plugin is None or self._tried.get(path) == _GONE:
            self._tried.pop(path, None)
            return
        self._tried[path] = _GONE
        if plugin.standing.refused:
            self._hands.forget(plugin)
        elif plugin.generation is not None:
            problem = (
                f"its files are gone; generation {plugin.generations} goes on until plugins are "
                "discovered anew"
            )
            plugin.standing.last_error = problem
            plugin.log.notice(LogLevel.WARN, problem)
            self._report(plugin, False, f"{plugin.name}: {problem}")

    async def _take_up(self, source: Source) -> None:
        _, problem = await self._hands.take_up(source)
        plugin = self._at(source.path)
        if plugin is not None:
            self._conclude(plugin, problem, "loaded")
        elif problem is not None:
            self._hands.note(LogLevel.WARN, f"{source.path}: {problem}")

    async def _load(self, plugin: Plugin, fingerprint: bytes) -> None:
        problem = await self._hands.load(plugin, fingerprint)
        self._conclude(plugin, problem, "reloaded")

    def _conclude(self, plugin: Plugin, problem: str | None, word: str) -> None:
        if problem is None and plugin.generation is not None:
            compared = "" if plugin.compared is None else f"; {plugin.compared}"
            plugin.log.notice(
                LogLevel.INFO, f"{word} by watch: generation {plugin.generations}{compared}"
            )
        self._report(plugin, problem is None, outcome(plugin, problem))

    def _report(self, plugin: Plugin, ok: bool, text: str) -> None:
        plugin.watched = WatchReport(time.time(), ok, text)
        self._hands.tell(plugin)

    def _at(self, path: Path) -> Plugin | None:
        plugins = self._plugins.values()
        return next((plugin for plugin in plugins if plugin.source.path == path), None)


def outcome(plugin: Plugin, problem: str | None) -> str:
    """Say how a load went, for people."""
    name = plugin.name
    if problem is None:
        if plugin.generation is None:
            return f"{name} is disabled; enable it to load it"
        took = lasting(plugin.load_seconds)
        text = f"{name}: generation {plugin.generations} is at work, loaded in {took}"
        return text if plugin.compared is None else f"{text}; {plugin.compared}"
    if plugin.generation is None:
        return f"{name} could not be loaded: {problem}"
    return f"{name} goes on as generation {plugin.generations}: {problem}"


def _module_of(plugin: Plugin) -> Path | None:
    manifest = plugin.manifest
    return None if manifest is None else plugin.source.path.parent / manifest.wasm
