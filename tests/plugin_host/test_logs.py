"""The ring and the rates: bounded, and honest about what was lost."""

from __future__ import annotations

from proxy_core.bus.topic import Topic
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLevel, LogLine
from proxy_core.plugin_host.logs import LogRing, PluginLog, StartLog


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


def test_lines_are_numbered_kept_and_published() -> None:
    topic: Topic[LogLine] = Topic()
    subscription = topic.subscribe(10)
    ring = LogRing(10, topic)
    first = ring.write("a", LogLevel.INFO, "one", FlowId(3))
    ring.write("b", LogLevel.ERROR, "two", at=5.0)
    assert [(line.seq, line.plugin, line.text) for line in ring.snapshot()] == [
        (1, "a", "one"),
        (2, "b", "two"),
    ]
    assert first.flow_id == 3
    assert first.time > 1e9
    assert ring.snapshot()[1].time == 5.0
    assert subscription.drain() == ring.snapshot()


def test_the_oldest_line_makes_room() -> None:
    ring = LogRing(2)
    for text in ("one", "two", "three"):
        ring.write("a", LogLevel.INFO, text)
    assert texts(ring.snapshot()) == ["two", "three"]
    assert ring.evicted == 1
    assert ring.dropped == 0


def test_a_snapshot_takes_the_newest_of_one_plugin() -> None:
    ring = LogRing(10)
    for number in range(3):
        ring.write("a", LogLevel.INFO, f"a{number}")
        ring.write("b", LogLevel.INFO, f"b{number}")
    assert texts(ring.snapshot("a", 2)) == ["a1", "a2"]
    assert texts(ring.snapshot(limit=1)) == ["b2"]
    assert ring.snapshot(limit=0) == []
    assert ring.snapshot("c") == []


def test_lines_over_the_rate_are_counted_and_confessed() -> None:
    ring = LogRing(100)
    log = PluginLog("p", ring, 2)
    assert [log.write(LogLevel.INFO, str(n), None) for n in range(5)] == [True] * 2 + [False] * 3
    assert (log.written, log.dropped, ring.dropped) == (2, 3, 3)
    log.set_rate(2)
    log.write(LogLevel.INFO, "later", None)
    assert texts(ring.snapshot()) == ["0", "1", "dropped 3 log lines", "later"]


def test_a_flood_is_confessed_once_a_second() -> None:
    now = 1000.0
    ring = LogRing(1000)
    log = PluginLog("p", ring, 10, lambda: now)
    for _ in range(35):  # of 0.1 s, in which one of two lines passes once there were ten more
        log.write(LogLevel.INFO, "kept", None)
        log.write(LogLevel.INFO, "more", None)
        now += 0.1
    told = [text for text in texts(ring.snapshot()) if text.startswith("dropped")]
    assert told == ["dropped 1 log line", "dropped 10 log lines", "dropped 10 log lines"]


def test_notices_of_the_host_are_not_rated_but_complaints_are() -> None:
    ring = LogRing(1000)
    log = PluginLog("p", ring, 1)
    for _ in range(50):
        log.notice(LogLevel.INFO, "notice")
        log.complain(LogLevel.ERROR, "complaint", None)
    assert texts(ring.snapshot()).count("notice") == 50
    complaints = texts(ring.snapshot()).count("complaint")
    assert 20 <= complaints <= 22
    assert ring.dropped == 50 - complaints


def test_lines_of_loading_are_replayed_with_their_times() -> None:
    ring = LogRing(10)
    log = PluginLog("p", ring, 10)
    aside = StartLog(2)
    assert [aside.write(LogLevel.WARN, str(n), None) for n in range(3)] == [True, True, False]
    log.replay(aside)
    assert texts(ring.snapshot()) == ["0", "1"]
    assert [line.time for line in ring.snapshot()] == [at for _, _, at in aside.lines]
    assert (log.written, log.dropped, ring.dropped) == (2, 1, 1)
