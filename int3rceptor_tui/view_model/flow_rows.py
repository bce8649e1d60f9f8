"""Flows as rows of the table: which columns there are, and what stands in them."""

from __future__ import annotations

from int3rceptor_tui.view_model.columns import Column
from int3rceptor_tui.view_model.flow_book import FlowBook
from int3rceptor_tui.view_model.formats import clock, duration, size
from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import FlowSummary
from proxy_core.model.flow import FlowKind, FlowState

COLUMNS = (
    Column("#", 7, right=True),
    Column("Time", 8, rank=7),
    Column("Method", 7, rank=1),
    Column("Sch", 5, rank=9),
    Column("Host", 18, share=2),
    Column("Path", 18, share=5),
    Column("Status", 6, rank=1, right=True),
    Column("Type", 12, rank=6, share=1, short=lambda media: media.rpartition("/")[2]),
    Column("Size", 6, rank=3, right=True),
    Column("Took", 6, rank=4, right=True),
    Column("Protocol", 8, rank=8),
)

_STATUS_STYLES = {1: "dim", 2: "good", 3: "notice", 4: "warn", 5: "bad"}
_METHOD_STYLES = {"GET": "", "HEAD": "", "OPTIONS": "dim", "CONNECT": "dim"}


class FlowRows:
    """The rows of a `FlowBook`; implements the table's `Rows`."""

    def __init__(self, book: FlowBook) -> None:
        self.book = book

    def __len__(self) -> int:
        return len(self.book)

    def key_at(self, index: int) -> int:
        """See `Rows.key_at`."""
        return self.book.key_at(index)

    def index_of(self, key: int) -> int:
        """See `Rows.index_of`."""
        return self.book.index_of(key)

    def version_at(self, index: int) -> object:
        """A summary never changes: another one takes its place."""
        return self.book.at(index)

    def cells_at(self, index: int) -> tuple[tuple[str, str], ...]:
        """See `Rows.cells_at`."""
        return cells_of(self.book.at(index))


def cells_of(flow: FlowSummary) -> tuple[tuple[str, str], ...]:
    """Return a flow's cells, in the order of COLUMNS."""
    failed = flow.state is FlowState.FAILED
    tone = "bad" if failed else "dim" if flow.state is FlowState.ACTIVE else ""
    host = flow.host if flow.port in (80, 443) else f"{flow.host}:{flow.port}"
    path = visible(flow.path)
    if failed and flow.error:
        path = f"{path}  {visible(flow.error)}".lstrip()
    return (
        (str(flow.id), "dim"),
        (clock(flow.started), "dim"),
        (visible(flow.method), tone or _METHOD_STYLES.get(flow.method, "notice")),
        (flow.scheme if flow.kind is FlowKind.HTTP else _SCHEMES[flow.kind], "dim"),
        (visible(host), tone),
        (path, tone),
        _status(flow),
        (visible(flow.content_type or ""), "dim"),
        (size(flow.response_size) if flow.status or flow.response_size else "", ""),
        ("" if flow.duration is None else duration(flow.duration), _slowness(flow.duration)),
        (flow.protocol, "dim"),
    )


_SCHEMES = {FlowKind.WEBSOCKET: "ws", FlowKind.TUNNEL: "tcp"}


def _status(flow: FlowSummary) -> tuple[str, str]:
    """Marks say without colour what colour says."""
    if flow.state is FlowState.HELD:
        return ("hold", "warn")
    if flow.status is None:
        return ("fail", "bad") if flow.state is FlowState.FAILED else ("·", "dim")
    mark = "!" if flow.state is FlowState.FAILED else ""
    return (f"{mark}{flow.status}", "bad" if mark else _STATUS_STYLES.get(flow.status // 100, ""))


def _slowness(seconds: float | None) -> str:
    return "warn" if seconds is not None and seconds >= 1 else ""
