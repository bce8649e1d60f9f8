"""What watching met is told once."""

from __future__ import annotations

from int3rceptor_tui.view_model.watch_news import WatchNews
from proxy_core.model.plugin_status import PluginStatus, WatchReport
from tests.tui.fake_control import make_plugin


def watched(name: str, at: float) -> PluginStatus:
    return make_plugin(name, watched=WatchReport(at, True, f"{name} at {at:g}"))


def told(news: WatchNews, *plugins: PluginStatus) -> list[str]:
    return [report.text for report in news.take(plugins)]


def test_each_report_is_told_once_and_the_oldest_first() -> None:
    news = WatchNews(began=10)
    assert told(news, watched("a", 12), watched("b", 11), make_plugin("c")) == [
        "b at 11",
        "a at 12",
    ]
    assert told(news, watched("a", 12), watched("b", 13)) == ["b at 13"]


def test_what_was_before_is_not_news() -> None:
    news = WatchNews(began=10)
    assert told(news, watched("a", 9)) == []
    assert told(news, watched("a", 11)) == ["a at 11"]
