"""A WebSocket's messages as rows of the table, and one of them whole."""

from __future__ import annotations

from int3rceptor_tui.view_model.columns import Column
from int3rceptor_tui.view_model.content import Content
from int3rceptor_tui.view_model.formats import clock, size, size_in_words
from int3rceptor_tui.view_model.lines import Piece
from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import BodyView, WebSocketMessageView, WebSocketView

COLUMNS = (
    Column("Time", 12, rank=2),
    Column("", 2),
    Column("Type", 6, rank=1),
    Column("Size", 6, rank=1, right=True),
    Column("Message", 20, share=1),
)

_PREVIEW = 400
"""Characters of text, and bytes shown as hexadecimal: more than a wide terminal has cells."""

_CLOSE = 8
_TYPES = {1: ("text", "string"), 2: ("binary", "number")}
_CONTROL = {_CLOSE: "close", 9: "ping", 10: "pong"}

_MARKS = ("held", "injected", "edited", "dropped", "cut")

Cells = tuple[Piece, ...]


class MessageRows:
    """A row for what came before, one for each message, one for the end; the table's `Rows`.

    A message's key is its number, counted from 0 over all that there were.
    """

    def __init__(self) -> None:
        self.show(WebSocketView(()))

    def show(self, web_socket: WebSocketView) -> None:
        """Have these messages from now on."""
        self._messages = web_socket.messages
        self._first = web_socket.forgotten
        self._before: list[Cells] = []
        if web_socket.forgotten:
            count = web_socket.forgotten
            words = "message was" if count == 1 else "messages were"
            self._before = [_note(f"{count} older {words} dropped to stay within bounds", "dim")]
        elif not self._messages:
            self._before = [_note("There are no messages yet.", "dim")]
        self._after = _end(web_socket)

    def message(self, key: int) -> WebSocketMessageView | None:
        """Return a message, or None where the key is of none, or of one that is gone."""
        at = key - self._first
        return self._messages[at] if 0 <= at < len(self._messages) else None

    @property
    def total(self) -> int:
        """How many messages there were."""
        return self._first + len(self._messages)

    def __len__(self) -> int:
        return len(self._before) + len(self._messages) + len(self._after)

    def key_at(self, index: int) -> int:
        """See `Rows.key_at`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._first - len(self._before) + index

    def index_of(self, key: int) -> int:
        """See `Rows.index_of`."""
        return max(0, min(key - self._first + len(self._before), len(self)))

    def version_at(self, index: int) -> object:
        """See `Rows.version_at`."""
        return self.message(self.key_at(index)) or self._messages

    def cells_at(self, index: int) -> Cells:
        """See `Rows.cells_at`."""
        message = self.message(self.key_at(index))
        if message is not None:
            return message_cells(message)
        return (*self._before, *self._after)[min(index, len(self._before))]


def message_cells(message: WebSocketMessageView) -> Cells:
    """Return time, arrow (to the server: `->`), type, size, what was done to it and a preview."""
    name, style = _type(message)
    arrow, tone = ("->", "key") if message.from_client else ("<-", "good")
    text, shade = _preview(message)
    done = what_was_done(message)
    if done:
        text = f"[{done}] {text}"
        shade = "bad" if message.dropped or message.cut else "warn"
    return (
        (_time(message), "dim"),
        (arrow, tone),
        (name, style),
        (size(message.size), ""),
        (text, shade),
    )


def message_head(message: WebSocketMessageView, number: int) -> list[list[Piece]]:
    """Return the lines above a message that is shown whole; `number` counts from 1."""
    whence = "client to server" if message.from_client else "server to client"
    name, _ = _type(message)
    facts = [f"{name}, {size_in_words(message.size)}"]
    if message.compressed:
        facts.append("compressed on the wire")
    if message.opcode == _CLOSE and len(message.payload) >= 2:
        facts.append(f"code {int.from_bytes(message.payload[:2], 'big')}")
    lines: list[list[Piece]] = [
        [(f"Message {number}, {whence}", "heading"), (f"  {_time(message)}", "dim")],
        [(", ".join(facts), "")],
    ]
    done = what_was_done(message)
    if done:
        lines.append([(done, "bad" if message.dropped or message.cut else "warn")])
    return [*lines, []]


def message_content(message: WebSocketMessageView) -> Content:
    """Return the ways to look at a message's payload; of a close frame, at its reason."""
    skip = 2 if message.opcode == _CLOSE else 0
    payload = message.payload[skip:]
    return Content(BodyView(payload, max(message.size - skip, len(payload))))


def what_was_done(message: WebSocketMessageView) -> str:
    """Return `edited by rule NAME` and the like, safe to draw; nothing where nothing was."""
    marks = [mark for mark in _MARKS if getattr(message, mark)]
    if marks and message.by:
        marks.append(f"by {visible(', '.join(message.by))}")
    return " ".join(marks)


def _type(message: WebSocketMessageView) -> Piece:
    return _TYPES.get(message.opcode, (_CONTROL.get(message.opcode, "?"), "dim"))


def _time(message: WebSocketMessageView) -> str:
    return f"{clock(message.at)}.{int(message.at * 1000) % 1000:03}"


def _preview(message: WebSocketMessageView) -> Piece:
    payload = message.payload
    if message.opcode == _CLOSE and len(payload) >= 2:
        code = int.from_bytes(payload[:2], "big")
        return (f"{code} {visible(payload[2:].decode(errors='replace'))}".rstrip(), "")
    if message.opcode == 2:
        return (_cut(payload[:_PREVIEW].hex(" "), message.size > _PREVIEW), "number")
    # Four bytes a character at most; a character cut in two at the end is left out.
    text = payload[: _PREVIEW * 4].decode(errors="ignore")
    more = len(text) > _PREVIEW or message.size > _PREVIEW * 4
    return (_cut(visible(text[:_PREVIEW]), more), "")


def _cut(text: str, more: bool) -> str:
    return f"{text}…" if more else text


def _note(text: str, style: str) -> Cells:
    return (("", ""), ("", ""), ("", ""), ("", ""), (text, style))


def _end(web_socket: WebSocketView) -> list[Cells]:
    code = web_socket.close_code
    if web_socket.ended_by is None or code is None:
        return []
    if code == 1006:
        how = f"The {web_socket.ended_by} ended the connection without a close frame (1006)"
    else:
        why = f": {web_socket.close_reason}" if web_socket.close_reason else ""
        how = f"Closed by the {web_socket.ended_by} with {code}{why}"
    good = code in (1000, 1001, 1005)
    return [_note(visible(how), "dim" if good else "warn")]
