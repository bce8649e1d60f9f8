"""Header edits that a guest was allowed without being looked at, done in its name afterwards."""

from __future__ import annotations

from collections.abc import Iterable

from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
from proxy_core.model.message import HTTP_2, lines_of
from proxy_core.plugin_host.hook.commit import put_head
from proxy_core.plugin_host.hook.draft import Draft


class NotedEdits:
    """What one call asked for, in order. Only what a draft is known to take is ever noted."""

    __slots__ = ("_added", "_cost", "_lines", "_lowered", "_lowered_lines", "steps")

    def __init__(self, steps: Iterable[tuple[bool, bytes, bytes]]) -> None:
        """Give (whether it is set rather than added, name, value) of each."""
        self.steps = tuple(steps)
        added = [(name, value) for replaces, name, value in self.steps if not replaces]
        self._added: list[Field] | None = added if len(added) == len(self.steps) else None
        self._lines = lines_of(added)
        self._lowered = [(name.lower(), value) for name, value in added]
        self._lowered_lines = lines_of(self._lowered)
        self._cost = len(self._lines)

    def repeat_on(self, draft: Draft) -> None:
        """Do them on a draft."""
        for replaces, name, value in self.steps:
            if replaces:
                draft.set_header(name, value)
            else:
                draft.add_header(name, value)

    def commit(self, flow: Flow, by: str, *, of_response: bool) -> int | None:
        """Do them on a flow, where they are all of a call's; return how many bytes were written.

        None, and nothing done, where that takes a draft.
        """
        head = flow.response if of_response else flow.request
        if self._added is None or head is None:
            return None
        if head.version == HTTP_2:
            new = head.gaining(self._lowered, self._lowered_lines)
        else:
            new = head.gaining(self._added, self._lines)
        put_head(flow, head, new, by)
        return self._cost
