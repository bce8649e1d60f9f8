"""What the host keeps for one instance of a filter: its contexts, and what they asked for.

Host functions work on these while the guest runs; the driver carries out what was asked for once
the guest has returned. Only one of the two is at work at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
from proxy_core.plugin_host.foreign.proxy_wasm.codes import ROOT, StreamType
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.draft import ResponseDraft

PROPERTY_BYTES: Final = 64 * 1024
"""Names and values that a filter may set on one context."""
MOST_CALLS: Final = 100
"""HTTP calls of one filter that may be under way."""
MOST_NEWS: Final = 10_000
"""Items in shared queues that a filter was not told of yet."""


class Side:
    """One direction of a stream: what is at hand of it, and whether it waits."""

    __slots__ = ("closed", "data", "edited", "head_waits", "resumed", "shown", "trailers", "wake")

    def __init__(self) -> None:
        self.data: bytearray | None = None
        """Bytes that did not go on yet; None while they may not be looked at."""
        self.edited = False
        """The filter has written into `data`, which nobody has told of yet."""
        self.trailers: list[Field] | None = None
        """None while they may not be looked at."""
        self.closed = False
        """The filter was told that this side of a tunnel is closed."""
        self.shown = False
        """It was there whole, or is passing already, and has been dealt with."""
        self.head_waits = False
        """The filter has paused the head, to look at the body first."""
        self.resumed = False
        """Somebody has asked for it to go on since the last callback began."""
        self.wake: asyncio.Event | None = None
        """Set where somebody waits for it to go on."""


class Stream:
    """The context of one flow."""

    __slots__ = (
        "calls",
        "closed",
        "done",
        "finished",
        "flow",
        "id",
        "instance",
        "is_tunnel",
        "last_call",
        "local_response",
        "over",
        "own_response",
        "properties",
        "request_call",
        "response_call",
        "sides",
    )

    def __init__(self, number: int, instance: Instance, call: HookCall, flow: Flow) -> None:
        self.id = number
        self.instance = instance
        self.flow = flow
        self.request_call: HookCall | None = None
        """Where edits of the request's head go; None when it has gone on."""
        self.response_call: HookCall | None = None
        """The same for the response's."""
        self.last_call = call
        """The newest of the hook calls about this stream."""
        self.is_tunnel = False
        self.over = False
        self.sides = {kind: Side() for kind in StreamType}
        self.properties = Properties()
        self.local_response = False
        """The filter answers itself."""
        self.own_response: ResponseDraft | None = None
        """The answer that it made, while it is shown that."""
        self.closed = False
        """The filter wants it ended."""
        self.calls = 0
        """HTTP calls under way whose answers it may wait for."""
        self.done = False
        """`proxy_on_done` was called."""
        self.finished = False
        """It answered yes, or called `proxy_done` since."""

    @property
    def decided(self) -> bool:
        """Whether the filter has answered or ended it."""
        return self.local_response or self.closed

    def wake(self) -> None:
        """Let whoever waits look again."""
        for side in self.sides.values():
            if side.wake is not None:
                side.wake.set()


class Properties:
    """What a filter has set on a context: bytes by path. Bounded."""

    __slots__ = ("_room", "_values")

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._room = PROPERTY_BYTES

    def get(self, path: bytes) -> bytes | None:
        """Return a value, or None."""
        return self._values.get(path)

    def set(self, path: bytes, value: bytes) -> bool:
        """Keep a value; False where that would be too much."""
        old = self._values.get(path)
        freed = 0 if old is None else len(path) + len(old)
        if len(path) + len(value) > self._room + freed:
            return False
        self._room += freed - len(path) - len(value)
        self._values[path] = value
        return True


@dataclass(slots=True)
class OutgoingCall:
    """An HTTP call that a filter has asked for."""

    id: int
    method: bytes
    url: str
    headers: list[Field]
    body: bytes
    seconds: float
    stream: Stream | None
    """Whose context asked for it; None for the plugin's own."""


@dataclass(slots=True)
class CallAnswer:
    """What came of an HTTP call, while the filter is told of it; all empty where it failed."""

    status: int = 0
    message: str = ""
    headers: list[Field] = field(default_factory=list)
    body: bytes = b""
    trailers: list[Field] = field(default_factory=list)


class Instance:
    """The state of one instance; `HostSide.state`."""

    def __init__(self, version: tuple[int, int, int] = (0, 2, 1)) -> None:
        self.version = version
        self.allocator: str | None = None
        """The export that gives memory for results."""
        self.starting_vm = False
        """Whether `proxy_on_vm_start` is under way: 0.1.0 has one function for two texts."""
        self.streams: dict[int, Stream] = {}
        self.properties = Properties()
        """Of the plugin's own context."""
        self.current: Stream | None = None
        """Whose callback is under way; None for the plugin's own."""
        self.effective: Stream | None = None
        """What the filter has chosen instead, for the rest of the callback."""
        self.root_chosen = False
        self.answer: CallAnswer | None = None
        self.touched: set[Stream] = set()
        """Streams to look at once the guest has returned."""
        self.outbox: list[OutgoingCall] = []
        self.calls_under_way = 0
        self.waiting: set[Stream] = set()
        """Streams that are paused, and look again when a call is over."""
        self.news: deque[int] = deque()
        """Queues in which something is, once for each item."""
        self.on_news: Callable[[], object] | None = None
        """Called, in any thread, where there was none; None while it is being started."""
        self.uses_queues = False
        self.tick_seconds = 0.0
        self.metrics: list[tuple[int, bytes]] = []
        """Kind and name of each metric; its number is its place."""
        self.metric_ids: dict[tuple[int, bytes], int] = {}
        self.lost = False
        self._last_id = ROOT
        self._last_call = 0

    @property
    def expects(self) -> bool:
        """Whether something is under way that may let a paused stream go on."""
        return bool(self.calls_under_way or self.tick_seconds or self.uses_queues)

    @property
    def stream(self) -> Stream | None:
        """The stream that host functions work on; None for the plugin's own context."""
        if self.root_chosen:
            return None
        return self.effective or self.current

    def tell(self, number: int) -> None:
        """There is a new item in a queue. For any thread."""
        if len(self.news) < MOST_NEWS:
            self.news.append(number)
            if self.on_news is not None and len(self.news) == 1:
                self.on_news()

    def new_id(self) -> int:
        """Return a number that no context has."""
        while True:
            self._last_id = self._last_id % 0xFFFFFFFF + 1
            if self._last_id != ROOT and self._last_id not in self.streams:
                return self._last_id

    def new_call_id(self) -> int:
        """Return a number for an HTTP call; never 0."""
        self._last_call = self._last_call % 0xFFFFFFFF + 1
        return self._last_call

    def begin(self, stream: Stream | None) -> None:
        """A callback about `stream` begins."""
        self.current = stream
        self.effective = None
        self.root_chosen = False

    def lose(self) -> None:
        """The guest is gone; whoever waits for it must know."""
        self.lost = True
        for stream in self.streams.values():
            stream.wake()
        self.streams.clear()


def instance_of(host: HostSide) -> Instance:
    """Return the state of the guest that calls; new where it calls from its start function."""
    state = host.state
    if not isinstance(state, Instance):
        state = host.state = Instance()
    return state
