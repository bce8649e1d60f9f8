from __future__ import annotations

import contextlib
import io
import os
import re
import threading

import pytest

from int3rceptor_tui import log_printer
from int3rceptor_tui.log_printer import LogPrinter, escaped, render
from proxy_core.bus.topic import Topic
from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLevel, LogLine


def line(text: str, seq: int = 1, plugin: str = "p", flow: int | None = None) -> LogLine:
    flow_id = None if flow is None else FlowId(flow)
    return LogLine(seq, plugin, LogLevel.WARN, 1_700_000_000.1234, flow_id, text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünd 日本", "plain, ünd 日本"),
        ("", ""),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("\x1b[31mred\x07\x9b1m\x7f\0", "\\x1b[31mred\\x07\\x9b1m\\x7f\\x00"),
        ("\u202eevil\u2066\u2028\ufeff", "\\u202eevil\\u2066\\u2028\\ufeff"),
        ("\ud800", "\\ud800"),
        ("[bold]markup[/]", "[bold]markup[/]"),
    ],
)
def test_what_cannot_be_printed_is_made_visible(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_line_says_when_how_bad_who_where_and_what() -> None:
    text = render(line("odd\nthing", plugin="my\x1bplugin", flow=12))
    stamp, rest = text[:23], text[23:]
    assert re.fullmatch(r"2023-11-1\d \d\d:\d\d:20\.123", stamp)
    assert rest == " WARN  my\\x1bplugin #12: odd\\nthing"


def test_line_of_the_program_itself_names_it() -> None:
    assert render(line("made a CA", plugin="")).endswith(" WARN  int3rceptor: made a CA")


def test_what_was_published_is_printed_by_the_end() -> None:
    topic: Topic[LogLine] = Topic()
    stream = io.StringIO()
    with LogPrinter(topic, stream):
        for number in range(100):
            topic.publish(line(f"line {number}"))
    texts = [text.rpartition(": ")[2] for text in stream.getvalue().splitlines()]
    assert texts == [f"line {number}" for number in range(100)]


def test_lines_appear_while_it_runs() -> None:
    topic: Topic[LogLine] = Topic()
    written = threading.Event()

    class Watched(io.StringIO):
        def flush(self) -> None:
            written.set()

    with LogPrinter(topic, Watched()):
        topic.publish(line("now"))
        assert written.wait(10)


def test_loss_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_printer, "_QUEUE", 10)
    topic: Topic[LogLine] = Topic()
    stream = io.StringIO()
    printer = LogPrinter(topic, stream)
    for number in range(25):
        topic.publish(line(f"line {number}"))
    with printer:
        pass
    lines = stream.getvalue().splitlines()
    assert len(lines) == 11
    assert lines[-1] == "int3rceptor: 15 log lines lost: too many at once"


def test_stream_that_blocks_holds_up_neither_publisher_nor_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_printer, "_PATIENCE", 0.05)
    topic: Topic[LogLine] = Topic()
    reading, writing = os.pipe()
    try:
        with open(writing, "w", closefd=False) as stream:
            with LogPrinter(topic, stream) as printer:
                for _ in range(log_printer._QUEUE + 1):
                    topic.publish(line("x" * 100))
            assert printer._thread.is_alive()
            os.set_blocking(reading, False)
            while printer._thread.is_alive():
                with contextlib.suppress(BlockingIOError):
                    os.read(reading, 1 << 20)
                printer._thread.join(0.001)
    finally:
        os.close(reading)
        os.close(writing)


def test_stream_that_is_gone_ends_the_printing_and_nothing_else() -> None:
    topic: Topic[LogLine] = Topic()
    stream = io.StringIO()
    stream.close()
    with LogPrinter(topic, stream) as printer:
        topic.publish(line("x"))
        printer._thread.join(10)
        assert not printer._thread.is_alive()
        topic.publish(line("y"))
