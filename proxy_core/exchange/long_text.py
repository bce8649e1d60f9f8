"""Whether many bytes are text, found out without keeping the loop from others."""

from __future__ import annotations

import asyncio
import codecs
from typing import Final

AT_ONCE: Final = 1024 * 1024
"""Bytes looked at in one turn: that takes about a millisecond."""


async def is_text(data: bytes) -> bool:
    """Whether `data` is UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for at in range(0, len(data), AT_ONCE):
            if at:
                await asyncio.sleep(0)
            decoder.decode(data[at : at + AT_ONCE])
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True
