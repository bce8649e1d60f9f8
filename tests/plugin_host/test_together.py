"""Flows of one turn of the loop, shown to the plugins together."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any

import pytest

from proxy_core.model.flow import Flow
from proxy_core.model.verdict import CONTINUE, Block, Hold, Verdict
from proxy_core.plugin_host import together
from proxy_core.plugin_host.together import AT_FIRST, AT_ONCE, MANY, Answer, Together
from tests.plugin_host.guests import Host, guest, importing, make_flow
from tests.waiting import until

CROWD = 4 * MANY
"""Flows in one turn after which those of the next wait for each other."""
HEADER_IS = importing("host_get_header", 4)


class Asked:
    """Plugins that write down what they are asked, and answer as they are told."""

    def __init__(self) -> None:
        self.alone: list[Flow] = []
        self.together: list[list[Flow]] = []
        self.answers: dict[int, Coroutine[Any, Any, Verdict]] = {}
        self.error: Exception | None = None
        self.asking = Together(self._alone, self._together)

    def _alone(self, flow: Flow) -> Awaitable[Verdict]:
        self.alone.append(flow)
        return CONTINUE

    def _together(self, flows: Sequence[Flow]) -> list[Answer]:
        self.together.append(list(flows))
        if self.error is not None:
            raise self.error
        return [self.answers.get(id(flow)) for flow in flows]

    async def warm_up(self) -> None:
        """Let so many come in one turn that those of the next wait for each other."""
        for _ in range(CROWD):
            assert self.asking.ask(make_flow()) is CONTINUE
        self.alone.clear()
        await asyncio.sleep(0)

    def come(self, flow: Flow) -> asyncio.Task[Verdict]:
        async def ask() -> Verdict:
            return await self.asking.ask(flow)

        return asyncio.get_running_loop().create_task(ask())


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def test_few_are_asked_about_at_once(asked: Asked) -> None:
    for _ in range(30):
        for _ in range(MANY - 1):
            assert asked.asking.ask(make_flow()) is CONTINUE
        await asyncio.sleep(0)
    assert len(asked.alone) == 30 * (MANY - 1)
    assert asked.together == []


async def test_where_many_came_the_next_wait_for_each_other(asked: Asked) -> None:
    await asked.warm_up()
    flows = [make_flow() for _ in range(MANY)]
    tasks = [asked.come(flow) for flow in flows]
    assert [await task for task in tasks] == [CONTINUE] * MANY
    assert (asked.alone, asked.together) == ([], [flows])


async def test_after_turns_with_few_the_next_are_asked_about_at_once(asked: Asked) -> None:
    await asked.warm_up()
    one, other = make_flow(), make_flow()
    await asked.come(one)
    assert asked.asking.ask(other) is CONTINUE
    assert (asked.together, asked.alone) == ([[one]], [other])


async def test_in_a_crowd_those_of_the_next_turn_are_waited_for(asked: Asked) -> None:
    await asked.warm_up()
    for _ in range(10):
        await asyncio.gather(*(asked.come(make_flow()) for _ in range(CROWD)))
    asked.together.clear()
    first = [make_flow() for _ in range(3)]
    tasks = [asked.come(flow) for flow in first]
    await asyncio.sleep(0)
    second = [make_flow() for _ in range(3)]
    tasks += [asked.come(flow) for flow in second]
    assert await asyncio.gather(*tasks) == [CONTINUE] * 6
    assert asked.together == [[*first, *second]]


async def test_one_turn_with_few_changes_nothing_where_many_come(asked: Asked) -> None:
    await asked.warm_up()
    await asyncio.gather(*(asked.come(make_flow()) for _ in range(CROWD)))
    one, other = make_flow(), make_flow()
    await asked.come(one)
    await asked.come(other)
    assert asked.together[-2:] == [[one], [other]]
    assert asked.alone == []


async def test_as_many_at_once_as_take_little_time(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "TURN_SECONDS", 1e9)
    await asked.warm_up()
    flows = [make_flow() for _ in range(4 * AT_ONCE)]
    await asyncio.gather(*(asked.come(flow) for flow in flows))
    sizes = [len(those) for those in asked.together]
    assert sizes[:5] == [AT_FIRST, 2 * AT_FIRST, 4 * AT_FIRST, AT_ONCE, AT_ONCE]
    assert [flow for those in asked.together for flow in those] == flows


async def test_others_of_the_loop_have_their_turn_where_plugins_take_long(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "TURN_SECONDS", 1.0)
    monkeypatch.setattr(together, "perf_counter", itertools.count(step=0.6).__next__)
    await asked.warm_up()
    flows = [make_flow() for _ in range(4 * AT_FIRST)]
    tasks = [asked.come(flow) for flow in flows]
    known: list[int] = []
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        known.append(len(asked.together))
    assert known[-1] == 3
    assert {1, 2, 3} <= set(known)  # one more in each turn
    assert [flow for those in asked.together for flow in those] == flows


async def test_where_plugins_take_long_fewer_go_at_once(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "TURN_SECONDS", 1.0)
    monkeypatch.setattr(together, "perf_counter", itertools.count(step=1.1).__next__)
    await asked.warm_up()
    tasks = [asked.come(make_flow()) for _ in range(3 * AT_FIRST)]
    await asyncio.gather(*tasks)
    sizes = [len(those) for those in asked.together]
    assert sizes[:3] == [AT_FIRST, AT_FIRST // 2, 1]
    assert set(sizes[3:]) == {1}


async def test_nobody_asks_about_an_exchange_that_is_over(asked: Asked) -> None:
    await asked.warm_up()
    gone, stays = make_flow(), make_flow()
    tasks = [asked.come(gone), asked.come(stays)]
    asyncio.get_running_loop().call_soon(tasks[0].cancel)
    assert await tasks[1] is CONTINUE
    assert asked.together in ([[stays]], [[gone, stays]])
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_a_verdict_that_takes_time_keeps_nobody_else_waiting(asked: Asked) -> None:
    await asked.warm_up()
    slow, quick = make_flow(), make_flow()
    ready = asyncio.Event()

    async def decide() -> Verdict:
        await ready.wait()
        return Block("plugin a")

    asked.answers[id(slow)] = decide()
    tasks = [asked.come(slow), asked.come(quick)]
    assert await tasks[1] is CONTINUE
    assert not tasks[0].done()
    ready.set()
    assert await tasks[0] == Block("plugin a")


async def test_an_exchange_that_ends_takes_its_question_back(asked: Asked) -> None:
    await asked.warm_up()
    ended: list[bool] = []
    began = asyncio.Event()

    async def decide() -> Verdict:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        return CONTINUE

    flow = make_flow()
    asked.answers[id(flow)] = decide()
    task = asked.come(flow)
    await began.wait()
    task.cancel()
    await until(lambda: ended == [True])


async def test_a_fault_is_told_to_those_it_met_and_stops_nobody_after_them(asked: Asked) -> None:
    await asked.warm_up()
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    asked.error = RuntimeError("broken")
    tasks = [asked.come(make_flow()) for _ in range(AT_ONCE + 1)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["broken"] * len(tasks)
    assert len(faults) == len(asked.together) > 1
    asked.error = None
    assert await asked.come(make_flow()) is CONTINUE


def _like(word: str, then: str) -> bytes:
    """A module that returns `then` for a request whose field `x` begins as `word` does."""
    return guest(
        f"""(if (result i32) (i32.and
              (i32.gt_s (call $get_header (i32.const 0) (i32.const 1)
                                          (i32.const 16) (i32.const 8)) (i32.const 0))
              (i32.eq (i32.load8_u (i32.const 16)) (i32.const {ord(word)})))
            (then {then}) (else (i32.const 0)))""",
        imports=f'{HEADER_IS} (data (i32.const 0) "x")',
    )


@pytest.mark.parametrize("many", [False, True])
async def test_verdicts_and_edits_are_the_same_alone_and_together(
    any_host: Host, many: bool
) -> None:
    host = any_host
    add = importing("host_add_header", 4)
    await host.load("a-block", _like("b", "(i32.const 1)"), "priority = 1")
    await host.load("b-hold", _like("h", "(i32.const 2)"), "priority = 2")
    await host.load("c-skip", _like("s", "(i32.const 4)"), "priority = 3")
    await host.load("d-trap", _like("t", "unreachable"), 'priority = 4\non_failure = "closed"')
    await host.load(
        "e-slow",
        guest(
            """(local $n i32) (loop $l
                 (local.set $n (i32.add (local.get $n) (i32.const 1)))
                 (br_if $l (i32.lt_u (local.get $n) (i32.const 100000)))) (i32.const 0)"""
        ),
        "priority = 5",
    )
    await host.load(
        "f-add",
        guest(
            "(drop (call $add_header (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 1)))"
            " i32.const 0",
            imports=f'{add} (data (i32.const 0) "y") (data (i32.const 8) "1")',
        ),
        "priority = 6",
    )
    if many:
        await asyncio.gather(*(host.request(make_flow()) for _ in range(CROWD)))
        await asyncio.sleep(0)
    flows = {word: make_flow(((b"x", word.encode()),)) for word in "bhstn"}
    if many:
        verdicts = await asyncio.gather(*(host.request(flow) for flow in flows.values()))
    else:
        verdicts = [await host.request(flow) for flow in flows.values()]
    assert dict(zip(flows, verdicts, strict=True)) == {
        "b": Block("plugin a-block", 403),
        "h": Hold("plugin b-hold"),
        "s": CONTINUE,
        "t": Block("plugin d-trap", 502),
        "n": CONTINUE,
    }
    added = {word for word, flow in flows.items() if flow.request.headers.get(b"y") == b"1"}
    assert added == {"h", "n"}
    assert host.status("a-block").calls == (CROWD + 5 if many else 5)
