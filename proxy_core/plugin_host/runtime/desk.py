"""Where it is written down what a guest asks for while several flows go through it.

What that looks like in memory, and who writes it, is in `desk_text`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from struct import Struct
from typing import Final, Protocol

from proxy_core.plugin_host.codes import Hook
from proxy_core.plugin_host.hook.noted_edits import NotedEdits
from proxy_core.plugin_host.runtime import desk_text as text

_lay_out: Final = Struct(f"<{text.WORDS}I").pack_into
_EDIT: Final = Struct("<HH")
_LINE: Final = Struct("<III")
_KNOWN: Final = 64
"""Edits that are remembered as what they mean: most flows get the same."""


FUEL: Final = 50_000
SECONDS: Final = 0.0005
"""What all flows of one entry may take, going by those before; half of a guest's slice."""


class Enterable(Protocol):
    """What a desk needs of its guest."""

    def begin(self, entry: str, *arguments: int) -> int | None:
        """See `guest.Guest`."""

    def begin_anew(self) -> None:
        """Give what is under way the whole of an entry's fuel and time, from now on."""


class Desk:
    """Implements `guest.Desk` on a view of the desk's memory."""

    __slots__ = ("_guest", "_known", "_most", "_view", "_words", "takes_edits", "takes_lines")

    def __init__(self, guest: Enterable, view: memoryview, shape: text.Shape, most: int) -> None:
        """Take at most `most` flows at a time."""
        self.takes_edits = shape.edits
        self.takes_lines = shape.logs
        self._guest = guest
        self._most = most
        self._view = view
        self._words = view.cast("I")
        self._known: dict[bytes, NotedEdits] = {}
        at, table = text.classes()
        view[at : at + len(table)] = table

    def most_flows(self, fuel: float, seconds: float) -> int:
        """How many flows may go through in one entry, where one takes so much."""
        most = self._most
        if fuel * most > FUEL:
            most = int(FUEL / fuel)
        return int(SECONDS / seconds) if seconds * most > SECONDS else most

    def lay_out(self, flows: int, room: int, lines: int) -> None:
        """Make ready for `flows` flows that have `room` for more fields, and `lines` log lines."""
        edits = 0 if room < 0 else room if room < text.MOST_EDITS else text.MOST_EDITS
        _lay_out(
            self._view, 0, 0, flows, 0, 0, edits, 0, lines, 0, text.FIRST_EDIT, text.FIRST_LINE, 0
        )

    @property
    def has_edited(self) -> bool:
        """Whether edits of the flow are noted that the guest is in."""
        return self._words[text.EDITED] != 0

    def begin(self, hook: Hook) -> int | None:
        """Enter the guest for all flows that the desk is laid out for."""
        return self._guest.begin(text.every(hook))

    def begin_anew(self) -> None:
        """Give the flow that the guest is in what an entry of its own gets."""
        self._guest.begin_anew()

    @property
    def place(self) -> int:
        """Which flow the guest is in."""
        return self._words[text.PLACE]

    def note_no_more(self) -> None:
        """Have the host functions answer for the rest of this flow."""
        self._words[text.NOTING] = 0

    def stop(self) -> None:
        """Have the guest return behind this flow."""
        self._words[text.STOP] = 1

    def codes(self, flows: int) -> list[int] | None:
        """What the hook has returned for each of the first flows; None where all are zero."""
        if not self._words[text.UNUSUAL]:
            return None
        return self._view[text.CODES : text.CODES + 4 * flows].cast("i").tolist()

    def edits_of(self, place: int) -> NotedEdits | None:
        """What is noted of the edits of the flow that the guest is in."""
        begin = self._words[text.ENDS // 4 + place - 1] if place else text.FIRST_EDIT
        return self._read_edits(begin, self._words[text.EDITS_END])

    def edits(self, flows: int) -> list[NotedEdits | None] | None:
        """What is noted of the edits of each of the first flows; None where nothing is."""
        if not flows or self._words[text.EDITS_END] == text.FIRST_EDIT:
            return None
        found = []
        begin = text.FIRST_EDIT
        for end in self._words[text.ENDS // 4 : text.ENDS // 4 + flows].tolist():
            found.append(self._read_edits(begin, end))
            begin = end
        return found

    def _read_edits(self, begin: int, end: int) -> NotedEdits | None:
        if begin == end:
            return None
        raw = self._view[begin:end].tobytes()
        edits = self._known.get(raw)
        if edits is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            edits = self._known[raw] = NotedEdits(_steps(raw))
        return edits

    @property
    def has_lines(self) -> bool:
        """Whether there are log lines, or were too many."""
        words = self._words
        return words[text.LINES_END] != text.FIRST_LINE or words[text.DROPPED] != 0

    def take_lines(self) -> tuple[deque[tuple[int, int, bytes]], int]:
        """Return (flow, level, text) of each log line, and how many more were over the rate."""
        words = self._words
        end, dropped = words[text.LINES_END], words[text.DROPPED]
        lines: deque[tuple[int, int, bytes]] = deque()
        at = text.FIRST_LINE
        while at < end:
            place, level, length = _LINE.unpack_from(self._view, at)
            at += _LINE.size
            lines.append((place, level, self._view[at : at + length].tobytes()))
            at += length
        words[text.LINES_END], words[text.DROPPED] = text.FIRST_LINE, 0
        return lines, dropped

    def allow_lines(self, lines: int) -> None:
        """Have so many log lines noted from now on."""
        self._words[text.LINES] = lines

    def forget(self) -> None:
        """Let go of the memory before it is freed."""
        self._view = self._words = memoryview(b"")


def _steps(raw: bytes) -> Iterator[tuple[bool, bytes, bytes]]:
    at = 0
    while at < len(raw):
        name_length, value_length = _EDIT.unpack_from(raw, at)
        replaces = bool(name_length & text.SET)
        begin = at + _EDIT.size
        middle = begin + (name_length & ~text.SET)
        at = middle + value_length
        yield replaces, raw[begin:middle], raw[middle:at]
