"""Which columns of a table fit a width, and how wide each becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column: at least `width` cells; `share` parts of what is left over.

    `rank` decides who goes first when there is no room: the highest; 0 never goes.
    """

    title: str
    width: int
    rank: int = 0
    share: int = 0
    right: bool = False
    short: Callable[[str], str] | None = None
    """Makes less of a text that does not fit, before it is cut."""


def fit(columns: tuple[Column, ...], width: int) -> list[tuple[int, int]]:
    """Return (index, cells) of the columns that fit, one cell apart."""
    chosen = list(range(len(columns)))
    while chosen and _need(columns, chosen) > width:
        worst = max(chosen, key=lambda index: columns[index].rank)
        if columns[worst].rank == 0:
            break
        chosen.remove(worst)
    spare = width - _need(columns, chosen)
    shares = sum(columns[index].share for index in chosen)
    fitted: list[tuple[int, int]] = []
    for index in chosen:
        column = columns[index]
        extra = spare * column.share // shares if shares and spare > 0 else 0
        fitted.append((index, column.width + extra))
    if shares and spare > 0:
        rest = spare - sum(cells - columns[index].width for index, cells in fitted)
        for at in range(len(fitted) - 1, -1, -1):
            if columns[fitted[at][0]].share:
                fitted[at] = (fitted[at][0], fitted[at][1] + rest)
                break
    return fitted


def _need(columns: tuple[Column, ...], chosen: list[int]) -> int:
    return sum(columns[index].width for index in chosen) + max(0, len(chosen) - 1)
