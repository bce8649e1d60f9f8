"""A WebSocket's messages, one a line, made when somebody looks at them."""

from __future__ import annotations

from collections.abc import Sequence

from int3rceptor_tui.view_model.formats import clock, size
from int3rceptor_tui.view_model.lines import Piece
from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import WebSocketMessageView, WebSocketView

_PREVIEW = 400
"""Characters of text, and bytes shown as hexadecimal: more than a wide terminal has cells."""

_TYPES = {1: ("text", "string"), 2: ("binary", "number")}
_CONTROL = {8: "close", 9: "ping", 10: "pong"}


class MessageLines:
    """A line for what came before, one for each message, one for the end."""

    def __init__(self, web_socket: WebSocketView) -> None:
        self._messages = web_socket.messages
        self._before: list[list[Piece]] = []
        if web_socket.forgotten:
            count = web_socket.forgotten
            words = "message was" if count == 1 else "messages were"
            self._before = [[(f"{count} older {words} dropped to stay within bounds", "dim")]]
        elif not self._messages:
            self._before = [[("There are no messages yet.", "dim")]]
        self._after = _end(web_socket)

    def __len__(self) -> int:
        return len(self._before) + len(self._messages) + len(self._after)

    def line(self, index: int) -> Sequence[Piece]:
        """See `Lines.line`."""
        if index < len(self._before):
            return self._before[index]
        index -= len(self._before)
        if index < len(self._messages):
            return message_line(self._messages[index])
        return self._after[index - len(self._messages)]


def message_line(message: WebSocketMessageView) -> list[Piece]:
    """Return time, arrow (to the server: `->`), type, size, what was done to it, and a preview."""
    name, style = _TYPES.get(message.opcode, (_CONTROL.get(message.opcode, "?"), "dim"))
    milliseconds = int(message.at * 1000) % 1000
    arrow, tone = ("->", "key") if message.from_client else ("<-", "good")
    line: list[Piece] = [
        (f"{clock(message.at)}.{milliseconds:03} ", "dim"),
        (f"{arrow} ", tone),
        (f"{name:<6} ", style),
        (f"{size(message.size):>6}  ", ""),
    ]
    marks = [mark for mark in ("injected", "edited", "dropped", "cut") if getattr(message, mark)]
    if marks:
        if message.by:
            marks.append(f"by {visible(', '.join(message.by))}")
        line.append((" ".join(marks) + "  ", "bad" if message.dropped or message.cut else "warn"))
    line.append(_preview(message))
    return line


def _preview(message: WebSocketMessageView) -> Piece:
    payload = message.payload
    if message.opcode == 8 and len(payload) >= 2:
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


def _end(web_socket: WebSocketView) -> list[list[Piece]]:
    code = web_socket.close_code
    if web_socket.ended_by is None or code is None:
        return []
    if code == 1006:
        how = f"The {web_socket.ended_by} ended the connection without a close frame (1006)"
    else:
        why = f": {web_socket.close_reason}" if web_socket.close_reason else ""
        how = f"Closed by the {web_socket.ended_by} with {code}{why}"
    good = code in (1000, 1001, 1005)
    return [[], [(visible(how), "dim" if good else "warn")]]
