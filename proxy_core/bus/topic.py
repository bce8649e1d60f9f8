"""A topic: publishing is synchronous, O(1), never waits and never raises.

Each subscriber owns a bounded queue. When it is full the oldest item is dropped and counted, so a
console that stopped reading costs the core nothing and knows afterwards that it missed something.
Publish from the core's loop only; drain from any one thread per subscription.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Sink(Protocol[T_contra]):
    """Whatever may hang on a topic. `put` is O(1), never waits and never raises."""

    def put(self, item: T_contra) -> None:
        """Take one item; called on the publisher's thread."""


class Subscription(Generic[T]):
    """The receiving end of a topic."""

    __slots__ = ("_queue", "_topic", "lost")

    def __init__(self, topic: Topic[T], limit: int) -> None:
        self._topic = topic
        self._queue: deque[T] = deque(maxlen=limit)
        self.lost = 0
        """How many items were dropped because nobody drained them in time."""

    def put(self, item: T) -> None:
        """Queue an item; the topic calls this."""
        queue = self._queue
        if len(queue) == queue.maxlen:
            self.lost += 1
        queue.append(item)

    def drain(self, limit: int | None = None) -> list[T]:
        """Take up to `limit` items (all, where None), oldest first."""
        queue = self._queue
        wanted = len(queue) if limit is None else min(limit, len(queue))
        taken: list[T] = []
        try:
            for _ in range(wanted):
                taken.append(queue.popleft())
        except IndexError:  # a full queue dropped its oldest while we took it
            pass
        return taken

    def __len__(self) -> int:
        return len(self._queue)

    def close(self) -> None:
        """Receive nothing more."""
        self._topic.unsubscribe(self)


class Topic(Generic[T]):
    """A named stream of items of one type."""

    __slots__ = ("_subscriptions",)

    def __init__(self) -> None:
        self._subscriptions: tuple[Sink[T], ...] = ()

    def subscribe(self, limit: int) -> Subscription[T]:
        """Receive what is published from now on, at most `limit` (>= 1) items behind."""
        subscription = Subscription(self, limit)
        self.attach(subscription)
        return subscription

    def attach(self, sink: Sink[T]) -> None:
        """Hand `sink` what is published from now on; it keeps its own bound."""
        self._subscriptions = (*self._subscriptions, sink)

    def unsubscribe(self, subscription: Sink[T]) -> None:
        """Forget a subscription or sink; harmless when it is gone already."""
        self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

    def publish(self, item: T) -> None:
        """Hand `item` to every subscription."""
        for subscription in self._subscriptions:
            subscription.put(item)
