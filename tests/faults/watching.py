"""Who waits where: every task's coroutine is looked at each time it stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from functools import cache
from types import CodeType, FrameType
from typing import Any, NamedTuple

from tests.faults.inventory import ROOMS, ROOT, Site, sites


class Place(NamedTuple):
    """Where a task waits: the sites, the outermost first, and what the last one waits in."""

    chain: tuple[Site, ...]
    below: str


class Watched(Coroutine[Any, Any, Any]):
    """A coroutine that tells `see` when it is about to wait, and what for."""

    def __init__(self, inner: Coroutine[Any, Any, Any], see: Callable[[Watched, Any], Any]) -> None:
        """`see` returns what the task is to wait for, commonly what it was given."""
        self.inner = inner
        self._see = see

    def send(self, value: Any) -> Any:
        return self._see(self, self.inner.send(value))

    def throw(self, *error: Any) -> Any:
        return self._see(self, self.inner.throw(*error))

    def close(self) -> None:
        self.inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError

    @property
    def name(self) -> str:
        return getattr(self.inner, "__qualname__", "?")


class Tasks:
    """Makes a loop's tasks, and knows who made whom."""

    def __init__(self, loop: asyncio.AbstractEventLoop, see: Callable[[Watched, Any], Any]) -> None:
        self._see = see
        self._watched: dict[asyncio.Task[Any], Watched] = {}
        self._parents: dict[asyncio.Task[Any], asyncio.Task[Any] | None] = {}
        loop.set_task_factory(self._make)

    def _make(self, loop: asyncio.AbstractEventLoop, coro: Any, **how: Any) -> asyncio.Task[Any]:
        watched = Watched(coro, self._see)
        task: asyncio.Task[Any] = asyncio.Task(watched, loop=loop, **how)
        self._watched[task] = watched
        self._parents[task] = asyncio.current_task(loop)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        # The parents stay: a task may outlive whoever made it.
        del self._watched[task]

    def name(self, task: asyncio.Task[Any]) -> str:
        watched = self._watched.get(task)
        return "" if watched is None else watched.name

    def frame(self, task: asyncio.Task[Any]) -> FrameType | None:
        """The outermost frame of a task."""
        watched = self._watched.get(task)
        return None if watched is None else getattr(watched.inner, "cr_frame", None)

    def ancestors(self, task: asyncio.Task[Any] | None) -> Iterator[asyncio.Task[Any]]:
        """The task, and who made it, as far as that goes on."""
        while task is not None:
            yield task
            task = self._parents.get(task)

    def unfinished(self) -> list[str]:
        return [
            f"{watched.name} at {' > '.join(map(str, place_of(watched.inner).chain)) or 'no site'}"
            for watched in self._watched.values()
        ]


def place_of(coroutine: Any) -> Place:
    """Return where a coroutine that waits does so."""
    chain: list[Site] = []
    below = ""
    while coroutine is not None:
        code = getattr(coroutine, "cr_code", None)
        if code is not None and coroutine.cr_frame is not None:
            site = _site(code, coroutine.cr_frame.f_lasti)
            if site is not None:
                chain.append(site)
                below = ""
            else:
                below = coroutine.__qualname__
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return Place(tuple(chain), below)


@cache
def _site(code: CodeType, instruction: int) -> Site | None:
    file = code.co_filename.removeprefix(f"{ROOT}/")
    if file.partition("/")[0] not in ROOMS or file == code.co_filename:
        return None
    line, _, column, _ = list(code.co_positions())[instruction // 2]
    assert line is not None
    assert column is not None
    found = sites().get((file, line, column))
    assert found is not None, f"{file}:{line}:{column} waits, and is no site"
    return found
