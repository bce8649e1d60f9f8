"""The flows a console knows, in order of their ids, as rows that stay put when others go."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from proxy_core.control.views import FlowSummary
from proxy_core.model.ids import FlowId


class FlowBook:
    """An ordered map of summaries. The core's ring bounds it: what is gone there goes here."""

    def __init__(self) -> None:
        self._ids: list[FlowId] = []
        self._rows: dict[FlowId, FlowSummary] = {}

    def update(self, flows: Sequence[FlowSummary], gone: Sequence[FlowId] = ()) -> None:
        """Forget those that are gone; take in new and changed rows."""
        ids, rows = self._ids, self._rows
        if gone:
            self._forget(gone)
        for row in flows:
            if row.id not in rows:
                if not ids or row.id > ids[-1]:
                    ids.append(row.id)
                else:
                    ids.insert(bisect_left(ids, row.id), row.id)
            rows[row.id] = row

    def _forget(self, gone: Sequence[FlowId]) -> None:
        ids, rows = self._ids, self._rows
        for flow_id in gone:
            rows.pop(flow_id, None)
        first = next((at for at, flow_id in enumerate(ids) if flow_id in rows), len(ids))
        del ids[:first]  # nearly always the oldest, one after the other
        if len(ids) != len(rows):
            ids[:] = [flow_id for flow_id in ids if flow_id in rows]

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
