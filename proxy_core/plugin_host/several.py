"""Several flows that go through one guest in one entry.

The guest is entered once, and what its hook asks for is noted on its desk (`guest.Desk`); here it
is done for each flow afterwards. Host functions that the desk does not know see the flow that the
guest is in, with what is noted so far done to it, and the rest of that flow goes without notes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from proxy_core.model.flow import Flow
from proxy_core.plugin_host import codes
from proxy_core.plugin_host.belongings.belongings import Belongings
from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.files.manifest import Manifest
from proxy_core.plugin_host.functions.host_side import HostSide
from proxy_core.plugin_host.guest import Desk
from proxy_core.plugin_host.hook import edit_rules as rules
from proxy_core.plugin_host.hook.call import HookCall
from proxy_core.plugin_host.hook.commit import editor
from proxy_core.plugin_host.hook.noted_edits import NotedEdits
from proxy_core.plugin_host.logs import PluginLog, level_of

_RESPONSE: Final = Hook.RESPONSE  # an enumeration's members are slow to get at
_NO_LINES: Final[deque[tuple[int, int, bytes]]] = deque()


class Several:
    """The flows of one entry, and what their hooks asked for."""

    def __init__(
        self,
        desk: Desk,
        hook: Hook,
        flows: Sequence[Flow],
        manifest: Manifest,
        log: PluginLog,
        belongings: Belongings,
        conclude: Callable[[int, int, HookCall], None],
    ) -> None:
        """`conclude` a call, given its flow's place and what its hook returned, in their order.

        That is not asked for where there is nothing to do but to write to a head.
        """
        self._desk = desk
        self._hook = hook
        self._flows = flows
        self._manifest = manifest
        self._log = log
        self._belongings = belongings
        self._conclude = conclude
        self._view: HookCall | None = None
        self._settled = 0
        """So many flows are over."""
        self._calls: dict[int, HookCall] = {}
        """Of the flows that the host functions had to see."""
        desk.lay_out(
            len(flows),
            self._room() if desk.takes_edits else 0,
            log.room() if desk.takes_lines else 0,
        )

    def _room(self) -> int:
        """How many more fields each message may get."""
        allowed = self._manifest.permissions
        if self._hook is not _RESPONSE:
            if not allowed.modify_requests:
                return 0
            heads = [flow.request for flow in self._flows]
            return rules.HEADER_COUNT - max([len(head.headers.fields) for head in heads])
        if not allowed.modify_responses:
            return 0
        answers = [flow.response for flow in self._flows]
        return rules.HEADER_COUNT - max(
            [rules.HEADER_COUNT if head is None else len(head.headers.fields) for head in answers]
        )

    def side(self, host: HostSide) -> HostSide:
        """How the host functions see the guest meanwhile."""
        return _SeveralSide(host, self)

    @property
    def at_hand(self) -> HookCall:
        """The call of the flow that the guest is in, from now on without notes."""
        desk = self._desk
        place = desk.place
        call = self._calls.get(place)
        if call is None:
            self.settle(place)
            call = self._begin_call(place, desk.edits_of(place))
            desk.note_no_more()
            if desk.takes_lines:
                desk.allow_lines(self._log.room())
        return call

    @property
    def view(self) -> HookCall:
        """The same for who only reads, and then notes go on: one object for all flows."""
        desk = self._desk
        place = desk.place
        if place in self._calls or desk.has_edited:
            return self.at_hand
        view = self._view
        if view is None:
            view = self._view = HookCall(
                self._hook, self._manifest, self._log, None, self._belongings
            )
        view.flow = self._flows[place]
        return view

    def _begin_call(self, place: int, noted: NotedEdits | None) -> HookCall:
        call = HookCall(self._hook, self._manifest, self._log, self._flows[place], self._belongings)
        self._calls[place] = call
        draft = None if noted is None else call.draft
        if noted is not None and draft is not None:
            noted.repeat_on(draft)
        return call

    def settle(self, flows: int) -> None:
        """Do what the hooks of the first flows asked for; log what the one behind them did."""
        desk, log = self._desk, self._log
        lines, dropped = desk.take_lines() if desk.has_lines else (_NO_LINES, 0)
        found, edits = desk.codes(flows), desk.edits(flows)
        if found is not None or edits is not None or self._calls:
            self._settle_each(flows, found, edits, lines)
        for line in lines:
            self._write(line)
        log.count_dropped(dropped)
        self._settled = flows

    def _settle_each(
        self,
        flows: int,
        found: list[int] | None,
        edits: list[NotedEdits | None] | None,
        lines: deque[tuple[int, int, bytes]],
    ) -> None:
        of_response = self._hook is _RESPONSE
        by = editor(self._manifest.name)
        bytes_changed = 0
        for place in range(self._settled, flows):
            while lines and lines[0][0] == place:
                self._write(lines.popleft())
            code = codes.CONTINUE if found is None else found[place]
            noted = None if edits is None else edits[place]
            call = self._calls.get(place)
            if call is None:
                if code == codes.CONTINUE:
                    if noted is None:
                        continue
                    written = noted.commit(self._flows[place], by, of_response=of_response)
                    if written is not None:
                        bytes_changed += written
                        continue
                call = self._begin_call(place, noted)
            self._conclude(place, code, call)
        self._belongings.profile.records[self._hook.index].bytes_changed += bytes_changed

    def _write(self, line: tuple[int, int, bytes]) -> None:
        place, level, text = line
        self._log.write(level_of(level), text.decode("utf-8", "replace"), self._flows[place].id)


class _SeveralSide(HostSide):
    """A guest as its host functions see it while several flows go through it."""

    __slots__ = ("_several",)

    def __init__(self, host: HostSide, several: Several) -> None:
        self.memory = host.memory
        self._enter = host._enter
        self._depth = 0
        self.state = host.state
        self.unfinished = host.unfinished
        self._several = several

    @property
    def call(self) -> HookCall:  # type: ignore[override]
        """The call of the flow that the guest is in."""
        return self._several.at_hand

    @property
    def view(self) -> HookCall:
        """The same, for what changes nothing of it and keeps none of it."""
        return self._several.view
