"""What plugins of one VM ID share: queues, and the data that others than one plugin may see.

A plugin without a VM ID is alone in its machine. Queues have numbers that no other machine's have,
so that whoever has found one by its machine's ID and its name may use it.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Final, cast

from proxy_core.plugin_host.belongings.state import KeyValueState
from proxy_core.plugin_host.foreign.proxy_wasm.codes import EMPTY, INTERNAL_FAILURE, OK
from proxy_core.plugin_host.foreign.proxy_wasm.contexts import Instance
from proxy_core.plugin_host.functions.host_side import HostSide

MOST_QUEUES: Final = 100
ITEM_BYTES: Final = 64
"""What an item counts for besides its bytes."""


class Queue:
    """Items, and those that want to be told of them."""

    def __init__(self, number: int, machine: Machine) -> None:
        self.number = number
        self._machine = machine
        self._items: deque[bytes] = deque()
        self._listeners: list[weakref.ref[Instance]] = []

    def add_listener(self, instance: Instance) -> None:
        """Tell this instance of new items, as long as it is there, before those that came first."""
        with self._machine.lock:
            kept = [ref for ref in self._listeners if ref() not in (None, instance)]
            self._listeners = [*kept, weakref.ref(instance)]

    def put(self, item: bytes, limit: int) -> int:
        """Append an item; OK, or INTERNAL_FAILURE where the machine would pass `limit`."""
        machine = self._machine
        with machine.lock:
            if machine.size + len(item) + ITEM_BYTES > limit:
                return INTERNAL_FAILURE
            self._items.append(item)
            machine.size += len(item) + ITEM_BYTES
            listener = self._listener()
        if listener is not None:
            listener.tell(self.number)
        return OK

    def _listener(self) -> Instance | None:
        """The newest one at work; one that is being started may come to nothing."""
        instances = [ref() for ref in reversed(self._listeners)]
        there = [each for each in instances if each is not None and not each.lost]
        at_work = [each for each in there if each.on_news is not None]
        return next(iter(at_work or there), None)

    def first(self) -> bytes | int:
        """Return the oldest item and leave it there; EMPTY where there is none."""
        return self._items[0] if self._items else EMPTY

    def drop_first(self) -> None:
        """Take the oldest item out."""
        with self._machine.lock:
            self._machine.size -= len(self._items.popleft()) + ITEM_BYTES


class Machine:
    """One VM ID's queues and data. For any thread."""

    def __init__(self, vm_id: str, numbers: Iterator[int]) -> None:
        """Number queues by `numbers`, which all machines share."""
        self.vm_id = vm_id
        self.data = KeyValueState()
        """What plugins of a VM ID share; one without an ID keeps such data in its own state."""
        self.lock = threading.Lock()
        self.size = 0
        """Of all items, with ITEM_BYTES for each."""
        self._numbers = numbers
        self._queues: dict[bytes, Queue] = {}

    def register(self, name: bytes) -> Queue | None:
        """Return the queue of a name, new or not; None where there are too many."""
        with self.lock:
            queue = self._queues.get(name)
            if queue is None and len(self._queues) < MOST_QUEUES:
                queue = self._queues[name] = Queue(next(self._numbers), self)
        return queue

    def find(self, name: bytes) -> Queue | None:
        """Return a queue that is registered."""
        return self._queues.get(name)

    def numbered(self, number: int) -> Queue | None:
        """Return the queue of a number."""
        queues = list(self._queues.values())
        return next((queue for queue in queues if queue.number == number), None)


def machine_of(host: HostSide) -> Machine:
    """Return the machine that a plugin is in."""
    belongings, vm_id = host.call.belongings, host.call.manifest.proxy_wasm.vm_id
    found = belongings.foreign
    if not isinstance(found, Machine) or found.vm_id != vm_id:
        commons = belongings.commons
        found = Machine(vm_id, commons.numbers)
        if vm_id:
            found = cast("Machine", commons.machines.setdefault(vm_id, found))
        belongings.foreign = found
    return found


def resolve_queue(host: HostSide, vm_id: bytes, name: bytes) -> Queue | None:
    """Find a queue of a machine, or of the plugin's own where that is not named."""
    own = machine_of(host)
    if vm_id in (b"", own.vm_id.encode()):
        return own.find(name)
    other = host.call.belongings.commons.machines.get(vm_id.decode("utf-8", "replace"))
    return None if other is None else other.find(name)


def find_queue(host: HostSide, number: int) -> Queue | None:
    """Find a queue by its number."""
    own = machine_of(host).numbered(number)
    if own is not None:
        return own
    others = list(host.call.belongings.commons.machines.values())
    return next((found for other in others if (found := other.numbered(number))), None)
