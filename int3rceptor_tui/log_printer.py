"""Log lines on a plain stream, for a core without a console.

A thread of its own does the writing: a pipe that nobody reads, or a slow disk, must not hold the
proxy up. What piles up meanwhile is bounded, and what is lost is counted.
"""

from __future__ import annotations

import datetime
import threading
from types import TracebackType
from typing import TextIO

from proxy_core.bus.topic import Subscription, Topic
from proxy_core.model.log_line import LogLine
from proxy_core.model.words import counted

_QUEUE = 5000
_TICK = 0.1
_PATIENCE = 1.0


def escaped(text: str) -> str:
    """Return `text` on one line, whatever is not printable as an escape sequence."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def render(line: LogLine) -> str:
    """Return a log line as text: time, level, who, flow, what; without a newline."""
    time = datetime.datetime.fromtimestamp(line.time).isoformat(" ", "milliseconds")
    who = escaped(line.plugin) or "int3rceptor"
    flow = "" if line.flow_id is None else f" #{line.flow_id}"
    return f"{time} {line.level.name:<5} {who}{flow}: {escaped(line.text)}"


class LogPrinter:
    """Prints what is published on a topic, from `__enter__` to `__exit__`."""

    def __init__(self, topic: Topic[LogLine], stream: TextIO) -> None:
        self._lines: Subscription[LogLine] = topic.subscribe(_QUEUE)
        self._stream = stream
        self._lost = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log printer", daemon=True)

    def __enter__(self) -> LogPrinter:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Print what is left, waiting for a stream that blocks only for a moment."""
        self._stopping.set()
        self._thread.join(_PATIENCE)
        self._lines.close()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(_TICK)
            text = self._take()
            try:
                if text:
                    self._stream.write(text)
                    self._stream.flush()
            except (OSError, ValueError):  # the stream is gone, and who could be told?
                return

    def _take(self) -> str:
        texts = [render(line) for line in self._lines.drain()]
        lost = self._lines.lost
        if lost > self._lost:
            texts.append(
                f"int3rceptor: {counted(lost - self._lost, 'log line')} lost: too many at once"
            )
            self._lost = lost
        return "".join(text + "\n" for text in texts)
