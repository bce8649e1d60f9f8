"""Content as lines that are made when somebody looks at them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol
from urllib.parse import unquote_plus

from int3rceptor_tui.view_model.visible import visible

Piece = tuple[str, str]
"""Text that is safe to draw, and the short name of a style."""

_MAX_LINE = 4000


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


def around(count: int, start: int, backwards: bool = False) -> Iterator[int]:
    """Give every index below `count` once, from `start` on, going round at the end."""
    for step in range(count):
        yield (start - step if backwards else start + step) % count


def find(lines: Lines, needle: str, indexes: Iterable[int]) -> int | None:
    """Return the first of `indexes` whose line has `needle`, or None.

    Capitals count only where `needle` has some.
    """
    fold = needle == needle.lower()
    for index in indexes:
        text = "".join(piece for piece, _ in lines.line(index))
        if needle in (text.lower() if fold else text):
            return index
    return None
