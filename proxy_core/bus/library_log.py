"""What Python's libraries log, as lines of the program's own log instead of on stderr.

A console owns its terminal: a warning that asyncio prints there would tear its picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import traceback
from collections.abc import Callable

from proxy_core.model.log_line import LogLevel

_EXHAUSTED = (errno.EMFILE, errno.ENFILE)
_FRAMES = 8  # of a traceback, the innermost


class LibraryLog(logging.Handler):
    """Hands warnings and worse to `write`, on the loop where it was made; between `with`s only."""

    def __init__(self, write: Callable[[LogLevel, str], object]) -> None:
        super().__init__(logging.WARNING)
        self._write = write
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> LibraryLog:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record, on any thread."""
        level = LogLevel.ERROR if record.levelno >= logging.ERROR else LogLevel.WARN
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to read it
            self._loop.call_soon_threadsafe(self._write, level, _text(record))


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
