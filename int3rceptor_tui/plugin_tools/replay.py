"""Running a plugin's hooks over recorded flows, in the order in which a proxy would call them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from int3rceptor_tui.log_printer import escaped
from int3rceptor_tui.plugin_tools.har import Archive, Recorded
from int3rceptor_tui.plugin_tools.story import Story, Teller, texts
from proxy_core.model.flow import Flow
from proxy_core.model.headers import text_of
from proxy_core.plugin_host.recorded.offline import OfflineHost
from proxy_core.plugin_host.recorded.rerun import Rerun
from proxy_core.policy.message_rules import MessageRules


class Replay:
    """A plugin that was started offline, and what it said while it started."""

    def __init__(self, host: OfflineHost, rules: MessageRules | None = None) -> None:
        """Apply `rules` to messages before the plugin sees them."""
        self._host = host
        self._rules = rules
        self._met: set[str] = set()
        self.started = texts(host.take_lines())

    async def stories(
        self, archive: Archive, wanted: Callable[[Flow], bool] | None = None
    ) -> AsyncIterator[Story]:
        """Yield one story for each exchange that is wanted, in order."""
        for recorded in archive.exchanges:
            if wanted is None or wanted(recorded.finished()):
                yield await self._tell(recorded)

    async def _tell(self, recorded: Recorded) -> Story:
        host = self._host
        failures = host.failures
        head = recorded.request
        story = Story(recorded.number, escaped(text_of(head.method)), escaped(head.url))
        recording = recorded.recording(connects=recorded.connection not in self._met)
        self._met.add(recorded.connection)
        await Rerun(host, recording, Teller(host, story), self._rules).run()
        story.annotations = dict(recording.flow.annotations or {})
        story.failed = host.failures > failures
        return story
