"""The core's topics in one place."""

from __future__ import annotations

from proxy_core.bus.topic import Topic
from proxy_core.model.flow import Flow
from proxy_core.model.log_line import LogLine
from proxy_core.model.plugin_status import PluginStatus


class Bus:
    """Every topic of one core."""

    __slots__ = ("flows", "logs", "plugins")

    def __init__(self) -> None:
        self.flows: Topic[Flow] = Topic()
        """A flow that began, went on or ended; the same flow comes more than once."""
        self.logs: Topic[LogLine] = Topic()
        """What plugins log, and what the program has to say."""
        self.plugins: Topic[PluginStatus] = Topic()
        """A plugin whose state, generation or error changed."""
