"""The flows a console knows, in order of their ids, as rows that stay put when others go."""

from __future__ import annotations

from bisect import bisect_left

from proxy_core.control.views import FlowSummary
from proxy_core.model.ids import FlowId


class FlowBook:
    """An ordered map of summaries. The core's ring bounds it: what is gone there goes here."""

    def __init__(self) -> None:
        self._ids: list[FlowId] = []
        self._rows: dict[FlowId, FlowSummary] = {}

    def update(self, flows: tuple[FlowSummary, ...], first_kept: FlowId | None = None) -> None:
        """Take in new and changed rows; forget those older than `first_kept`."""
        ids, rows = self._ids, self._rows
        for row in flows:
            if first_kept is not None and row.id < first_kept:
                continue
            if row.id not in rows:
                if not ids or row.id > ids[-1]:
                    ids.append(row.id)
                else:
                    ids.insert(bisect_left(ids, row.id), row.id)
            rows[row.id] = row
        if first_kept is not None and ids and ids[0] < first_kept:
            gone = bisect_left(ids, first_kept)
            for flow_id in ids[:gone]:
                del rows[flow_id]
            del ids[:gone]

    def clear(self) -> None:
        """Forget everything."""
        self._ids.clear()
        self._rows.clear()

    def at(self, index: int) -> FlowSummary:
        """Return the row at a position. Raises IndexError."""
        return self._rows[self._ids[index]]

    def get(self, flow_id: FlowId) -> FlowSummary | None:
        """Return a flow's row, or None."""
        return self._rows.get(flow_id)

    def key_at(self, index: int) -> int:
        """Return the id at a position. Raises IndexError."""
        return self._ids[index]

    def index_of(self, flow_id: int) -> int:
        """Return a flow's position, or the one it would have."""
        return bisect_left(self._ids, flow_id)

    def __len__(self) -> int:
        return len(self._ids)
