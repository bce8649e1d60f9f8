"""Header edits that a guest was allowed without being looked at, done in its name afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from proxy_core.model.flow import Flow
from proxy_core.model.headers import Field
from proxy_core.model.message import HTTP_2, lines_of
from proxy_core.plugin_host.hook.commit import put_head
from proxy_core.plugin_host.hook.draft import Draft


class NotedEdits:
    """What one call asked for, in order. Only what a draft is known to take is ever noted."""

    __slots__ = ("_cost", "_gained", "_lines", "_lowered", "_lowered_lines", "_present", "steps")

    def __init__(self, steps: Iterable[tuple[bool, bytes, bytes]]) -> None:
        """Give (whether it is set rather than added, name, value) of each."""
        self.steps = tuple(steps)
        self._gained: list[Field] = [(name, value) for _, name, value in self.steps]
        self._lines = lines_of(self._gained)
        self._lowered = [(name.lower(), value) for name, value in self._gained]
        self._lowered_lines = lines_of(self._lowered)
        self._present = _finder(self.steps)
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

        None, and nothing done, where they come to more than new fields behind the others.
        """
        head = flow.response if of_response else flow.request
        if head is None or (self._present is not None and self._present(head.raw)):
            return None
        if head.version == HTTP_2:
            new = head.gaining(self._lowered, self._lowered_lines)
        else:
            new = head.gaining(self._gained, self._lines)
        put_head(flow, head, new, by)
        return self._cost


def _finder(
    steps: Sequence[tuple[bool, bytes, bytes]],
) -> Callable[[bytes], object] | None:
    """Return what tells whether a raw head has fields that these steps replace.

    None where they replace none.
    """
    set_names = [name.lower() for replaces, name, _ in steps if replaces]
    if not set_names:
        return None
    names = [name.lower() for _, name, _ in steps]
    if any(names.count(name) > 1 for name in set_names):
        return lambda raw: True
    return re.compile(rb"\n(?:%b):" % b"|".join(map(re.escape, set_names)), re.IGNORECASE).search
