"""MessagePack, shown as the JSON that says the same; bytes are base64 there."""

from __future__ import annotations

import msgspec

from int3rceptor_tui.view_model.json_text import json_lines
from int3rceptor_tui.view_model.lines import Lines

_LIMIT = 256 * 1024


def msgpack_lines(data: bytes) -> Lines | None:
    """Return one array or map as lines; None for all else, and for more than 256 KiB."""
    if len(data) > _LIMIT:
        return None
    try:
        value = msgspec.msgpack.decode(data)
        text = msgspec.json.encode(value, enc_hook=repr).decode() if value else ""
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):
        return None  # cut, or with keys that JSON has not
    return json_lines(text) if isinstance(value, dict | list) else None
