from __future__ import annotations

import asyncio
import logging

import pytest

from proxy_core.bus.library_log import LibraryLog
from proxy_core.model.log_line import LogLevel

Lines = list[tuple[LogLevel, str]]


async def collect(emit: object) -> Lines:
    lines: Lines = []
    with LibraryLog(lambda level, text: lines.append((level, text)), 20):
        assert callable(emit)
        emit()
        await asyncio.sleep(0)
    logging.getLogger("lib").error("after the end")
    await asyncio.sleep(0)
    return lines


async def test_warnings_and_worse_come_as_lines_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def emit() -> None:
        logging.getLogger("lib.part").debug("not this")
        logging.getLogger("lib.part").warning("%s is odd", "x")
        logging.getLogger("lib").critical("the end")

    lines = await collect(emit)
    assert lines == [
        (LogLevel.WARN, "lib.part: x is odd"),
        (LogLevel.ERROR, "lib: the end"),
    ]


async def test_an_exception_comes_with_where_it_happened() -> None:
    def emit() -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "it broke", "exception": ValueError("why")})

    ((level, text),) = await collect(emit)
    assert level is LogLevel.ERROR
    assert text.startswith("asyncio: it broke")
    assert text.endswith("ValueError: why")


async def test_a_record_that_cannot_be_formatted_is_shown_as_it_is() -> None:
    lines: Lines = []
    log = LibraryLog(lambda level, text: lines.append((level, text)), 20)
    log.emit(logging.LogRecord("lib", logging.WARNING, "", 0, "%d of %d", (1,), None))
    await asyncio.sleep(0)
    assert lines == [(LogLevel.WARN, "lib: %d of %d")]


async def test_another_thread_may_log() -> None:
    lines: Lines = []
    with LibraryLog(lambda level, text: lines.append((level, text)), 20):
        await asyncio.to_thread(logging.getLogger("lib").warning, "from afar")
        await asyncio.sleep(0)
    assert lines == [(LogLevel.WARN, "lib: from afar")]


async def test_a_flood_of_lines_is_cut_and_counted() -> None:
    lines: Lines = []
    now = [0.0]
    with LibraryLog(lambda level, text: lines.append((level, text)), 3, lambda: now[0]):
        for number in range(10):
            logging.getLogger("lib").warning("%d", number)
        now[0] += 1.0
        logging.getLogger("lib").warning("later")
        await asyncio.sleep(0)
    assert lines == [
        *((LogLevel.WARN, f"lib: {number}") for number in range(3)),
        (LogLevel.WARN, "lib: later"),
        (LogLevel.WARN, "dropped 7 log lines of libraries"),
    ]


async def test_what_was_dropped_is_told_though_nothing_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy_core.bus.library_log._CONFESS", 0.01)
    told = asyncio.Event()
    lines: Lines = []

    def write(level: LogLevel, text: str) -> None:
        lines.append((level, text))
        if "dropped" in text:
            told.set()

    with LibraryLog(write, 1):
        for _ in range(3):
            logging.getLogger("lib").warning("again")
        await told.wait()
    assert [text for _, text in lines] == ["lib: again", "dropped 2 log lines of libraries"]
