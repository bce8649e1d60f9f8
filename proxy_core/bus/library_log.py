"""What Python's libraries log, as lines of the program's own log instead of on stderr.

A console owns its terminal: a warning that asyncio prints there would tear its picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import time
import traceback
from collections.abc import Callable

from proxy_core.bus.rate_limiter import RateLimiter
from proxy_core.model.log_line import LogLevel
from proxy_core.model.words import counted

_EXHAUSTED = (errno.EMFILE, errno.ENFILE)
_FRAMES = 8  # of a traceback, the innermost
_CONFESS = 1.0  # seconds from the first line that was dropped to the word of it


class LibraryLog(logging.Handler):
    """Hands warnings and worse to `write`, on the loop where it was made; between `with`s only.

    At most `per_second` of them: what is more is counted, and told a second later.
    """

    def __init__(
        self,
        write: Callable[[LogLevel, str], object],
        per_second: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(logging.WARNING)
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._limiter = RateLimiter(per_second, clock)
        self._dropped = 0

    def __enter__(self) -> LibraryLog:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
        self._confess()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, on any thread; `handle` sees to it that it is one at a time."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to read it
            if self._limiter.allow():
                level = LogLevel.ERROR if record.levelno >= logging.ERROR else LogLevel.WARN
                self._loop.call_soon_threadsafe(self._write, level, _text(record))
                return
            self._dropped += 1
            if self._dropped == 1:
                self._loop.call_soon_threadsafe(self._loop.call_later, _CONFESS, self._confess)

    def _confess(self) -> None:
        """Say how many lines were dropped; on the loop."""
        with self.lock or contextlib.nullcontext():
            count, self._dropped = self._dropped, 0
        if count:
            self._write(LogLevel.WARN, f"dropped {counted(count, 'log line')} of libraries")


def _text(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except (TypeError, ValueError):  # its arguments do not fit its format
        text = str(record.msg)
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, OSError) and error.errno in _EXHAUSTED:
        text = f"{text}: {error.strerror}"  # no bug: where it was met says nothing
    elif error is not None:
        trace = "".join(traceback.format_exception(error, limit=-_FRAMES)).rstrip()
        text = f"{text}\n{trace}"
    return f"{record.name}: {text}"
