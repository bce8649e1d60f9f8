"""What the terminal can take: how often to draw, whether it keeps up, and whether it is there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

LOCAL_INTERVAL = 1 / 20
SSH_INTERVAL = 1 / 8
_MAX_BACKLOG = 2


def frame_interval(environ: Mapping[str, str] = os.environ) -> float:
    """Return the seconds between two frames: fewer of them over SSH, where bytes are dear."""
    remote = any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"))
    return SSH_INTERVAL if remote else LOCAL_INTERVAL


def is_behind(driver: Any) -> bool:
    """Tell whether the terminal has not yet taken the frames before.

    Textual's writer has a bounded queue and blocks the whole program when it is full; a frame
    that is skipped while the terminal stalls costs nothing.
    """
    writer = getattr(driver, "_writer_thread", None)
    queue = getattr(writer, "_queue", None)
    return queue is not None and queue.qsize() > _MAX_BACKLOG


def is_gone(driver: Any) -> bool:
    """Tell whether there is no terminal any more; Textual would read its end for ever."""
    fileno = getattr(driver, "fileno", None)
    return fileno is not None and not os.isatty(fileno)


def take_again(driver: Any) -> None:
    """Set the terminal up anew, as the program goes on after it was stopped.

    Textual's own handler of SIGCONT does so without leaving the terminal first where that was not
    done, as after SIGSTOP, or for the SIGCONT that comes with each hang-up: a second thread then
    reads the keys, and may be left over when the program ends, which it then never does.
    """
    if is_gone(driver):
        return
    if not getattr(driver, "_must_signal_resume", False):
        driver.suspend_application_mode()
    driver.resume_application_mode()
