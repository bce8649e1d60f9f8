"""One flow: what was asked, what was answered, and everything known about it."""

from __future__ import annotations

import time

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from int3rceptor_tui.feed import Books
from int3rceptor_tui.keymap import Where, bindings
from int3rceptor_tui.screens.base import ConsoleScreen
from int3rceptor_tui.view_model.content import Content
from int3rceptor_tui.view_model.detail_lines import fact_lines, head_lines
from int3rceptor_tui.view_model.lines import FixedLines, JoinedLines, Lines
from int3rceptor_tui.view_model.message_lines import MessageLines
from int3rceptor_tui.view_model.visible import visible
from int3rceptor_tui.widgets.line_viewer import LineViewer
from int3rceptor_tui.widgets.tab_line import TabLine
from proxy_core.control.control import Control
from proxy_core.control.views import BodyView, FlowDetail, Update
from proxy_core.model.ids import FlowId

_PARTS = ("Request", "Response", "Details")
_DETAILS = _PARTS.index("Details")
_MESSAGES = len(_PARTS)  # the part that only a WebSocket has

_RELOAD_INTERVAL = 0.3
"""Seconds between two looks at a flow that is still going on."""


class DetailScreen(ConsoleScreen):
    """Shows one flow at a time; space and p go through the list."""

    BINDINGS = bindings(Where.DETAIL)
    WHERE = Where.DETAIL

    def __init__(self, books: Books, control: Control, flow_id: FlowId) -> None:
        super().__init__(books)
        self.flow_id = flow_id
        self._control = control
        self._flow: FlowDetail | None = None
        self._part = 1
        self._modes: dict[int, str] = {}
        self._full = False
        self._contents: dict[int, tuple[BodyView, Content]] = {}
        self._loaded_at = 0.0
        self._again = False
        self.tabs = TabLine(_PARTS)
        self.viewer = LineViewer(id="viewer")

    def compose(self) -> ComposeResult:
        """Lay out."""
        with Vertical():
            yield self.tabs
            yield self.viewer
        yield from self.compose_bottom()

    def on_mount(self) -> None:
        """Fetch the flow."""
        self.viewer.focus()
        self._fetch(first=True)

    @property
    def main_window(self) -> LineViewer:
        """See `ConsoleScreen.main_window`."""
        return self.viewer

    def show_flow(self, flow_id: FlowId) -> None:
        """Show another flow, from its top."""
        self.flow_id = flow_id
        self._flow = None
        self._fetch(first=True)

    def _fetch(self, first: bool = False) -> None:
        self._again = False
        self.run_worker(self._load(first), group="load", exclusive=True)

    async def _load(self, first: bool) -> None:
        flow = await self._control.flow(self.flow_id)
        self._loaded_at = time.monotonic()
        if flow is None:
            if self._flow is None:
                gone = FixedLines([[("This flow is no longer in memory.", "warn")]])
                self.viewer.show(gone)
            return
        self._flow = flow
        if first:
            self._contents.clear()
            if flow.web_socket is not None:
                self._part = _MESSAGES
            elif flow.response is None:
                self._part = _DETAILS if flow.summary.error else 0
            elif self._part == _MESSAGES:
                self._part = 1
        self._render_part(keep_place=not first)

    def show_update(self, update: Update) -> None:
        """See `ConsoleScreen.show_update`: soon, and not for each piece of a body that arrives."""
        if not self._again and any(row.id == self.flow_id for row in update.flows):
            self._again = True
            wait = self._loaded_at + _RELOAD_INTERVAL - time.monotonic()
            self.set_timer(max(0.001, wait), self._fetch)

    # --- what is shown

    def _render_part(self, keep_place: bool = False) -> None:
        flow = self._flow
        if flow is None:
            return
        mode = ""
        if self._part == _DETAILS:
            lines: Lines = FixedLines(fact_lines(flow))
        elif self._part == _MESSAGES and flow.web_socket is not None:
            lines = MessageLines(flow.web_socket)
            mode = f"{len(flow.web_socket.messages) + flow.web_socket.forgotten} messages"
        else:
            lines, mode = self._message(flow)
        self.tabs.set_titles(self._titles)
        self.tabs.show(self._part, f"#{flow.summary.id} {flow.url}", mode)
        # The newest message stays in sight until the user looks at another.
        follows = self._part == _MESSAGES and (not keep_place or self.viewer.at_bottom)
        self.viewer.show(lines, keep_place)
        if follows:
            self.viewer.go_to_bottom()

    @property
    def _titles(self) -> tuple[str, ...]:
        is_web_socket = self._flow is not None and self._flow.web_socket is not None
        return (*_PARTS, "Messages") if is_web_socket else _PARTS

    def _message(self, flow: FlowDetail) -> tuple[Lines, str]:
        asked = self._part == 0
        head = flow.request if asked else flow.response
        received = flow.request_received if asked else flow.response_received
        body = flow.request_body if asked else flow.response_body
        if head is None:
            what = flow.summary.error or "There is no response yet."
            return FixedLines([[(visible(what), "bad" if flow.summary.error else "dim")]]), ""
        top = FixedLines([] if self._full else head_lines(head, received))
        if body is None or (not body.size and not body.trailers):
            return JoinedLines(top, FixedLines([[], [("no body", "dim")]])), ""
        content = self._content(body)
        mode = self._modes.get(self._part, "")
        if mode not in content.modes:
            mode = content.modes[0]
        gap = FixedLines([] if self._full else [[]])
        return JoinedLines(top, gap, content.open(mode)), mode

    def _content(self, body: BodyView) -> Content:
        """Return the body decoded; it is decoded again only where more of it has come."""
        known = self._contents.get(self._part)
        if known is None or known[0] != body:
            known = self._contents[self._part] = (body, Content(body))
        return known[1]

    def do_detail_next_pane(self) -> None:
        """Go to the next part."""
        self._show_part(self._part + 1)

    def do_detail_previous_pane(self) -> None:
        """Go to the part before."""
        self._show_part(self._part - 1)

    def _show_part(self, part: int) -> None:
        self._part = part % len(self._titles)
        self._render_part()

    @on(TabLine.Chosen)
    def _tab_chosen(self, event: TabLine.Chosen) -> None:
        self._show_part(event.index)

    def do_detail_mode(self) -> None:
        """Show the body in the next way that suits it."""
        known = self._contents.get(self._part)
        if known is None or len(known[1].modes) < 2:
            return
        content = known[1]
        now = self._modes.get(self._part, content.modes[0])
        at = content.modes.index(now) if now in content.modes else 0
        self._modes[self._part] = content.modes[(at + 1) % len(content.modes)]
        self._render_part()

    def do_detail_full(self) -> None:
        """Show the content alone, or the head above it again."""
        self._full = not self._full
        self._render_part()

    # --- other flows

    def do_detail_next(self) -> None:
        """Show the next flow."""
        self._go(1)

    def do_detail_previous(self) -> None:
        """Show the flow before."""
        self._go(-1)

    def _go(self, by: int) -> None:
        flows = self.books.flows
        index = flows.index_of(self.flow_id)
        # Where this flow is gone, its position is already the next one's.
        there = flows.get(self.flow_id) is not None
        index += by if there or by < 0 else 0
        if 0 <= index < len(flows):
            self.show_flow(FlowId(flows.key_at(index)))

    # --- searching

    do_detail_search = ConsoleScreen.search_open
    do_detail_search_next = ConsoleScreen.search_next
    do_detail_search_previous = ConsoleScreen.search_previous
