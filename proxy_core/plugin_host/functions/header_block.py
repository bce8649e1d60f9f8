"""Header fields as one block of bytes, the form in which they cross into a guest and back.

Little-endian: u32 count; count times u32 length of the name, u32 length of the value; then each
name and each value, every one followed by a zero byte (docs/plugin-abi.md, `host_get_headers`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from proxy_core.model.headers import Field


def pack(fields: Sequence[Field]) -> bytes:
    """Write `fields` as a block."""
    lengths: list[int] = []
    texts: list[bytes] = []
    for name, value in fields:
        lengths += (len(name), len(value))
        texts += (name, value)
    head = struct.pack(f"<{1 + len(lengths)}I", len(fields), *lengths)
    return b"%b%b\0" % (head, b"\0".join(texts)) if texts else head


def unpack(block: bytes, most: int) -> list[Field] | None:
    """Read a block of at most `most` fields; None where it is malformed. Empty means no fields."""
    if not block:
        return []
    if len(block) < 4:
        return None
    (count,) = struct.unpack_from("<I", block)
    position = 4 + 8 * count
    if count > most or position > len(block):
        return None
    lengths = struct.unpack_from(f"<{2 * count}I", block, 4)
    parts: list[bytes] = []
    for length in lengths:
        end = position + length
        if end >= len(block) or block[end] != 0:
            return None
        parts.append(block[position:end])
        position = end + 1
    if position != len(block):
        return None
    return list(zip(parts[::2], parts[1::2], strict=True))
