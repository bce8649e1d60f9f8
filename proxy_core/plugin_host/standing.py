"""How a plugin fares: its failures, whether it rests, and what of that is told."""

from __future__ import annotations

from proxy_core.model.ids import FlowId
from proxy_core.model.log_line import LogLevel
from proxy_core.plugin_host.belongings.health import Health
from proxy_core.plugin_host.logs import PluginLog


class Standing:
    """One plugin's, over its generations. Used on the core's loop."""

    __slots__ = ("_log", "_resting", "ailing", "health", "last_error", "news", "refused")

    def __init__(self, log: PluginLog) -> None:
        self._log = log
        self._resting = False
        self.health = Health()
        self.ailing = False
        """Whether it trapped of late: then it may rest, or get well."""
        self.refused = False
        """Whether it could not be loaded."""
        self.last_error: str | None = None
        self.news = False
        """Whether anything changed that consoles are told of."""

    def forgive(self) -> None:
        """Start with a clean record, as a new version does."""
        self.health.forget()
        self.ailing = self._resting = False

    def rests(self) -> bool:
        """Whether it is in quarantine; says so where that has just ended."""
        if self.health.is_quarantined():
            return True
        if self._resting:
            self._resting = False
            self.news = True
            self._log.notice(LogLevel.INFO, "its quarantine is over, and it is called again")
        return False

    def went_well(self) -> None:
        """A call went well: it may be healthy again."""
        if self.ailing and not self.health.is_failing():
            self.ailing, self.news = False, True
            self._log.notice(LogLevel.INFO, "no trap for a minute; those before are forgotten")

    def failed(self, text: str, flow_id: FlowId | None) -> None:
        """Log a failure, and keep it as the last one."""
        if text != self.last_error:
            self.last_error = text
            self.news = True
        self._log.complain(LogLevel.ERROR, text, flow_id)

    def trapped(self, text: str, flow_id: FlowId | None) -> None:
        """Log a trap, and have the plugin rest where there were too many."""
        self.ailing = self.news = True
        pause = self.health.note_trap()
        self.failed(text, flow_id)
        self._log.notice(LogLevel.WARN, "its instance was thrown away, and its memory with it")
        if pause is not None:
            self._resting = True
            self._log.notice(LogLevel.ERROR, f"in quarantine for {pause:g} s after repeated traps")
