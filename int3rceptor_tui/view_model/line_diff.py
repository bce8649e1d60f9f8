"""What differs between two lists of lines, found in bounded time.

The search is that of Myers, "An O(ND) Difference Algorithm and Its Variations" (1986). Bodies are
hostile: two texts that have nothing in common must not cost more than two that are nearly the same.
Where more edits than a limit would be needed, all between the common ends counts as replaced.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

MOST_EDITS = 250
"""Lines removed and added; the search costs at most its square, and as many steps as lines."""

Mark = Literal[" ", "-", "+"]


@dataclass(frozen=True, slots=True)
class Edit:
    """One line: kept, removed or added; `old` and `new` are its places, None where it has none."""

    mark: Mark
    old: int | None
    new: int | None


def line_diff(
    old: Sequence[Hashable], new: Sequence[Hashable], most: int = MOST_EDITS
) -> list[Edit]:
    """Return how `old` becomes `new`, line by line."""
    start = 0
    shorter = min(len(old), len(new))
    while start < shorter and old[start] == new[start]:
        start += 1
    end = 0
    while end < shorter - start and old[-1 - end] == new[-1 - end]:
        end += 1
    middle_old, middle_new = old[start : len(old) - end], new[start : len(new) - end]
    middle = _shortest(middle_old, middle_new, most)
    if middle is None:
        middle = [Edit("-", place, None) for place in range(len(middle_old))]
        middle += [Edit("+", None, place) for place in range(len(middle_new))]
    edits = [Edit(" ", place, place) for place in range(start)]
    edits += [_moved(edit, start) for edit in middle]
    edits += [Edit(" ", len(old) - rest, len(new) - rest) for rest in range(end, 0, -1)]
    return edits


def _moved(edit: Edit, by: int) -> Edit:
    old = None if edit.old is None else edit.old + by
    new = None if edit.new is None else edit.new + by
    return Edit(edit.mark, old, new)


def _shortest(old: Sequence[Hashable], new: Sequence[Hashable], most: int) -> list[Edit] | None:
    """Return the shortest edit script, or None where it has more than `most` edits."""
    furthest = {1: 0}
    """By diagonal (old place - new place), how far in `old` the paths so far have come."""
    trace: list[dict[int, int]] = []
    for edits in range(min(most, len(old) + len(new)) + 1):
        trace.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            x = _step(furthest, diagonal, edits)
            y = x - diagonal
            while x < len(old) and y < len(new) and old[x] == new[y]:
                x, y = x + 1, y + 1
            furthest[diagonal] = x
            if x >= len(old) and y >= len(new):
                return _walk_back(trace, len(old), len(new))
    return None


def _step(furthest: dict[int, int], diagonal: int, edits: int) -> int:
    """Reach a diagonal by one edit, an addition or a removal, from the neighbour further on."""
    if _by_addition(furthest, diagonal, edits):
        return furthest[diagonal + 1]
    return furthest[diagonal - 1] + 1


def _by_addition(furthest: dict[int, int], diagonal: int, edits: int) -> bool:
    if diagonal in (-edits, edits):
        return diagonal == -edits
    return furthest[diagonal - 1] < furthest[diagonal + 1]


def _walk_back(trace: list[dict[int, int]], x: int, y: int) -> list[Edit]:
    script: list[Edit] = []
    for edits in range(len(trace) - 1, -1, -1):
        furthest = trace[edits]
        diagonal = x - y
        added = _by_addition(furthest, diagonal, edits)
        before_x = _step(furthest, diagonal, edits) - (not added)
        before_y = before_x - (diagonal + 1 if added else diagonal - 1)
        while x > max(before_x, 0) and y > max(before_y, 0):
            x, y = x - 1, y - 1
            script.append(Edit(" ", x, y))
        if edits == 0:
            break
        if added:
            y -= 1
            script.append(Edit("+", None, y))
        else:
            x -= 1
            script.append(Edit("-", x, None))
    script.reverse()
    return script
