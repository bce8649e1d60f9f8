"""Flows that come to a hook in the same turn of the loop are shown to the plugins together.

What a hook runs through is larger than a processor's nearest caches: with the rest of an exchange
in between, every call fetches it anew, and takes twice the time that it takes after another. So
where many flows come, they wait until all of this turn are there, and go through the first plugin
one behind the other, then through the next. Each flow sees the plugins in their order, as ever.

Where few come, waiting would only cost, and each is asked about at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextvars import Context
from time import perf_counter
from typing import Any, Final, cast

from proxy_core.model.flow import Flow
from proxy_core.model.verdict import CONTINUE, Verdict

MANY: Final = 2
"""Flows in a turn, as it has been of late, from which on they wait for each other."""
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


class _Asked:
    """What an exchange awaits: the plugins' verdict on its flow.

    To the task that awaits it this is a future, but for one thing: the task goes on as the verdict
    is given, and not a turn of the loop later, which would cost the loop a handle for each flow.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_context",
        "_loop",
        "_wake",
        "deciding",
        "flow",
        "outcome",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, flow: Flow) -> None:
        self.flow = flow
        self.outcome: Verdict | BaseException | None = None
        """The verdict, or what came instead of it; None while it is awaited."""
        self.deciding: asyncio.Task[Verdict] | None = None
        """What finds a verdict that takes time."""
        self._loop = loop
        self._wake: Callable[[_Asked], object] | None = None
        self._asyncio_future_blocking = True
        self._context: Context

    def __await__(self) -> Generator[_Asked, None, Verdict]:
        if self.outcome is None:
            yield self  # and then the task asks for the result, before it goes on
            return cast(Verdict, self.outcome)
        return self.result()

    def give(self, outcome: Verdict | BaseException) -> None:
        """Answer, and let the task go on."""
        self.outcome = outcome
        if self._wake is not None:
            self._context.run(self._wake, self)

    # What a task wants of a future.

    def result(self) -> Verdict:
        """Return the verdict, or raise what came instead of it."""
        outcome = self.outcome
        if isinstance(outcome, BaseException) or outcome is None:
            raise outcome or asyncio.InvalidStateError
        return outcome

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop of whoever asked."""
        return self._loop

    def add_done_callback(self, wake: Callable[[_Asked], object], *, context: Context) -> None:
        """Take what wakes the task; there is one."""
        self._wake, self._context = wake, context

    def cancel(self, msg: object = None) -> bool:
        """End the waiting: the exchange is over."""
        if self.outcome is not None:
            return False
        self.outcome = ended = asyncio.CancelledError()
        if self.deciding is not None:
            self.deciding.cancel()
        self._loop.call_soon(self.give, ended)
        return True


class Together:
    """One hook's flows."""

    __slots__ = (
        "_all",
        "_alone",
        "_at_once",
        "_came",
        "_expected",
        "_later",
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
        self._waiting: deque[_Asked] = deque()
        self._later: set[asyncio.Task[Verdict]] = set()

    def ask(self, flow: Flow) -> Awaitable[Verdict]:
        """Ask the plugins about a flow, now or at the end of this turn."""
        self._came += 1
        loop = self._expected or self._expect()
        if not self._many:
            return self._alone(flow)
        asked = _Asked(loop, flow)
        self._waiting.append(asked)
        return asked

    def _expect(self) -> asyncio.AbstractEventLoop:
        loop = self._expected = asyncio.get_running_loop()
        loop.call_soon(self._turn)
        return loop

    def _turn(self) -> None:
        """A turn is over: see how many came, and ask about those that wait."""
        self._usual += (self._came - self._usual) * _WEIGHT
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
                self._came += len(self._waiting)
                if self._expected is None:
                    self._expect()

    def _ask_next(self) -> None:
        asked: list[_Asked] = []
        while self._waiting and len(asked) < self._at_once:
            one = self._waiting.popleft()
            if one.outcome is None:  # its exchange may be over
                asked.append(one)
        began = perf_counter()
        try:
            answers = self._all([one.flow for one in asked])
        except BaseException as error:
            for one in asked:
                one.give(error)
            raise
        if perf_counter() - began > TURN_SECONDS:
            self._at_once = max(1, self._at_once // 2)
        elif self._at_once < AT_ONCE:
            self._at_once *= 2
        for one, answer in zip(asked, answers, strict=True):
            if answer is None:
                one.give(CONTINUE)
            else:
                self._wait_for(answer, one)

    def _wait_for(self, answer: Coroutine[Any, Any, Verdict], asked: _Asked) -> None:
        """Give a verdict that takes time to the exchange that waits for it."""
        task = asked.deciding = asked.get_loop().create_task(answer)
        self._later.add(task)

        def give(task: asyncio.Task[Verdict]) -> None:
            self._later.discard(task)
            if asked.outcome is None:
                error = asyncio.CancelledError() if task.cancelled() else task.exception()
                asked.give(error or task.result())

        task.add_done_callback(give)
