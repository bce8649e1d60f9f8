"""HPACK that remembers: what it did once it need not do again, while its table has not changed.

A block decodes to the same fields, and fields encode to the same block, for as long as the dynamic
table (RFC 7541, section 2.3.2) is the same. Clients and servers repeat themselves: a literal block
costs the library 40 us, the memory of it less than one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hpack import Decoder, Encoder, HeaderTuple
from hpack.table import HeaderTable

_MOST = 64
"""Blocks remembered by each side of each connection."""

_LONGEST = 2048
"""Bytes of a block, or fields' bytes, that are remembered at all."""


class _WatchedTable(HeaderTable):
    """A table that counts its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        """See `HeaderTable.add`."""
        self.changes += 1
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        """See `HeaderTable.maxsize`."""
        return self._maxsize

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        self.changes += 1
        HeaderTable.maxsize.fset(self, size)  # type: ignore[attr-defined]


class MemoDecoder(Decoder):
    """hpack's decoder with a memory."""

    def __init__(self, max_header_list_size: int) -> None:
        super().__init__(max_header_list_size)
        self.header_table = self._table = _WatchedTable()
        self._known: dict[bytes, list[HeaderTuple]] = {}
        self._known_at = 0

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        """See `Decoder.decode`; only raw fields are remembered."""
        if not raw:
            return super().decode(data, raw)
        table = self._table
        before = table.changes
        if before != self._known_at:
            self._known.clear()
            self._known_at = before
        found = self._known.get(data)
        if found is not None:
            return found.copy()
        fields = list(super().decode(data, raw))
        if table.changes == before and len(data) <= _LONGEST and len(self._known) < _MOST:
            self._known[bytes(data)] = fields.copy()
        return fields


class MemoEncoder(Encoder):
    """hpack's encoder with a memory; fields that must never be indexed are not remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.header_table = self._table = _WatchedTable()
        self._known: dict[tuple[Any, ...], bytes] = {}
        self._known_at = 0

    def encode(self, headers: Iterable[Any] | dict[Any, Any], huffman: bool = True) -> bytes:
        """See `Encoder.encode`."""
        fields = tuple(headers) if not isinstance(headers, dict) else ()
        table = self._table
        if not fields or not huffman or table.resized or not all(map(_is_plain, fields)):
            return super().encode(fields or headers, huffman)
        before = table.changes
        if before != self._known_at:
            self._known.clear()
            self._known_at = before
        found = self._known.get(fields)
        if found is not None:
            return found
        block = super().encode(fields, huffman)
        if table.changes == before and len(block) <= _LONGEST and len(self._known) < _MOST:
            self._known[fields] = block
        return block


def _is_plain(field: Any) -> bool:
    return len(field) == 2 and getattr(field, "indexable", True)
