"""HPACK that remembers: what it did once it need not do again, while its table has not changed.

A block decodes to the same fields, and fields encode to the same block, for as long as the dynamic
table (RFC 7541, section 2.3.2) is the same; a block that refers to nothing in that table decodes
to the same fields always, and adds the same entries. Clients and servers repeat themselves: a
literal block costs the library 40 us, the memory of it a tenth.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from hpack import Decoder, Encoder, HeaderTuple
from hpack.table import HeaderTable

_MOST = 64
"""Blocks remembered by each side of each connection."""

_TABLE_SIZE = 4096
"""Bytes of the encoder's dynamic table at most, however much more the peer would keep."""

_LONGEST = 2048
"""Bytes of a block, or fields' bytes, that are remembered at all."""


_LENGTHS = struct.Struct(">HH")


class PackedTable(NamedTuple):
    """A dynamic table as it is kept while nobody reads in it."""

    max_size: int
    entries: bytes
    """Names and values, the newest first, each pair behind its two lengths."""


class _Entries(list[tuple[bytes, bytes]]):
    """What hpack wants a deque for, whose smallest has 64 places; here are at most 128 entries."""

    __slots__ = ()

    def appendleft(self, entry: tuple[bytes, bytes]) -> None:
        self.insert(0, entry)


class _WatchedTable(HeaderTable):
    """A table that counts its changes, and notes what a block does with it."""

    def __init__(self) -> None:
        super().__init__()
        self.dynamic_entries = _Entries()  # type: ignore[assignment]
        self.changes = 0
        self.dynamic_used = False
        self.added: list[tuple[bytes, bytes]] | None = None
        """What is added, while somebody wants to know."""

    def add(self, name: bytes, value: bytes) -> None:
        """See `HeaderTable.add`."""
        self.changes += 1
        if self.added is not None:
            self.added.append((name, value))
        super().add(name, value)

    def get_by_index(self, index: int) -> tuple[bytes, bytes]:
        """See `HeaderTable.get_by_index`."""
        if index > HeaderTable.STATIC_TABLE_LENGTH:
            self.dynamic_used = True
        return super().get_by_index(index)

    @property
    def maxsize(self) -> int:
        """See `HeaderTable.maxsize`."""
        return self._maxsize

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        self.changes += 1
        self.dynamic_used = True  # a block that resizes depends on more than its bytes
        HeaderTable.maxsize.fset(self, size)  # type: ignore[attr-defined]


class MemoDecoder(Decoder):
    """hpack's decoder with a memory."""

    def __init__(self, max_header_list_size: int) -> None:
        super().__init__(max_header_list_size)
        self.header_table = self._table = _WatchedTable()
        self._known: dict[bytes, list[HeaderTuple]] = {}
        self._known_at = 0
        self._always: dict[bytes, tuple[list[HeaderTuple], list[tuple[bytes, bytes]]]] = {}

    def forget(self) -> None:
        """Give up what is remembered; it only makes the next blocks quicker."""
        self._known.clear()
        self._always.clear()

    def pack(self) -> PackedTable:
        """Return what the next blocks may refer to."""
        table = self._table
        return PackedTable(
            table.maxsize,
            b"".join(
                [
                    _LENGTHS.pack(len(name), len(value)) + name + value
                    for name, value in table.dynamic_entries
                ]
            ),
        )

    def unpack(self, packed: PackedTable) -> None:
        """Take over what a decoder before this one packed."""
        table, data, at = self._table, packed.entries, 0
        entries: list[tuple[bytes, bytes]] = []
        while at < len(data):
            name_length, value_length = _LENGTHS.unpack_from(data, at)
            name_at = at + _LENGTHS.size
            value_at = name_at + name_length
            at = value_at + value_length
            entries.append((data[name_at:value_at], data[value_at:at]))
        table.maxsize = packed.max_size
        for entry in reversed(entries):
            table.add(*entry)

    def decode(self, data: bytes, raw: bool = False) -> Iterable[HeaderTuple]:
        """See `Decoder.decode`; only raw fields are remembered."""
        if not raw:
            return super().decode(data, raw)
        table = self._table
        always = self._always.get(data)
        if always is not None:
            for name, value in always[1]:
                table.add(name, value)
            return always[0].copy()
        before = table.changes
        if before != self._known_at:
            self._known.clear()
            self._known_at = before
        found = self._known.get(data)
        if found is not None:
            return found.copy()
        table.dynamic_used = False
        added: list[tuple[bytes, bytes]] = []
        table.added = added
        try:
            fields = list(super().decode(data, raw))
        finally:
            table.added = None
        if len(data) <= _LONGEST:
            if not table.dynamic_used:
                if len(self._always) >= _MOST:
                    del self._always[next(iter(self._always))]
                self._always[bytes(data)] = (fields.copy(), added)
            elif table.changes == before and len(self._known) < _MOST:
                self._known[bytes(data)] = fields.copy()
        return fields


class MemoEncoder(Encoder):
    """hpack's encoder with a memory; fields that must never be indexed are not remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.header_table = self._table = _WatchedTable()
        self._known: dict[tuple[Any, ...], bytes] = {}
        self._known_at = 0

    def forget(self) -> None:
        """See `MemoDecoder.forget`."""
        self._known.clear()

    @property
    def header_table_size(self) -> int:
        """See `Encoder.header_table_size`; the peer sets how large the table may be, no more."""
        return self._table.maxsize

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        size = min(size, _TABLE_SIZE)
        # Told the same size again, the library forgets a change that it has not signalled yet.
        if size != self._table.maxsize:
            self._table.maxsize = size
            changes = [*self.table_size_changes, size]
            # No more than two are told: the least that was, and the last (RFC 7541, section 4.2).
            self.table_size_changes = changes if len(changes) < 3 else [min(changes), size]

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
