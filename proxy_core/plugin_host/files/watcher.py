"""Watching the files of plugins: which of them have changed, and have come to rest.

A thread looks at what `stat` tells of them, twice a second. The kernel's notifications would come
sooner, but not at all for what another machine changes on a network file system, or what a host
changes beneath a container; and the few files that there are cost less than a library for them.
Only changes count, never the distance to a clock: that of a file server may be wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy_core.plugin_host.files.discovery import Source, places, scan

LOOK_SECONDS: Final = 0.5
"""Between two looks, at most while something has changed and is not at rest yet."""
REST_FACTOR: Final = 200
"""How much longer than a look kept the processor the next one is put off: half a percent of it."""
SLOW_FACTOR: Final = 5
"""The same for how long it took, which is the file server's affair, or the interpreter's lock."""
LONGEST_REST: Final = 5.0
SETTLE_SECONDS: Final = 0.3
"""How long a file must have stayed as it is: a compiler writes piece by piece."""
AGAIN_SECONDS: Final = 2.5
"""When a change is told of once more, for file systems whose times are whole seconds, or two: a
second change within one of them shows nothing."""
_SHORTEST: Final = 0.02

Signature = tuple[int, ...] | None
"""What `stat` says, as far as it changes with the contents; None where nothing is there."""


@dataclass(slots=True)
class _Watched:
    """The files of one plugin."""

    files: tuple[Path, ...]
    """What describes the plugin first."""
    signatures: tuple[Signature, ...]
    due: tuple[float, ...]
    """When to tell of it, if nothing changes until then."""


class FileWatch:
    """Finds what has changed by one look after the other; everything is new at the first."""

    def __init__(self, directories: Sequence[Path]) -> None:
        """Watch what `discovery.scan` finds in `directories`."""
        self._directories = directories
        self._places: dict[Path, Signature] = {}
        self._scan_until = 0.0
        self._scanning = True
        self._watched: dict[Path, _Watched] = {}

    def look(self, now: float) -> dict[Path, bool]:
        """Return the plugins whose files have changed and are at rest; blocks.

        By `Source.path`, with whether there still is something at it. `now` is the moment, in
        seconds on a clock that never goes back.
        """
        self._look_for_new(now)
        told = {}
        for path, watched in list(self._watched.items()):
            signatures = tuple(map(signature_of, watched.files))
            if signatures != watched.signatures:
                self._watched[path] = _begin(path, now)
            elif watched.due and now >= watched.due[0]:
                if Source(path).files() != watched.files:
                    self._watched[path] = _begin(path, now)
                    continue
                told[path] = signatures[0] is not None
                watched.due = watched.due[1:]
            elif not watched.due and signatures[0] is None:
                del self._watched[path]
        return told

    def pause(self, now: float) -> float:
        """Return how many seconds from `now` on nobody need look."""
        due = [watched.due[0] for watched in self._watched.values() if watched.due]
        return min(max(min(due, default=now + LOOK_SECONDS) - now, _SHORTEST), LOOK_SECONDS)

    def _look_for_new(self, now: float) -> None:
        signatures = {place: signature_of(place) for place in self._places}
        if signatures != self._places or not self._places:
            self._scanning, self._scan_until = True, now + AGAIN_SECONDS
        if not self._scanning:
            return
        self._scanning = now < self._scan_until
        self._places = {place: signature_of(place) for place in places(self._directories)}
        found = {source.path for source in scan(self._directories)[0]}
        for path in found.difference(self._watched):
            self._watched[path] = _begin(path, now)
        for path in self._watched.keys() - found:
            if signature_of(path) is not None:  # a module that has got a manifest, mostly
                del self._watched[path]


def signature_of(path: Path) -> Signature:
    """Look at a file or directory, links followed; blocks."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a third of the time of Path.stat
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return (error.errno or 0,)
    # A new file under an old name may have the old one's size and time.
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _begin(path: Path, now: float) -> _Watched:
    files = Source(path).files()
    settled = now + SETTLE_SECONDS
    return _Watched(files, tuple(map(signature_of, files)), (settled, settled + AGAIN_SECONDS))


class Watcher:
    """Looks for as long as `run` does; on a thread of its own, for a file server may not answer."""

    def __init__(self, directories: Sequence[Path]) -> None:
        """Watch what `discovery.scan` finds in `directories`."""
        self._watch = FileWatch(directories)
        self._changed: dict[Path, bool] = {}
        self._wake = asyncio.Event()
        self._end = threading.Event()
        self._failure: Exception | None = None

    async def run(self, follow: Callable[[Mapping[Path, bool]], Awaitable[None]]) -> None:
        """Have `follow` told what `FileWatch.look` found, one after the other, until cancelled."""
        loop = asyncio.get_running_loop()
        # A daemon: the program's end must not wait for a file server.
        thread = threading.Thread(
            target=self._keep_looking, args=(loop,), name="plugin-watcher", daemon=True
        )
        thread.start()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._failure is not None:
                    raise self._failure
                changed, self._changed = self._changed, {}
                await follow(changed)
        finally:
            self._end.set()

    def _keep_looking(self, loop: asyncio.AbstractEventLoop) -> None:
        pause = 0.0
        while not self._end.wait(pause):
            began, busy = time.monotonic(), time.thread_time()
            try:
                found = self._watch.look(began)
            except Exception as error:
                self._failure = error
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._wake.set)
                return
            now = time.monotonic()
            cost = REST_FACTOR * (time.thread_time() - busy), SLOW_FACTOR * (now - began)
            pause = max(self._watch.pause(now), min(max(cost), LONGEST_REST))
            if found:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(self._put, found)

    def _put(self, found: Mapping[Path, bool]) -> None:
        self._changed.update(found)
        self._wake.set()
