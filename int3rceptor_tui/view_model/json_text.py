"""JSON laid out anew, a member or an element a line, for reading.

One quick pass finds where lines begin and checks the grammar; a line is taken apart when it is
looked at. Every token stays as it came: duplicate keys, long numbers, escapes. Nothing recurses.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

from int3rceptor_tui.view_model.lines import Lines, Piece
from int3rceptor_tui.view_model.visible import visible

_LIMIT = 2 * 1024 * 1024
_MAX_LINES = 250_000
_MAX_LINE = 4000
_MAX_INDENT = 40
_REST = -1
"""The depth of what goes on from the line above."""

# Possessive wherever it repeats: hostile text must not make it go back, nor remember where it
# could. Not where a group is optional: Python 3.11.2 does not go back over half of one.
_STRING = r'"(?:[^"\\]++|\\.)*+"'
_LINE = re.compile(
    rf"""
    (?: (?P<close>[\]}}])
      | (?: (?P<key>{_STRING}) [ \t\r\n]*+ : [ \t\r\n]*+ )?
        (?: (?P<string>{_STRING}) (?! [ \t\r\n]*+ : )
          | (?P<word>-?+(?:[0-9]++(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?|Infinity)
                    |true|false|null|NaN)
          | (?P<open>[\[{{]) (?: [ \t\r\n]*+ (?P<empty>[\]}}]) )?
        )
    )
    [ \t\r\n]*+ (?P<comma>,)? [ \t\r\n]*+
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSES = {"[": "]", "{": "}"}

# What may stand at the end of a text that was cut: a member or an element that is not whole.
_UNFINISHED = re.compile(
    rf"""
    (?: {_STRING} [ \t\r\n]*+ :?+ [ \t\r\n]*+ )?
    (?: "(?:[^"\\]++|(?!\\\Z)\\.)*+ \\?+ | [-+.0-9a-zA-Z]{{0,40}} )
    """,
    re.VERBOSE | re.DOTALL,
)


def json_lines(text: str, cut: bool = False) -> Lines | None:
    """Return JSON (RFC 8259), or several texts of it in a row, as lines of two-space indents.

    None where it is anything else, or more than 2 MiB or 250,000 lines, for which nobody wants to
    wait. What stands in a string and the zeros before a number are not judged. Strings longer than
    4,000 characters go on in lines of their own. Of a text that was `cut`, its beginning is laid
    out, and what it ends in the middle of comes as it is.
    """
    if len(text) > _LIMIT:
        return None
    at = len(text) - len(text.lstrip(" \t\r\n\ufeff"))
    if text[at : at + 1] not in ("{", "[", '"'):
        return None
    starts, depths = array("l"), array("l")
    closers: list[str] = []
    more = True  # a value may come: after an opening bracket, a comma, or outside of everything
    fresh = False  # right behind an opening bracket, where it may close
    while at < len(text):
        match = _LINE.match(text, at)
        if len(starts) >= _MAX_LINES:
            return None
        is_end = cut and bool(closers) and (match is None or match.end() == len(text))
        if is_end and _UNFINISHED.fullmatch(text, at):
            starts.extend(range(at, len(text), _MAX_LINE))
            depths.append(len(closers))
            depths.extend([_REST] * (len(starts) - len(depths)))
            break
        if match is None:
            return None
        close, key, _, _, opening, empty, comma = match.groups()
        if close:
            if not closers or close != closers.pop() or (more and not fresh):
                return None
        elif not more or (key is not None) != (bool(closers) and closers[-1] == "}"):
            return None
        starts.append(at)
        depths.append(len(closers))
        for rest in range(at + _MAX_LINE, match.end(), _MAX_LINE):
            starts.append(rest)
            depths.append(_REST)
        if empty and empty != _CLOSES[opening]:
            return None
        fresh = bool(opening) and not empty
        if fresh:
            closers.append(_CLOSES[opening])
        if comma and (fresh or not closers):
            return None
        more = fresh or bool(comma) or not closers
        at = match.end()
    return None if closers and not cut else _JsonLines(text, starts, depths)


class _JsonLines:
    """Where the lines of a text begin, and how deep each lies."""

    def __init__(self, text: str, starts: array[int], depths: array[int]) -> None:
        self._text = text
        self._starts = starts
        self._depths = depths

    def __len__(self) -> int:
        return len(self._starts)

    def line(self, index: int) -> Sequence[Piece]:
        """See `Lines.line`."""
        start, depth = self._starts[index], self._depths[index]
        last = index + 1 == len(self._starts)
        end = len(self._text) if last else self._starts[index + 1]
        if depth == _REST:
            return [(visible(self._text[start:end].rstrip(" \t\r\n")), "string")]
        indent = ("  " * min(depth, _MAX_INDENT), "")
        match = _LINE.match(self._text, start, end)
        if match is None:  # cut: it goes on in the next line
            return [indent, (visible(self._text[start:end]), "string")]
        return [indent, *_pieces(match)]


def _pieces(match: re.Match[str]) -> list[Piece]:
    close, key, string, word, opening, empty, comma = match.groups()
    pieces: list[Piece] = []
    if key is not None:
        pieces += [(visible(key), "key"), (": ", "dim")]
    if string is not None:
        pieces.append((visible(string), "string"))
    elif word is not None:
        pieces.append((word, "number"))
    else:
        pieces.append((close or opening + (empty or ""), "dim"))
    if comma:
        pieces.append((",", "dim"))
    return pieces
