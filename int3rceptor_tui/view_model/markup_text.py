"""HTML and XML laid out anew, a tag or a text a line, for reading.

Nothing is judged, and nothing is left out but white space between tags: what closes nothing
closes nothing, and what is no tag is text. One pass, linear in the length; nothing recurses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from int3rceptor_tui.view_model.lines import FixedLines, Lines, Piece
from int3rceptor_tui.view_model.visible import visible

_LIMIT = 512 * 1024
_MAX_LINES = 50_000
_MAX_INDENT = 30
_SHORT = 100
"""Characters of a text that may stand between its tags on one line."""

_MOST_UNCLOSED = 20
"""How far out an end tag may reach: those further out belong to something else, or to nothing."""

_BEGINNING = re.compile(r"[\s\ufeff]*+<(?:!doctype\s|\?xml\s|html[\s>]|svg[\s>])", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/<>]*+)([^<>]*+)>")
_VOID = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
    ]
)
"""Elements of HTML that have no end tag (HTML Living Standard, section 13.1.2)."""
_RAW = frozenset(("script", "style", "textarea", "title", "pre"))
"""Elements of HTML in which other tags are text, or white space matters."""


class _Token(NamedTuple):
    """A tag's name is in lower case; a text has none."""

    text: str
    style: str
    name: str = ""
    opens: bool = False
    closes: bool = False


def looks_like_markup(text: str, content_type: str) -> bool:
    """Tell whether a body is, or says it is, HTML or XML."""
    media = content_type.partition(";")[0]
    return media.rstrip().endswith(("html", "xml")) or bool(_BEGINNING.match(text))


def markup_lines(text: str, is_xml: bool = False) -> Lines | None:
    """Return HTML or XML as lines; None for more than 512 KiB of it, or 50,000 lines."""
    if len(text) > _LIMIT or "<" not in text:
        return None
    rows: list[list[Piece]] = []
    open_tags: list[str] = []
    before: tuple[_Token, ...] = ()  # the tokens of the last row, where a tag opened there
    for token in _tokens(text, is_xml):
        if len(rows) >= _MAX_LINES:
            return None
        if token.closes and token.name in open_tags[-_MOST_UNCLOSED:]:
            while open_tags.pop() != token.name:
                pass  # elements whose end HTML lets one leave out
        if before and not token.opens and (token.closes or not token.name):
            together = token.closes and token.name == before[0].name
            fits = len(before) == 1 and len(token.text) <= _SHORT and "\n" not in token.text
            if together or (fits and not token.closes):
                rows[-1].append((visible(token.text), token.style))
                before = () if together else (*before, token)
                continue
        indent = ("  " * min(len(open_tags), _MAX_INDENT), "")
        lines = token.text.expandtabs(4).splitlines() or [""]
        rows += [[indent, (visible(line), token.style)] for line in lines]
        before = (token,) if token.opens else ()
        if token.opens:
            open_tags.append(token.name)
    return FixedLines(rows)


def _tokens(text: str, is_xml: bool) -> Iterator[_Token]:
    at = 0
    raw = ""
    while at < len(text):
        if raw:
            end = _find(text, re.compile(rf"</{raw}[\s>]", re.IGNORECASE), at)
            content, raw = text[at:end], ""
            at = end
            if content.strip():
                yield _Token(content.strip("\r\n"), "string")
            continue
        start = text.find("<", at)
        start = len(text) if start < 0 else start
        if start > at and text[at:start].strip():
            yield _Token(text[at:start].strip(), "")
        at = start
        if at >= len(text):
            return
        end = _end_of_other(text, at)
        if end:
            yield _Token(text[at:end], "dim")
            at = end
            continue
        tag = _TAG.match(text, at)
        if tag is None:  # a "<" that begins no tag: text up to the next one
            following = text.find("<", at + 1)
            end = len(text) if following < 0 else following
            yield _Token(text[at:end].strip(), "")
            at = end
            continue
        name, closes = tag[2].lower(), bool(tag[1])
        empty = tag[3].endswith("/") or (not is_xml and name in _VOID)
        yield _Token(tag[0], "key", name, opens=not closes and not empty, closes=closes)
        at = tag.end()
        raw = name if not (closes or empty or is_xml) and name in _RAW else ""


def _find(text: str, pattern: re.Pattern[str], at: int) -> int:
    found = pattern.search(text, at)
    return len(text) if found is None else found.start()


def _end_of_other(text: str, at: int) -> int:
    """Return where a comment, declaration, instruction or CDATA section ends; 0 where none begins.

    One that does not end takes the rest.
    """
    for beginning, ending in (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"), ("<!", ">")):
        if text.startswith(beginning, at):
            end = text.find(ending, at + len(beginning))
            return len(text) if end < 0 else end + len(ending)
    return 0
