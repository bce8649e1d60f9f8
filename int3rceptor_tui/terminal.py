"""What the terminal can take: whether it is one, how often to draw, and whether it keeps up."""

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
