"""One flow: what was asked, what was answered, and everything known about it."""

from __future__ import annotations

import time

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from int3rceptor_tui.feed import Books
from int3rceptor_tui.keymap import Where, bindings
from int3rceptor_tui.screens.base import ConsoleScreen
from int3rceptor_tui.view_model.change_lines import EVERYBODY, change_lines, editors
from int3rceptor_tui.view_model.content import Content
from int3rceptor_tui.view_model.detail_lines import fact_lines, head_lines, held_lines
from int3rceptor_tui.view_model.lines import FixedLines, JoinedLines, Lines
from int3rceptor_tui.view_model.message_rows import (
    COLUMNS,
    MessageRows,
    message_content,
    message_head,
)
from int3rceptor_tui.view_model.visible import visible
from int3rceptor_tui.widgets.line_table import LineTable
from int3rceptor_tui.widgets.line_viewer import LineViewer
from int3rceptor_tui.widgets.line_window import LineWindow
from int3rceptor_tui.widgets.tab_line import TabLine
from proxy_core.control.control import Control
from proxy_core.control.views import (
    BodyView,
    ChangeView,
    FlowDetail,
    Update,
    WebSocketMessageView,
    WebSocketView,
)
from proxy_core.model.ids import FlowId
from proxy_core.model.words import counted

_PARTS = ("Request", "Response", "Details", "Changes")
_DETAILS = _PARTS.index("Details")
_CHANGES = _PARTS.index("Changes")
_MESSAGES = len(_PARTS)  # the part that only a WebSocket has

_RELOAD_INTERVAL = 0.3
"""Seconds between two looks at a flow that is still going on."""


class DetailScreen(ConsoleScreen):
    """Shows one flow at a time; space and p go through the list."""

    BINDINGS = bindings(Where.DETAIL)
    WHERE = Where.DETAIL

    def __init__(
        self, books: Books, control: Control, flow_id: FlowId, changes_by: str | None = None
    ) -> None:
        """Show a flow; its changes by an editor, such as `plugin NAME`, where one is named."""
        super().__init__(books)
        self.flow_id = flow_id
        self._control = control
        self._flow: FlowDetail | None = None
        self._part = 1 if changes_by is None else _CHANGES
        self._changes_by = changes_by or EVERYBODY
        self._changes: tuple[tuple[ChangeView, ...], str, Lines] | None = None
        self._modes: dict[int, str] = {}
        self._full = False
        self._contents: dict[int, tuple[BodyView | WebSocketMessageView, Content]] = {}
        self._loaded_at = 0.0
        self._again = False
        self.tabs = TabLine(_PARTS)
        self.viewer = LineViewer(id="viewer")
        self.rows = MessageRows()
        self.table = LineTable(COLUMNS, self.rows, follow=True, id="messages")
        self.table.display = False
        self._opened: int | None = None  # the message that is shown whole, by its key

    def compose(self) -> ComposeResult:
        """Lay out."""
        with Vertical():
            yield self.tabs
            yield self.viewer
            yield self.table
        yield from self.compose_bottom()

    def on_mount(self) -> None:
        """Fetch the flow."""
        self.focus_main()
        self._fetch(first=True)

    @property
    def main_window(self) -> LineWindow:
        """See `ConsoleScreen.main_window`."""
        return self.table if self.table.display else self.viewer

    def show_flow(self, flow_id: FlowId) -> None:
        """Show another flow, from its top."""
        self.flow_id = flow_id
        self._flow = self._opened = None
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
            if self._part == _CHANGES:
                pass  # the changes of one flow after the other
            elif flow.web_socket is not None:
                self.rows.show(flow.web_socket)
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
        elif self._part == _CHANGES:
            lines, mode = self._changes_of(flow)
        elif self._part == _MESSAGES and flow.web_socket is not None:
            lines, mode = self._messages(flow.web_socket, keep_place)
        else:
            lines, mode = self._message(flow)
        self.tabs.set_titles(self._titles)
        self.tabs.show(self._part, f"#{flow.summary.id} {flow.url}", mode)
        in_list = self._part == _MESSAGES and self._opened is None
        if self.table.display is not in_list:
            self.table.display, self.viewer.display = in_list, not in_list
            if isinstance(self.focused, LineWindow):
                self.focus_main()
        if not in_list:
            self.viewer.show(lines, keep_place)

    # --- what was done to it on its way

    def show_changes(self, by: str) -> None:
        """Show what one editor did to the flow."""
        self._changes_by = by
        self._show_part(_CHANGES)

    def _changes_of(self, flow: FlowDetail) -> tuple[Lines, str]:
        by = self._changes_by
        known = self._changes
        if known is None or known[:2] != (flow.changes, by) or not flow.changes:
            known = self._changes = (flow.changes, by, FixedLines(change_lines(flow, by)))
        word = f"{self._mode_key}: by {visible(by) if by else 'all'}" if by or flow.changes else ""
        return known[2], word

    @property
    def _mode_key(self) -> str:
        return self.books.hints["detail.mode"].hint

    # --- messages of a WebSocket

    def _messages(self, web_socket: WebSocketView, keep_place: bool) -> tuple[Lines, str]:
        """Bring the list up to date; return the lines of the message that is open, and a word."""
        # The newest message stays in sight until the user looks at another.
        follows = not keep_place or self.table.cursor >= len(self.rows) - 1
        self.rows.show(web_socket)
        if self._opened is None:
            self.table.set_follow(follows)
            return FixedLines([]), counted(self.rows.total, "message")
        message = self.rows.message(self._opened)
        if message is None:
            return FixedLines([[("This message is no longer in memory.", "warn")]]), ""
        content = self._content(message)
        mode = self._mode_of(content)
        top = FixedLines([] if self._full else message_head(message, self._opened + 1))
        if not message.size:
            return JoinedLines(top, FixedLines([[("no payload", "dim")]])), ""
        return JoinedLines(top, content.open(mode)), _word_of(mode, content, self._mode_key)

    def do_detail_open(self) -> None:
        """Show the message under the cursor whole."""
        key = self.table.cursor_key if self.table.display else None
        if key is not None and self.rows.message(key) is not None:
            self._show_message(key)

    @on(LineTable.Opened)
    def _message_chosen(self, event: LineTable.Opened) -> None:
        event.stop()
        self.do_detail_open()

    def close_message(self) -> bool:
        """Go back from an open message to the list; tell whether one was open."""
        if self._opened is None or self._part != _MESSAGES:
            return False
        key, self._opened = self._opened, None
        self._render_part(keep_place=True)
        self.table.move_to_key(key)
        return True

    def _show_message(self, key: int) -> None:
        self._opened = key
        self._contents.pop(_MESSAGES, None)
        self._render_part()

    @property
    def _titles(self) -> tuple[str, ...]:
        flow = self._flow
        if flow is None:
            return _PARTS
        titles = list(_PARTS)
        if flow.changes:
            titles[_CHANGES] += f" {len(flow.changes)}"
        if flow.web_socket is not None:
            titles.append("Messages")
        return tuple(titles)

    def _message(self, flow: FlowDetail) -> tuple[Lines, str]:
        asked = self._part == 0
        head = flow.request if asked else flow.response
        received = flow.request_received if asked else flow.response_received
        body = flow.request_body if asked else flow.response_body
        held = held_lines(flow)
        if head is None:
            what = flow.summary.error or "There is no response yet."
            tone = "bad" if flow.summary.error else "dim"
            return FixedLines([*held, [(visible(what), tone)]]), ""
        top = FixedLines([*held, *([] if self._full else head_lines(head, received))])
        if body is None or (not body.size and not body.trailers):
            return JoinedLines(top, FixedLines([[], [("no body", "dim")]])), ""
        content = self._content(body)
        mode = self._mode_of(content)
        gap = FixedLines([] if self._full else [[]])
        return JoinedLines(top, gap, content.open(mode)), _word_of(mode, content, self._mode_key)

    def _content(self, source: BodyView | WebSocketMessageView) -> Content:
        """Return a body, or message, decoded; again only where more of it has come."""
        known = self._contents.get(self._part)
        if known is None or known[0] != source:
            content = Content(source) if isinstance(source, BodyView) else message_content(source)
            known = self._contents[self._part] = (source, content)
        return known[1]

    def _mode_of(self, content: Content) -> str:
        """Return the way in which this part is looked at, the first where it does not suit."""
        mode = self._modes.get(self._part, "")
        return mode if mode in content.modes else content.modes[0]

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
        """Show the body in the next way that suits it; of changes, those by the next editor."""
        if self._part == _CHANGES:
            self._next_editor()
            return
        known = self._contents.get(self._part)
        if known is None or len(known[1].modes) < 2:
            return
        content = known[1]
        at = content.modes.index(self._mode_of(content))
        self._modes[self._part] = content.modes[(at + 1) % len(content.modes)]
        self._render_part()

    def _next_editor(self) -> None:
        if self._flow is None:
            return
        turns = (EVERYBODY, *editors(self._flow))
        here = turns.index(self._changes_by) if self._changes_by in turns else -1
        self.show_changes(turns[(here + 1) % len(turns)])

    def do_detail_full(self) -> None:
        """Show the content alone, or the head above it again."""
        self._full = not self._full
        self._render_part()

    def do_detail_wrap(self) -> None:
        """Wrap long lines, or show each on one line."""
        self.viewer.set_wrap(not self.viewer.wraps)

    # --- other flows

    def do_detail_next(self) -> None:
        """Show the next flow, or the next message where one is open."""
        self._go(1)

    def do_detail_previous(self) -> None:
        """Show the flow before, or the message before where one is open."""
        self._go(-1)

    def _go(self, by: int) -> None:
        if self._part == _MESSAGES and self._opened is not None:
            if self.rows.message(self._opened + by) is not None:
                self._show_message(self._opened + by)
            return
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


def _word_of(mode: str, content: Content, key: str) -> str:
    """Tell how a body is looked at, and by which key in other ways."""
    count = len(content.modes)
    return mode if count < 2 else f"{key}: {mode} {content.modes.index(mode) + 1}/{count}"
