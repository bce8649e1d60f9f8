"""Flows that come to a hook in the same turn of the loop are shown to the plugins together.

What a hook runs through is larger than a processor's nearest caches: with the rest of an exchange
in between, every call fetches it anew, and takes twice the time that it takes after another. So
where many flows come, they wait until all of this turn are there, and where more come, those of the
next one too. They go through the first plugin one behind the other, then through the next. Each
flow sees the plugins in their order, as ever.

Where few come, waiting would only cost, and each is asked about at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import perf_counter
from typing import Any, Final

from proxy_core.model.flow import Flow
from proxy_core.model.verdict import CONTINUE, Verdict

MANY: Final = 2
"""Flows in a turn, as it has been of late, from which on they wait for each other."""
CROWD: Final = 4
"""From which on those of one more turn are waited for."""
_WEIGHT: Final = 0.25
"""Of one turn in that."""
AT_FIRST: Final = 4
AT_ONCE: Final = 32
"""So many flows go through all plugins before the next ones do: at first, and at most."""
TURN_SECONDS: Final = 0.001
"""How long they may take before other work of the loop has its turn; where plugins take long, fewer
go at once."""

Answer = Coroutine[Any, Any, Verdict] | None
"""What is to be awaited for a flow's verdict; None where it just goes on."""


class Together:
    """One hook's flows."""

    __slots__ = (
        "_all",
        "_alone",
        "_at_once",
        "_came",
        "_expected",
        "_later",
        "_lingered",
        "_many",
        "_usual",
        "_waiting",
    )

    def __init__(
        self,
        alone: Callable[[Flow], Awaitable[Verdict]],
        together: Callable[[Sequence[Flow]], list[Answer]],
    ) -> None:
        """Ask about one flow with `alone`, about several, in order, with `together`."""
        self._alone = alone
        self._all = together
        self._at_once = AT_FIRST
        self._came = 0
        self._usual = 0.0
        """How many come in one turn, on the average of late; turns in which none comes apart."""
        self._expected: asyncio.AbstractEventLoop | None = None
        """The loop, where the end of this turn is looked out for."""
        self._many = False
        self._lingered = False
        """Whether those of another turn are waited for."""
        self._waiting: deque[tuple[Flow, asyncio.Future[Verdict]]] = deque()
        self._later: set[asyncio.Task[Verdict]] = set()

    def ask(self, flow: Flow) -> Awaitable[Verdict]:
        """Ask the plugins about a flow, now or at the end of this turn."""
        self._came += 1
        loop = self._expected or self._expect()
        if not self._many:
            return self._alone(flow)
        future: asyncio.Future[Verdict] = loop.create_future()
        self._waiting.append((flow, future))
        return future

    def _expect(self) -> asyncio.AbstractEventLoop:
        loop = self._expected = asyncio.get_running_loop()
        loop.call_soon(self._turn)
        return loop

    def _turn(self) -> None:
        """A turn is over: see how many came, and ask about those that wait."""
        if self._waiting and self._usual >= CROWD and not self._lingered:
            self._lingered = True
            asyncio.get_running_loop().call_soon(self._turn)
            return
        self._lingered = False
        self._usual += (min(self._came, AT_ONCE) - self._usual) * _WEIGHT
        self._many = self._usual >= MANY
        self._came = 0
        self._expected = None
        ends = perf_counter() + TURN_SECONDS
        try:
            while self._waiting:
                self._ask_next()
                if perf_counter() > ends:
                    break
        finally:
            if self._waiting:
                self._came = len(self._waiting)
                self._expect()

    def _ask_next(self) -> None:
        asked: list[tuple[Flow, asyncio.Future[Verdict]]] = []
        while self._waiting and len(asked) < self._at_once:
            pair = self._waiting.popleft()
            if not pair[1].done():  # its exchange may be over
                asked.append(pair)
        began = perf_counter()
        try:
            answers = self._all([flow for flow, _ in asked])
        except BaseException as error:
            for _, future in asked:
                future.set_exception(error)
            raise
        if perf_counter() - began > TURN_SECONDS:
            self._at_once = max(1, self._at_once // 2)
        elif self._at_once < AT_ONCE:
            self._at_once *= 2
        for (_, future), answer in zip(asked, answers, strict=True):
            if answer is None:
                future.set_result(CONTINUE)
            else:
                self._wait_for(answer, future)

    def _wait_for(
        self, answer: Coroutine[Any, Any, Verdict], future: asyncio.Future[Verdict]
    ) -> None:
        """Give a verdict that takes time to the exchange that waits for it."""
        task = asyncio.get_running_loop().create_task(answer)
        self._later.add(task)

        def give(task: asyncio.Task[Verdict]) -> None:
            self._later.discard(task)
            if future.done():
                return
            error = None if task.cancelled() else task.exception()
            if error is not None:
                future.set_exception(error)
            elif task.cancelled():
                future.cancel()
            else:
                future.set_result(task.result())

        task.add_done_callback(give)
        future.add_done_callback(lambda done: task.cancel() if done.cancelled() else None)
