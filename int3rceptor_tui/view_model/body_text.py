"""Captured bodies for people: content codings taken off, bytes turned into text."""

from __future__ import annotations

import codecs
import re

from int3rceptor_tui.view_model.visible import visible
from proxy_core.control import content
from proxy_core.control.content import LIMIT, DecodedBody

_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Python's own notations: quadratic in the length of their input, or made to warn or fail.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})


def decode_body(kept: bytes, encoding: str | None, limit: int = LIMIT) -> DecodedBody:
    """Undo the codings in `encoding`, giving at most `limit` bytes; the notes can be drawn."""
    decoded = content.decode_body(kept, encoding, limit)
    return DecodedBody(decoded.data, tuple(visible(note) for note in decoded.notes))


def charset_of(content_type: str | None) -> str | None:
    """Return the charset that a content type claims, as Python names it."""
    claimed = _CHARSET.search(content_type or "")
    if claimed is None:
        return None
    try:
        name = codecs.lookup(claimed[1]).name
    except (LookupError, ValueError):
        return None
    return None if name in _NO_CHARSETS else name


def to_text(data: bytes, content_type: str | None) -> str:
    """Return the bytes as text: the charset they claim, a byte order mark, UTF-8, else Latin-1."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data.decode(name, errors="replace")
    charset = charset_of(content_type)
    if charset is not None:
        try:
            return data.decode(charset, errors="replace")
        except (LookupError, ValueError):
            pass  # no charset, whatever else it is
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        cut = error.start >= len(data) - 3 and error.reason == "unexpected end of data"
        if cut and not data[: error.start].isascii():
            return data.decode(errors="replace")
        return data.decode("latin-1")


def looks_binary(data: bytes) -> bool:
    """Tell whether hex suits these bytes better than text."""
    sample = data[:1024]
    if not sample or sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    odd = sum(byte < 9 or 13 < byte < 32 for byte in sample)
    return b"\0" in sample or odd * 20 > len(sample)
