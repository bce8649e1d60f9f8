"""What parts of the console tell the app."""

from __future__ import annotations

from textual.message import Message

from proxy_core.control.control import Control
from proxy_core.model.ids import FlowId


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


class FlowChosen(Message):
    """The user wants to see a flow."""

    def __init__(self, flow_id: FlowId) -> None:
        super().__init__()
        self.flow_id = flow_id


class PluginChosen(Message):
    """The user wants to see a plugin."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


class LogLineChosen(Message):
    """The user wants to see a log line whole; `seq` is its key in the log book."""

    def __init__(self, seq: int) -> None:
        super().__init__()
        self.seq = seq


class ScreenChosen(Message):
    """The user clicked on a main screen's name; `index` counts from 0."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index
