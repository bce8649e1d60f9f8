"""Content as lines that are made when somebody looks at them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import unquote_plus

from int3rceptor_tui.view_model.visible import visible

Piece = tuple[str, str]
"""Text that is safe to draw, and the short name of a style."""

_MAX_LINE = 4000
_JSON_LIMIT = 2 * 1024 * 1024


class Lines(Protocol):
    """Any number of lines."""

    def __len__(self) -> int:
        """Return how many there are."""

    def line(self, index: int) -> Sequence[Piece]:
        """Return one. Raises IndexError."""


class FixedLines:
    """Lines that are there already."""

    def __init__(self, lines: Sequence[Sequence[Piece]]) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def line(self, index: int) -> Sequence[Piece]:
        """See `Lines.line`."""
        return self._lines[index]


class JoinedLines:
    """Some lines, then some others."""

    def __init__(self, *parts: Lines) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def line(self, index: int) -> Sequence[Piece]:
        """See `Lines.line`."""
        for part in self._parts:
            if index < len(part):
                return part.line(index)
            index -= len(part)
        raise IndexError(index)


class TextLines:
    """Text, split at line ends; what is longer than anybody reads is split further."""

    def __init__(self, text: str) -> None:
        self._lines: list[str] = []
        for line in re.split("\r\n|\r|\n", text):
            if len(line) <= _MAX_LINE:
                self._lines.append(line)
            else:
                self._lines += [
                    line[start : start + _MAX_LINE] for start in range(0, len(line), _MAX_LINE)
                ]

    def __len__(self) -> int:
        return len(self._lines)

    def line(self, index: int) -> Sequence[Piece]:
        """See `Lines.line`."""
        return [(visible(self._lines[index].expandtabs(4)), "")]


class HexLines:
    """Sixteen bytes a line: offset, hexadecimal, ASCII."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return (len(self._data) + 15) // 16

    def line(self, index: int) -> Sequence[Piece]:
        """See `Lines.line`."""
        row = self._data[index * 16 : index * 16 + 16]
        if not row:
            raise IndexError(index)
        ascii_ = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        return [
            (f"{index * 16:08x}  ", "dim"),
            (f"{row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  ", ""),
            (ascii_, "string"),
        ]


class FormLines:
    """A form's fields (application/x-www-form-urlencoded), one a line."""

    def __init__(self, text: str) -> None:
        self._fields = [field.partition("=") for field in text.strip().split("&") if field]

    def __len__(self) -> int:
        return len(self._fields)

    def line(self, index: int) -> Sequence[Piece]:
        """See `Lines.line`."""
        name, equals, value = self._fields[index]
        return [
            (visible(unquote_plus(name)), "key"),
            (" = " if equals else "", "dim"),
            (visible(unquote_plus(value)), "string"),
        ]


_JSON_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\]|\\.)*")|(?P<open>[\[{])|(?P<close>[\]}])|(?P<comma>,)|(?P<colon>:)'
    r"|(?P<word>[^\s\[\]{},:\"]+)|(?P<space>\s+)"
)
_MAX_INDENT = 40


def json_lines(text: str) -> Lines | None:
    """Return JSON laid out anew, every token as it came; None where it is none, or too large.

    It works on tokens: duplicate keys and large numbers stay, and depth costs nothing.
    """
    if len(text) > _JSON_LIMIT or text.lstrip()[:1] not in ("{", "[", '"'):
        return None
    out: list[list[Piece]] = [[]]
    depth = at = 0
    fresh = True  # nothing since the last bracket opened
    for match in _JSON_TOKEN.finditer(text):
        if match.start() != at:
            return None
        at = match.end()
        kind, token = match.lastgroup, match.group()
        if kind == "space":
            continue
        if kind == "close":
            depth -= 1
            if depth < 0:
                return None
            if not fresh:
                out.append(_indent(depth))
            out[-1].append((token, "dim"))
            fresh = False
            continue
        if fresh and depth and (kind != "comma"):
            out.append(_indent(depth))
        fresh = kind == "open"
        if kind == "open":
            depth += 1
            out[-1].append((token, "dim"))
        elif kind == "comma":
            out[-1].append((token, "dim"))
            out.append(_indent(depth))
        elif kind == "colon":
            last = out[-1][-1] if out[-1] else ("", "")
            if last[1] == "string":
                out[-1][-1] = (last[0], "key")
            out[-1].append((": ", "dim"))
        else:
            out[-1].append((visible(token), "string" if kind == "string" else "number"))
    if at != len(text) or depth:
        return None
    return FixedLines(out)


def _indent(depth: int) -> list[Piece]:
    return [("  " * min(depth, _MAX_INDENT), "")]


def find(lines: Lines, needle: str, start: int, backwards: bool = False) -> int | None:
    """Return the next line from `start` on that has `needle`, going round at the end, or None.

    Capitals count only where `needle` has some.
    """
    count = len(lines)
    fold = needle == needle.lower()
    for step in range(count):
        index = (start - step if backwards else start + step) % count
        text = "".join(piece for piece, _ in lines.line(index))
        if needle in (text.lower() if fold else text):
            return index
    return None
