"""One flow: what was asked, what was answered, and everything known about it."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from int3rceptor_tui.feed import Books
from int3rceptor_tui.keymap import Where, bindings
from int3rceptor_tui.screens.base import ConsoleScreen
from int3rceptor_tui.view_model.content import Content
from int3rceptor_tui.view_model.detail_lines import fact_lines, head_lines
from int3rceptor_tui.view_model.lines import FixedLines, JoinedLines, Lines
from int3rceptor_tui.widgets.line_viewer import LineViewer
from int3rceptor_tui.widgets.prompt import Prompt
from int3rceptor_tui.widgets.tab_line import TabLine
from proxy_core.control.control import Control
from proxy_core.control.views import FlowDetail, Update
from proxy_core.model.ids import FlowId

_PARTS = ("Request", "Response", "Details")


class DetailScreen(ConsoleScreen):
    """Shows one flow at a time; space and p go through the list."""

    BINDINGS = bindings(Where.DETAIL)

    def __init__(self, books: Books, control: Control, flow_id: FlowId) -> None:
        super().__init__(books)
        self.flow_id = flow_id
        self._control = control
        self._flow: FlowDetail | None = None
        self._part = 1
        self._modes: dict[int, str] = {}
        self._full = False
        self._contents: dict[int, Content] = {}
        self.tabs = TabLine(_PARTS)
        self.viewer = LineViewer(id="viewer")

    def compose(self) -> ComposeResult:
        """Lay out."""
        with Vertical():
            yield self.tabs
            yield self.viewer
        yield from self.compose_bottom()

    async def on_mount(self) -> None:
        """Fetch the flow."""
        self.viewer.focus()
        await self._load(first=True)

    def focus_main(self) -> None:
        """See `ConsoleScreen.focus_main`."""
        self.viewer.focus()

    async def _load(self, first: bool = False) -> None:
        flow = await self._control.flow(self.flow_id)
        if flow is None:
            if self._flow is None:
                gone = FixedLines([[("This flow is no longer in memory.", "warn")]])
                self.viewer.show(gone)
            return
        self._flow = flow
        self._contents.clear()
        if first and flow.response is None:
            self._part = 2 if flow.summary.error else 0
        self._render_part(keep_place=not first)

    def show_update(self, update: Update) -> None:
        """See `ConsoleScreen.show_update`."""
        if any(row.id == self.flow_id for row in update.flows):
            self.run_worker(self._load(), group="load", exclusive=True)

    # --- what is shown

    def _render_part(self, keep_place: bool = False) -> None:
        flow = self._flow
        if flow is None:
            return
        mode = ""
        if self._part == 2:
            lines: Lines = FixedLines(fact_lines(flow))
        else:
            lines, mode = self._message(flow)
        self.tabs.show(self._part, f"#{flow.summary.id} {flow.url}", mode)
        self.viewer.show(lines, keep_place)

    def _message(self, flow: FlowDetail) -> tuple[Lines, str]:
        asked = self._part == 0
        head = flow.request if asked else flow.response
        received = flow.request_received if asked else flow.response_received
        body = flow.request_body if asked else flow.response_body
        if head is None:
            what = flow.summary.error or "There is no response yet."
            return FixedLines([[(what, "bad" if flow.summary.error else "dim")]]), ""
        top = FixedLines([] if self._full else head_lines(head, received))
        if body is None or (not body.size and not body.trailers):
            return JoinedLines(top, FixedLines([[], [("no body", "dim")]])), ""
        content = self._contents.get(self._part)
        if content is None:
            content = self._contents[self._part] = Content(body)
        mode = self._modes.get(self._part, "")
        if mode not in content.modes:
            mode = content.modes[0]
        gap = FixedLines([] if self._full else [[]])
        return JoinedLines(top, gap, content.open(mode)), mode

    def action_detail_next_pane(self) -> None:
        """Go to the next part."""
        self._show_part(self._part + 1)

    def action_detail_previous_pane(self) -> None:
        """Go to the part before."""
        self._show_part(self._part - 1)

    def _show_part(self, part: int) -> None:
        self._part = part % len(_PARTS)
        self._render_part()

    @on(TabLine.Chosen)
    def _tab_chosen(self, event: TabLine.Chosen) -> None:
        self._show_part(event.index)

    def action_detail_mode(self) -> None:
        """Show the body in the next way that suits it."""
        content = self._contents.get(self._part)
        if content is None or len(content.modes) < 2:
            return
        now = self._modes.get(self._part, content.modes[0])
        at = content.modes.index(now) if now in content.modes else 0
        self._modes[self._part] = content.modes[(at + 1) % len(content.modes)]
        self._render_part()

    def action_detail_full(self) -> None:
        """Show the content alone, or the head above it again."""
        self._full = not self._full
        self._render_part()

    # --- other flows

    async def action_detail_next(self) -> None:
        """Show the next flow."""
        await self._go(1)

    async def action_detail_previous(self) -> None:
        """Show the flow before."""
        await self._go(-1)

    async def _go(self, by: int) -> None:
        flows = self.books.flows
        index = flows.index_of(self.flow_id)
        # Where this flow is gone, its position is already the next one's.
        there = flows.get(self.flow_id) is not None
        index += by if there or by < 0 else 0
        if 0 <= index < len(flows):
            self.flow_id = FlowId(flows.key_at(index))
            self._flow = None
            await self._load(first=True)

    # --- searching

    def action_detail_search(self) -> None:
        """Ask what to search for."""
        self.open_prompt(kind="/")

    @on(Prompt.Entered)
    def _entered(self, event: Prompt.Entered) -> None:
        if event.kind == "/":
            event.stop()
            self._search(event.text, False)

    def action_detail_search_next(self) -> None:
        """Find the next."""
        self._search("", False)

    def action_detail_search_previous(self) -> None:
        """Find the one before."""
        self._search("", True)

    def _search(self, needle: str, backwards: bool) -> None:
        if not self.viewer.search(needle, backwards):
            self.notify("Not found." if needle else "Nothing to search for; press /.", timeout=2)
