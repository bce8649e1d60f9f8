"""What the core's thread tells the console."""

from __future__ import annotations

from textual.message import Message

from proxy_core.control.control import Control


class CoreStarted(Message):
    """The core listens; `driver` is how to drive it."""

    def __init__(self, driver: Control) -> None:
        super().__init__()
        self.driver = driver


class CoreStopped(Message):
    """The core is gone: `error` says why, None where it was asked to stop."""

    def __init__(self, error: str | None) -> None:
        super().__init__()
        self.error = error
