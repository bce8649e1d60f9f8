"""Which of the changes that watching has met the user has not been told of."""

from __future__ import annotations

from collections.abc import Iterable

from proxy_core.model.plugin_status import PluginStatus, WatchReport


class WatchNews:
    """Remembers what was told; what lies before it began is old."""

    def __init__(self, began: float) -> None:
        """`began`: seconds since the epoch."""
        self._began = began
        self._told: dict[str, float] = {}

    def take(self, plugins: Iterable[PluginStatus]) -> list[WatchReport]:
        """Return what is new about these plugins, each report once, oldest first."""
        news = []
        for plugin in plugins:
            report = plugin.watched
            if report is not None and report.at > self._told.get(plugin.name, self._began):
                self._told[plugin.name] = report.at
                news.append(report)
        return sorted(news, key=lambda report: report.at)
