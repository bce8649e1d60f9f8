"""Host functions called at random, thousands of times in every hook: codes and nothing else."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import pytest

from proxy_core.plugin_host.codes import HOOKS, NOT_IN_HOOK, Hook
from proxy_core.plugin_host.faults import GuestFailure
from proxy_core.plugin_host.functions.host_functions import HOST_FUNCTIONS
from proxy_core.plugin_host.functions.host_side import HostFunction
from proxy_core.plugin_host.hook.commit import commit, ready
from tests.plugin_host.hostile.host_calls import block
from tests.plugin_host.hostile.test_pointers import PAGE, REGIONS, Fenced, pairs_of

CALLS = 2000
WORDS = (
    *(b"request", b"response", b"message 0", b"tag", b"comment", b"GET http://a.test/\n\n"),
    *(b"request trailers", b"response trailers"),
    *(b"HEAD", b"http://e/x", b"80", b"204", b"99999999", b"X-A", b"a: b", b"\xff\xfe", b"\0"),
    *(b"content-length", b"content-encoding", b"gzip", b"host", b"/etc/passwd", b"/nowhere/../x"),
    *(block((b"a", b"b")), block(), block((b"host", b"a\r\nb"))[:-3]),
)
NUMBERS = (*range(20), 101, 200, 204, 404, 1000, 2**31, 2**32 - 1)
WIDE = (0, 1, 2**63, 2**64 - 1)


class Chance:
    """Words in a guest's memory, and calls with them."""

    def __init__(self, seed: int, fenced: Fenced) -> None:
        self._random = random.Random(seed)
        self._regions: list[tuple[int, int]] = []
        page = memoryview(fenced.bytes)[PAGE : 2 * PAGE]
        at = 0
        for word in (*WORDS, *(self._random.randbytes(length) for length in (0, 1, 9, 300))):
            page[at : at + len(word)] = word
            self._regions.append((at, len(word)))
            at += len(word)

    def calls(self, count: int) -> Iterator[tuple[HostFunction, list[int]]]:
        choose = self._random.choice
        for _ in range(count):
            function = choose(list(HOST_FUNCTIONS.values()))
            narrow = sum(kind == "i32" for kind in function.params)
            regions = [
                choose(self._regions if self._random.random() < 0.9 else REGIONS)
                for _ in range(pairs_of(function))
            ]
            numbers = [number for region in regions for number in region]
            numbers = [choose(NUMBERS) for _ in range(narrow - len(numbers))] + numbers
            yield (
                function,
                [numbers.pop(0) if kind == "i32" else choose(WIDE) for kind in function.params],
            )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("hook", [*HOOKS, Hook.START])
async def test_no_call_ends_in_anything_but_a_code(hook: Hook, seed: int) -> None:
    fenced = Fenced(hook)
    call = fenced.host.call
    for function, numbers in Chance(seed, fenced).calls(CALLS):
        with contextlib.suppress(GuestFailure):
            answer = function.run(fenced.host, *numbers)
            if not isinstance(answer, int):
                answer = await answer
            assert answer >= NOT_IN_HOOK or function.result == "i64"
    assert fenced.fence_stands
    await ready(call)
    commit(call)
    flow = call.flow
    if flow is not None:
        flow.compact()
        assert flow.weight > 0
