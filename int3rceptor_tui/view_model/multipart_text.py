"""The parts of a multipart body (RFC 2046, section 5.1): their heads, and what is text of them."""

from __future__ import annotations

import re

from int3rceptor_tui.view_model.body_text import looks_binary, to_text
from int3rceptor_tui.view_model.formats import size_in_words
from int3rceptor_tui.view_model.image_facts import image_fact
from int3rceptor_tui.view_model.lines import FixedLines, Lines, Piece, TextLines
from int3rceptor_tui.view_model.visible import visible

_BOUNDARY = re.compile(r'\bboundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_TYPE = re.compile(rb"^content-type:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_MOST_PARTS = 500


def multipart_lines(data: bytes, content_type: str) -> Lines | None:
    """Return the parts as lines; None where the type or the body is not multipart."""
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/") or found is None:
        return None
    delimiter = b"\n--" + (found[1] or found[2]).encode("latin-1", "replace")
    pieces = (b"\n" + data).split(delimiter, _MOST_PARTS)[1:]
    rows: list[list[Piece]] = []
    for number, piece in enumerate(pieces, 1):
        if piece.startswith(b"--"):
            break
        rows += [[]] if rows else []
        rows += [[(f"Part {number}", "heading")], *_part(piece)]
    return FixedLines(rows) if rows else None


def _part(piece: bytes) -> list[list[Piece]]:
    head, _, body = piece.partition(b"\r\n")[2].partition(b"\r\n\r\n")
    body = body.removesuffix(b"\r")
    rows: list[list[Piece]] = []
    for line in filter(None, head.split(b"\r\n")):
        name, colon, value = line.decode(errors="replace").partition(":")
        rows.append([(visible(name), "key"), (colon, "dim"), (visible(value), "")])
    told = _TYPE.search(head)
    if looks_binary(body):
        fact = image_fact(body)
        words = f"{size_in_words(len(body))}, {fact}" if fact else size_in_words(len(body))
        return [*rows, [], [(words, "notice")]]
    text = TextLines(to_text(body, None if told is None else told[1].decode("latin-1")))
    return [*rows, [], *(list(text.line(at)) for at in range(len(text)))]
