from __future__ import annotations

import threading

from proxy_core.bus.topic import Subscription, Topic


def test_every_subscription_gets_every_item_in_order() -> None:
    topic: Topic[int] = Topic()
    first, second = topic.subscribe(10), topic.subscribe(10)
    for item in (1, 2, 3):
        topic.publish(item)
    assert first.drain() == second.drain() == [1, 2, 3]
    assert first.drain() == []
    assert first.lost == second.lost == 0


def test_what_was_published_before_is_not_received() -> None:
    topic: Topic[int] = Topic()
    topic.publish(1)
    late = topic.subscribe(10)
    topic.publish(2)
    assert late.drain() == [2]


def test_subscription_that_is_behind_loses_the_oldest_and_counts_them() -> None:
    topic: Topic[int] = Topic()
    slow, quick = topic.subscribe(3), topic.subscribe(100)
    for item in range(10):
        topic.publish(item)
    assert len(slow) == 3
    assert slow.drain() == [7, 8, 9]
    assert slow.lost == 7
    assert (quick.drain(), quick.lost) == (list(range(10)), 0)
    topic.publish(10)
    assert (slow.drain(), slow.lost) == ([10], 7)


def test_draining_with_a_limit_leaves_the_newest() -> None:
    topic: Topic[int] = Topic()
    subscription = topic.subscribe(10)
    for item in range(5):
        topic.publish(item)
    assert subscription.drain(2) == [0, 1]
    assert subscription.drain(0) == []
    assert subscription.drain(100) == [2, 3, 4]


def test_closed_subscription_receives_nothing_more_but_keeps_what_it_has() -> None:
    topic: Topic[int] = Topic()
    closed, open_ = topic.subscribe(10), topic.subscribe(10)
    topic.publish(1)
    closed.close()
    closed.close()
    topic.publish(2)
    assert closed.drain() == [1]
    assert open_.drain() == [1, 2]


def test_sink_is_handed_items_until_it_is_unsubscribed() -> None:
    class Sink:
        def __init__(self) -> None:
            self.items: list[str] = []

        def put(self, item: str) -> None:
            self.items.append(item)

    topic: Topic[str] = Topic()
    sink, other = Sink(), Sink()
    topic.attach(sink)
    topic.unsubscribe(other)
    topic.publish("heard")
    topic.unsubscribe(sink)
    topic.publish("unheard")
    assert sink.items == ["heard"]
    assert other.items == []


def test_subscriptions_may_come_and_go_while_an_item_is_handed_round() -> None:
    class Leaver:
        def __init__(self, topic: Topic[int]) -> None:
            self.topic = topic
            self.items: list[int] = []
            self.successor: Subscription[int] | None = None

        def put(self, item: int) -> None:
            self.items.append(item)
            self.topic.unsubscribe(self)
            self.successor = self.topic.subscribe(5)

    topic: Topic[int] = Topic()
    leaver = Leaver(topic)
    topic.attach(leaver)
    behind = topic.subscribe(5)
    topic.publish(1)
    topic.publish(2)
    assert leaver.items == [1]
    assert behind.drain() == [1, 2]
    assert leaver.successor is not None
    assert leaver.successor.drain() == [2]


def test_another_thread_may_drain_while_items_are_published() -> None:
    topic: Topic[int] = Topic()
    subscription = topic.subscribe(50)
    over = threading.Event()
    taken: list[int] = []

    def drain() -> None:
        while not over.is_set():
            taken.extend(subscription.drain(7))
        taken.extend(subscription.drain())

    reader = threading.Thread(target=drain)
    reader.start()
    for item in range(20_000):
        topic.publish(item)
    over.set()
    reader.join()
    assert taken == sorted(set(taken))
    assert taken[-1] == 19_999
    assert len(taken) + subscription.lost >= 20_000
